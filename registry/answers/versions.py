"""One version of a concept: its anchors and thresholds by space, and what was measured of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from concepts.anchors import AnchorSpace
from concepts.definition import ConceptDefinition
from concepts.errors import NotFoundError
from registry.answers.live import LivePlace


def no_version(slug: str, number: int | str | None) -> NotFoundError:
    """Return the error for a version that there is not, None for the newest of none."""
    if number is None:
        return NotFoundError(
            f"Concept '{slug}' has no versions yet. Run `uvr-registry collect-anchors` first."
        )
    return NotFoundError(f"Concept '{slug}' has no version {number}.")


@dataclass(frozen=True)
class VersionSpace:
    """The anchors of a version in one space, and how a patch is scored there.

    Attributes:
        space: Model, task, taps and noise level.
        digest: The space's digest.
        anchor_set: Digest of the anchors.
        anchors: Number of anchors.
        counter_anchors: Number of counter-anchors.
        rule: Scoring rule.
        seed_threshold: A patch with score >= this starts a region.
        grow_threshold: A patch with score >= this joins a region next to it.
        calibration: JSON form of ``concepts.calibration.Calibration``, what these thresholds
            promise and reach; None where that was not measured.
    """

    space: AnchorSpace
    digest: str
    anchor_set: str
    anchors: int
    counter_anchors: int
    rule: str
    seed_threshold: float
    grow_threshold: float
    calibration: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class EvaluationInfo:
    """What was measured of a version's content.

    Attributes:
        digest: Of the figures.
        figures: JSON form of ``concepts.evaluation.Evaluation``.
        created_at: When it was recorded.
        created_by: By whom.
    """

    digest: str
    figures: Mapping[str, Any]
    created_at: str
    created_by: str


@dataclass(frozen=True)
class VersionInfo:
    """One version of a concept.

    Attributes:
        slug: The concept.
        number: Its number, from 1.
        state: "draft", "in_review", "approved", "deprecated" or "revoked".
        content_digest: SHA-256 over definition, anchors and scoring.
        created_at: UTC, ISO 8601.
        created_by: Who added it.
        spaces: Its anchors, by space.
        authors: Everyone who wrote a part of its content, sorted.
        approvals: How many approvals of this content count.
        evaluations: What was measured of this content, newest first.
    """

    slug: str
    number: int
    state: str
    content_digest: str
    created_at: str
    created_by: str
    spaces: tuple[VersionSpace, ...]
    authors: tuple[str, ...] = ()
    approvals: int = 0
    evaluations: tuple[EvaluationInfo, ...] = ()

    @property
    def anchors(self) -> int:
        """Number of anchors over all spaces."""
        return sum(space.anchors for space in self.spaces)

    @property
    def counter_anchors(self) -> int:
        """Number of counter-anchors over all spaces."""
        return sum(space.counter_anchors for space in self.spaces)


@dataclass(frozen=True)
class VersionDetail:
    """A version in full.

    Attributes:
        version: State, digest, anchors and scoring.
        definition: What it bans.
        live: Where a version of its concept is live, by channel.
        approved: The newest other version that was approved, None where there is none.
        gate: What its content lacks to pass the policy's gate; None where there is no gate.
    """

    version: VersionInfo
    definition: ConceptDefinition
    live: tuple[LivePlace, ...]
    approved: int | None
    gate: tuple[str, ...] | None = None
