"""What differs between two releases, concept by concept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.answers import Difference
from registry.releases.assemble import released_members
from registry.releases.lineup import Chosen
from registry.releases.thresholds import own_threshold, place
from registry.store.models import BundleRow, ConceptVersion, Release
from registry.versions.quorum import approvals_of
from registry.versions.reading import StoredAnchors, scored_alike, stored_anchors_of

Anchors = Mapping[int, Sequence[StoredAnchors]]


def differences(
    session: Session,
    bundle: BundleRow,
    before: Release | None,
    after: Release,
    members: Sequence[Chosen] | None = None,
) -> tuple[Difference, ...]:
    """Return what differs between two releases of a bundle, by slug.

    Args:
        session: The transaction.
        bundle: The bundle.
        before: The older release, None for none at all.
        after: The newer one.
        members: Its members, where they were read.
    """
    old = _by_slug(released_members(session, before) if before else ())
    new = _by_slug(released_members(session, after) if members is None else members)
    anchors = stored_anchors_of(session, [*_rescored(old, new), *_rescored(new, old)])
    approved = _approved(session, bundle, before, after, list(new.values()))
    found: list[Difference] = []
    for slug in sorted(old | new):
        found += _of_one(slug, old.get(slug), new.get(slug), anchors)
        if slug in new and new[slug].version.id in approved:
            found.append(Difference(slug, "approved", None, new[slug].version.number))
    return tuple(found)


def release_before(session: Session, release: Release) -> Release | None:
    """Return the release before another of the same bundle, None before the first."""
    query = select(Release).where(
        Release.bundle_id == release.bundle_id, Release.sequence < release.sequence
    )
    return session.scalars(query.order_by(Release.sequence.desc())).first()


def _by_slug(members: Sequence[Chosen]) -> dict[str, Chosen]:
    return {item.concept.slug: item for item in members}


def _rescored(these: Mapping[str, Chosen], others: Mapping[str, Chosen]) -> list[ConceptVersion]:
    """Return the versions of members that the other release holds not at all, or scored apart."""
    return [
        item.version for slug, item in these.items() if not _scored_alike(item, others.get(slug))
    ]


def _scored_alike(one: Chosen, other: Chosen | None) -> bool:
    """Whether two members have the same version at the same thresholds."""
    return (
        other is not None
        and one.version.id == other.version.id
        and one.thresholds == other.thresholds
    )


def _of_one(
    slug: str, old: Chosen | None, new: Chosen | None, anchors: Anchors
) -> Iterator[Difference]:
    if new is None:
        yield Difference(slug, "removed", old.version.number if old else None, None)
        return
    if old is None:
        yield Difference(slug, "added", None, new.version.number)
    elif old.version.id != new.version.id:
        yield Difference(slug, "version", old.version.number, new.version.number)
    mode = old.mode if old else "enforce"
    if mode != new.mode:
        yield Difference(slug, "mode", mode if old else None, new.mode)
    if not _scored_alike(new, old):
        yield from _thresholds(slug, old, new, anchors)
    until = old.disabled_until if old else None
    if until != new.disabled_until:
        yield Difference(slug, "disabled_until", until, new.disabled_until)


def _thresholds(
    slug: str, old: Chosen | None, new: Chosen, anchors: Anchors
) -> Iterator[Difference]:
    """Yield the thresholds that differ, and the models and tasks that only one release covers."""
    was, now = _effective(old or new, anchors, own=old is None), _effective(new, anchors)
    first, second = (
        {place(entry): entry for entry in anchors[item.version.id]} for item in (old or new, new)
    )
    for where in sorted(was.keys() | now.keys()):
        if where not in now:
            yield Difference(slug, "coverage", where, None)
        elif where not in was:
            yield Difference(slug, "coverage", None, where)
        elif was[where] != now[where]:
            what = "threshold" if scored_alike(first[where], second[where]) else "scoring"
            yield Difference(slug, what, was[where], now[where], where)


def _effective(item: Chosen, anchors: Anchors, *, own: bool = False) -> dict[str, float]:
    """Return a member's thresholds by model and task; its version's own where that is asked."""
    thresholds = {} if own else item.thresholds
    return {
        place(entry): thresholds.get(entry.space.digest, own_threshold(entry))
        for entry in anchors[item.version.id]
    }


def _approved(
    session: Session,
    bundle: BundleRow,
    before: Release | None,
    after: Release,
    members: Sequence[Chosen],
) -> set[int]:
    """Return the ids of the versions that a release after the older one approved by itself."""
    query = select(Release.created_at).where(
        Release.bundle_id == bundle.id,
        Release.sequence > (before.sequence if before else 0),
        Release.sequence <= after.sequence,
    )
    made = set(session.scalars(query))
    approvals = approvals_of(session, [item.version for item in members])
    return {
        number for number, item in approvals.items() if item.how == "policy" and item.at in made
    }
