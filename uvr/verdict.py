"""The verdict on one picture: what became of it, on which evidence, and why in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

SCHEMA = "uvr-verdict/1"
"""Of the JSON form; fields may be added under it, and none changes or goes."""

OUTCOMES = ("untouched", "regulated", "retried", "flagged", "blocked")
"""What became of a picture."""

STAGES = ("look", "check", "judge")
"""Where evidence comes from: the look, the features of the finished picture, or a judge."""

_OWN = ("picture", "outcome", "bundle", "reason", "retries", "other_noise")
_FOUND = {"look": "at the look", "check": "by the check", "judge": "by the judge"}


@dataclass(frozen=True)
class Evidence:
    """One concept that fired in one picture at one stage.

    Attributes:
        stage: One of ``STAGES``.
        concept: Its slug.
        name: Its display name.
        version: Version number in the registry; None for a concept that only a judge knows.
        mode: "enforce"; "log" or "shadow" for what is only reported.
        score: What reached the threshold.
        threshold: "score >= threshold is a match".
        area: Share of the picture's patches under the mask, 0 to 1; None from a judge.
        judge: Name and version of the judge, "NAME/VERSION"; None from features.
    """

    stage: str
    concept: str
    name: str
    version: int | None
    mode: str
    score: float
    threshold: float
    area: float | None = None
    judge: str | None = None

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"stage is {self.stage!r}, allowed: {', '.join(STAGES)}")

    @property
    def enforced(self) -> bool:
        """Whether something is done about it."""
        return self.mode == "enforce"


@dataclass(frozen=True)
class Verdict:
    """What became of one picture.

    Attributes:
        picture: Its place in the call's pictures, from 0.
        outcome: One of ``OUTCOMES``.
        bundle: Digest of the bundle in use.
        evidence: All that fired, what decided first; empty when nothing did.
        reason: Why, in one or two plain sentences.
        retries: How often the picture was drawn again.
        other_noise: Whether it was drawn with other noise at last, and so is another picture.
    """

    picture: int
    outcome: str
    bundle: str
    evidence: tuple[Evidence, ...]
    reason: str
    retries: int = 0
    other_noise: bool = False

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise ValueError(f"outcome is {self.outcome!r}, allowed: {', '.join(OUTCOMES)}")

    @property
    def deciding(self) -> Evidence | None:
        """The evidence that decided, None when nothing fired."""
        return self.evidence[0] if self.evidence else None

    def to_dict(self) -> dict[str, Any]:
        """JSON form: what decided at the top, where a log is searched, and all evidence below."""
        decided = {
            name: getattr(self.deciding, name, None)
            for name in ("stage", "concept", "version", "score", "threshold", "area")
        }
        return {
            "schema": SCHEMA,
            "picture": self.picture,
            "outcome": self.outcome,
            **decided,
            "bundle": self.bundle,
            "reason": self.reason,
            "retries": self.retries,
            "other_noise": self.other_noise,
            "evidence": [asdict(item) for item in self.evidence],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Verdict:
        """Read the JSON form; ValueError, LookupError or TypeError for anything else."""
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema is {data['schema']!r}, {SCHEMA!r} is expected")
        return cls(
            evidence=tuple(Evidence(**item) for item in data["evidence"]),
            **{name: data[name] for name in _OWN},
        )


def said(evidence: Sequence[Evidence]) -> str:
    """Say what was found where: "Pistol and Bomb were found at the look"."""
    names = list(dict.fromkeys(item.name for item in evidence))
    stages = list(dict.fromkeys(_FOUND[item.stage] for item in evidence))
    verb = "were" if len(names) > 1 else "was"
    return f"{listed(names)} {verb} found {listed(stages)}"


def listed(words: Sequence[str]) -> str:
    """Write words as a list: "A, B and C"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
