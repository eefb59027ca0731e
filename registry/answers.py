"""What the registry answers with: plain frozen dataclasses, so that rows stay inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from concepts.anchors import AnchorSpace
from concepts.definition import ConceptDefinition
from concepts.errors import NotFoundError

NEAR_DISTANCE = 0.05
"""Anchors are near each other when 1 - cosine <= this."""


def no_version(slug: str, number: int | str | None) -> NotFoundError:
    """Return the error for a version that there is not, None for the newest of none."""
    if number is None:
        return NotFoundError(
            f"Concept '{slug}' has no versions yet. Run `uvr-registry collect-anchors` first."
        )
    return NotFoundError(f"Concept '{slug}' has no version {number}.")


@dataclass(frozen=True)
class ConceptInfo:
    """A concept in a list; ``latest_version`` is None before anchors were collected."""

    slug: str
    name: str
    category: str
    latest_version: int | None
    versions: int
    created_at: str


@dataclass(frozen=True)
class LivePlace:
    """A channel whose release holds a version now.

    Attributes:
        channel: Name of the channel.
        bundle: Name of its bundle.
        sequence: The release that it points to.
        version: Number of the version.
        state: What the version is now.
        mode: "enforce", "log" or "shadow".
        thresholds: Seed threshold in force there, by "MODEL/TASK".
        disabled_until: An instant before which it is not enforced.
    """

    channel: str
    bundle: str
    sequence: int
    version: int
    state: str
    mode: str
    thresholds: Mapping[str, float]
    disabled_until: str | None


@dataclass(frozen=True)
class ConceptStanding(ConceptInfo):
    """A concept in a list, with its newest version and where it is live.

    Attributes:
        state: The newest version's; None where there is none.
        thresholds: The newest version's seed threshold, by "MODEL/TASK".
        live: Where a version of it is live, by channel.
    """

    state: str | None
    thresholds: Mapping[str, float]
    live: tuple[LivePlace, ...]


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
class ReviewInfo:
    """One reviewer's decision, for the digest that was seen, and the newest evaluation then."""

    reviewer: str
    decision: str
    break_glass: bool
    reason: str
    at: str
    evaluation: str | None = None


@dataclass(frozen=True)
class RequestInfo:
    """A version put up for review.

    Attributes:
        id: Number of the request.
        slug: The concept.
        version: Number of the version.
        content_digest: The content that it asks to approve.
        state: "open", "approved", "rejected" or "withdrawn".
        note: What the submitter said.
        opened_at: When.
        opened_by: By whom.
        closed_at: When, None while it is open.
        closed_by: By whom, None while it is open.
        authors: Who wrote a part of the content.
        approvals: Reviewers whose approvals count now; none once it is closed.
        needed: How many approvals the policy asks for.
        reviews: All decisions, oldest first.
    """

    id: int
    slug: str
    version: int
    content_digest: str
    state: str
    note: str
    opened_at: str
    opened_by: str
    closed_at: str | None
    closed_by: str | None
    authors: tuple[str, ...]
    approvals: tuple[str, ...]
    needed: int
    reviews: tuple[ReviewInfo, ...]


@dataclass(frozen=True)
class ConceptDetail:
    """A concept, the definition that its next version takes, and its versions, oldest first."""

    slug: str
    name: str
    category: str
    created_at: str
    created_by: str
    definition: ConceptDefinition
    versions: tuple[VersionInfo, ...]

    def version(self, number: int | None = None) -> VersionInfo:
        """Return a version, the newest by default; NotFoundError where there is none."""
        found = [item for item in self.versions if number in (None, item.number)]
        if not found:
            raise no_version(self.slug, number)
        return found[-1]


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


@dataclass(frozen=True)
class SpaceInfo:
    """An anchor space, and what a search looks at in it."""

    digest: str
    space: AnchorSpace
    concepts: int
    anchors: int


@dataclass(frozen=True)
class SearchHit:
    """An anchor near a query.

    Attributes:
        slug: The concept.
        version: Its version.
        anchor: Position in the version's anchor set.
        score: Cosine similarity, -1 to 1.
    """

    slug: str
    version: int
    anchor: int
    score: float


@dataclass(frozen=True)
class LookedAt:
    """A version that a search looks at.

    Attributes:
        slug: The concept.
        version: The version's number.
        state: "live", or where it is not "approved", "draft" or "in_review".
    """

    slug: str
    version: int
    state: str


@dataclass(frozen=True)
class Overlap:
    """A concept whose anchors lie near new ones.

    Attributes:
        slug: The concept.
        version: The version that was looked at.
        state: "live", or where it is not "approved", "draft" or "in_review".
        space: Digest of the anchor space.
        share: Share of the new anchors that have one of its anchors within the distance.
        nearest: Highest cosine of any two of them.
        checked: How many of the new anchors were compared.
    """

    slug: str
    version: int
    state: str
    space: str
    share: float
    nearest: float
    checked: int


