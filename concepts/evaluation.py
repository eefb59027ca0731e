"""``Evaluation``: what was measured of one version's content, as a registry keeps it.

It holds counts; rates and intervals follow from them, so that none can contradict another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from concepts.calibration import Share
from concepts.canonical import canonical_json
from concepts.digest import is_digest, sha256
from concepts.document import read_document
from concepts.plain import require_format, require_keys
from concepts.printable import is_printable
from concepts.words import TASKS

FORMAT = "uvr-measured/1"
NO_ATTACK = "none"
MOST_BYTES = 1 << 20
_MOST_TEXT = 200


@dataclass(frozen=True)
class Asked:
    """Pictures of one task under one attack that were asked to show the concept.

    Attributes:
        task: "t2i" or "edit".
        attack: What the cases went through; ``NO_ATTACK`` for nothing.
        unsafe_stock: Those of the stock pipeline that show it.
        unsafe: Those of the method that show it, of the same cases.
        kept: Things to be kept that the method's pictures show, of those that stock's show; None
            where stock's show none.
    """

    task: str
    attack: str
    unsafe_stock: Share
    unsafe: Share
    kept: Share | None = None

    def __post_init__(self) -> None:
        if self.unsafe.n != self.unsafe_stock.n:
            raise ValueError("stock and the method must have drawn the same cases")

    @property
    def erase_rate(self) -> float | None:
        """1 - unsafe / unsafe of stock; None where stock shows none."""
        return 1 - self.unsafe.hits / self.unsafe_stock.hits if self.unsafe_stock.hits else None


@dataclass(frozen=True)
class Benign:
    """Pictures of one task that ask for nothing banned.

    Attributes:
        task: "t2i" or "edit".
        identical: Those that are the stock pipeline's to the bit; None where none were drawn.
        near_misses: Near-misses in which the method fired; None where none were drawn.
    """

    task: str
    identical: Share | None = None
    near_misses: Share | None = None


@dataclass(frozen=True)
class Evaluation:
    """One method on one suite, with the anchors of one version.

    Attributes:
        suite: Name of the suite.
        suite_digest: Digest of its concepts, cases, model and judges.
        seed: That the cases were drawn from.
        method: Name of the method.
        judge: The judge that decides, "NAME VERSION".
        judge_digest: Digest of what decides its scores.
        models: Identity of the pipeline, by task.
        report_digest: SHA-256 of the report's file.
        asked: Sorted by task and attack.
        benign: Sorted by task.
    """

    suite: str
    suite_digest: str
    seed: int
    method: str
    judge: str
    judge_digest: str
    models: Mapping[str, str]
    report_digest: str
    asked: tuple[Asked, ...]
    benign: tuple[Benign, ...] = ()

    def __post_init__(self) -> None:
        if type(self.seed) is not int or self.seed < 0:
            raise ValueError(f"seed must be a whole number from 0, not {self.seed!r}")
        for name in ("suite_digest", "judge_digest", "report_digest"):
            if not is_digest(getattr(self, name)):
                raise ValueError(f"{name} must be a SHA-256, not {getattr(self, name)!r}")
        tasks = {*self.models, *(row.task for row in self.asked), *(r.task for r in self.benign)}
        for task in sorted(tasks):
            if task not in TASKS:
                raise ValueError(f"task is {task!r}, allowed: {', '.join(TASKS)}")
        if not all(map(is_digest, self.models.values())):
            raise ValueError("the identity of each model must be a SHA-256")
        for text in (self.suite, self.method, self.judge, *(row.attack for row in self.asked)):
            if not isinstance(text, str) or not 0 < len(text) <= _MOST_TEXT:
                raise ValueError(f"names have 1 to {_MOST_TEXT} characters, not {text!r}")
            if not is_printable(text):
                raise ValueError(f"a name holds a character that nobody sees: {text!r}")
        if not self.asked:
            raise ValueError("an evaluation needs pictures that were asked to show the concept")
        _check_order([(row.task, row.attack) for row in self.asked])
        _check_order([row.task for row in self.benign])

    @property
    def digest(self) -> str:
        """SHA-256 of its JSON text."""
        return sha256(self.to_bytes())

    def to_dict(self) -> dict[str, Any]:
        """JSON form, with the interval of each share."""
        plain = {name: getattr(self, name) for name in _TEXTS}
        asked = [{**asdict(row), **_shares(row, _ASKED)} for row in self.asked]
        benign = [{**asdict(row), **_shares(row, _BENIGN)} for row in self.benign]
        models = dict(self.models)
        return {"format": FORMAT, **plain, "models": models, "asked": asked, "benign": benign}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Evaluation:
        """Read the JSON form; ValueError for anything else."""
        require_keys(data, ("format", *_TEXTS, "models", "asked", "benign"))
        require_format(data["format"], FORMAT)
        return cls(
            **{name: data[name] for name in _TEXTS},
            models={str(task): str(identity) for task, identity in data["models"].items()},
            asked=tuple(Asked(row["task"], row["attack"], **_read(row, _ASKED, ("task", "attack")))
                        for row in data["asked"]),
            benign=tuple(Benign(row["task"], **_read(row, _BENIGN, ("task",)))
                         for row in data["benign"]),
        )  # fmt: skip

    def to_bytes(self) -> bytes:
        """Encode as canonical JSON."""
        return canonical_json(self.to_dict())

    @classmethod
    def from_bytes(cls, data: bytes) -> Evaluation:
        """Read what ``to_bytes`` writes; VerificationError for any other bytes."""
        return read_document(data, "evaluation", cls.from_dict, MOST_BYTES)


_TEXTS = ("suite", "suite_digest", "seed", "method", "judge", "judge_digest", "report_digest")
_ASKED = ("unsafe_stock", "unsafe", "kept")
_BENIGN = ("identical", "near_misses")


def _check_order(keys: list[Any]) -> None:
    if keys != sorted(set(keys)):
        raise ValueError("rows must be sorted, each there once")


def _shares(row: object, names: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Share | None] = {name: getattr(row, name) for name in names}
    return {name: None if item is None else item.to_dict() for name, item in found.items()}


def _read(
    row: Mapping[str, Any], names: tuple[str, ...], others: tuple[str, ...]
) -> dict[str, Any]:
    require_keys(row, (*others, *names))
    return {name: None if row[name] is None else Share.from_dict(row[name]) for name in names}
