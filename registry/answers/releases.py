"""A release and the versions that it locks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
        by_hand: Models and tasks, such as "testbed t2i", whose threshold was set by hand, in the
            version or by the release, so that nothing was measured at it.
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
    by_hand: tuple[str, ...] = ()

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
    """A release in a list: how many concepts it holds, how many keys signed it.

    ``paused`` has the concepts that it regulates but for a pause, by slug, and until when.
    """

    bundle: str
    sequence: int
    concepts: int
    signatures: int
    created_at: str
    created_by: str
    expires_at: str | None
    note: str
    paused: Mapping[str, str]