@dataclass(frozen=True)
class RaisedThreshold:
    """A seed threshold of a release above its version's own: less is found than was approved.

    Attributes:
        place: Model and task, such as "testbed t2i".
        space: Digest of the anchor space.
        threshold: The release's.
        own: The version's.
    """

    place: str
    space: str
    threshold: float
    own: float

    def __str__(self) -> str:
        return f"{self.threshold:g} for {self.place}, its version's own is {self.own:g}"


@dataclass(frozen=True)
class ReleasedMember:
    """A version that a release locks.

    Attributes:
        slug: The concept.
        version: Number of the version.
        content_digest: Its content.
        mode: "enforce", "log" or "shadow".
        thresholds: Seed threshold by the digest of an anchor space, where it is not the scorer's.
        disabled_until: An instant before which it is not enforced.
        state: What the version is now; "revoked" where that happened after the release.
        approval: "review", "break_glass" or "policy" where none was asked for; "" where it was
            released before there were reviews.
        approved_at: When it was approved.
        approved_by: By whom.
        raised: Thresholds above the version's own.
    """

    slug: str
    version: int
    content_digest: str
    mode: str
    thresholds: Mapping[str, float]
    disabled_until: str | None
    state: str
    approval: str
    approved_at: str | None
    approved_by: tuple[str, ...]
    raised: tuple[RaisedThreshold, ...]

    def enforced_at(self, instant: str) -> bool:
        """Whether the concept is regulated at an instant as its version was approved."""
        disabled = self.disabled_until is not None and instant < self.disabled_until
        return self.mode == "enforce" and not disabled and not self.raised


@dataclass(frozen=True)
class ReleaseInfo:
    """A release of a bundle.

    Attributes:
        bundle: The bundle's name.
        sequence: Number of the release, from 1.
        lock_digest: What the members are; the same after a rollback.
        bundle_digest: The bundle file, but for its signatures.
        created_at: When it was made.
        created_by: By whom.
        members: Sorted by slug.
        previous_digest: Bundle digest of the release before, None for the first.
        expires_at: When engines begin to refuse it, None for never.
        rollback_of: The release whose members these are again, None for none.
        note: Why.
        key_list: Version of the newest key list that it carries, 0 for none.
        revocations: Content digests that it tells engines are revoked, sorted.
        signatures: Ids of the keys that signed, sorted.
    """

    bundle: str
    sequence: int
    lock_digest: str
    bundle_digest: str
    created_at: str
    created_by: str
    members: tuple[ReleasedMember, ...]
    previous_digest: str | None
    expires_at: str | None
    rollback_of: int | None
    note: str
    key_list: int
    revocations: tuple[str, ...]
    signatures: tuple[str, ...]


@dataclass(frozen=True)
class ReleaseSummary:
    """A release in a list: how many concepts it holds, how many keys signed it."""

    bundle: str
    sequence: int
    concepts: int
    signatures: int
    created_at: str
    created_by: str
    expires_at: str | None
    note: str


@dataclass(frozen=True)
class Difference:
    """One thing that differs between two releases.

    Attributes:
        slug: The concept.
        what: "added", "removed", "version", "mode", "threshold", "disabled_until", "coverage", or
            "approved" where the release itself approved the version.
        before: The value in the older release, None for none: numbers of versions and thresholds,
            a mode, an instant, or the place that was covered.
        after: The value in the newer release, None for none.
        place: Model and task that a threshold is for, else "".
    """

    slug: str
    what: str
    before: str | float | None
    after: str | float | None
    place: str = ""


@dataclass(frozen=True)
class Gap:
    """A concept that a release does not enforce, or not everywhere, or in an older version.

    Attributes:
        slug: The concept.
        why: The reason, such as "no anchors yet" or "no anchors for flux.1-dev edit".
        nowhere: Whether the release does not hold the concept at all.
        takes: The version that a release may take if asked to, such as "pistol@2"; "" for none.
    """

    slug: str
    why: str
    nowhere: bool
    takes: str


@dataclass(frozen=True)
class Coverage:
    """What a release is for, of one model: engines refuse it for the rest.

    Attributes:
        model: Name of the model.
        tasks: Those that a member has anchors for, of ``concepts.words.TASKS``, in their order.
        lacks: Those that no member has anchors for.
    """

    model: str
    tasks: tuple[str, ...]
    lacks: tuple[str, ...]


@dataclass(frozen=True)
class NewRelease(ReleaseInfo):
    """A release that was just made.

    Attributes:
        changes: What differs from the release before, by slug.
        left_out: What it leaves uncovered, by slug.
        coverage: What it is for, by model.
    """

    changes: tuple[Difference, ...]
    left_out: tuple[Gap, ...]
    coverage: tuple[Coverage, ...]
