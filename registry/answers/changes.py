"""What a new release changes, leaves out and covers."""

from __future__ import annotations

from dataclasses import dataclass

from registry.answers.releases import ReleaseInfo


@dataclass(frozen=True)
class Difference:
    """One thing that differs between two releases.

    Attributes:
        slug: The concept.
        what: "added", "removed", "version", "mode", "threshold", "scoring" where thresholds
            differ that cannot be compared, "disabled_until", "coverage", or "approved" where the
            release itself approved the version.
        before: The value in the older release, None for none: numbers of versions and thresholds,
            a mode, an instant, or the place that was covered.
        after: The value in the newer release, None for none.
        place: Model and task that a threshold or scoring is for, else "".
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
        older: Whether the release holds an older version than the one that ``why`` tells of.
    """

    slug: str
    why: str
    nowhere: bool
    takes: str
    older: bool = False


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
