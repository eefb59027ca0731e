"""Releases read back, as callers of the registry see them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from concepts.errors import NotFoundError, did_you_mean
from registry.answers import RaisedThreshold, ReleasedMember, ReleaseInfo, ReleaseSummary
from registry.releases.assemble import released_members, revocations_of
from registry.releases.lineup import Chosen
from registry.releases.signatures import signatures_of
from registry.releases.thresholds import raised_thresholds, set_by_hand
from registry.store.models import BundleRow, Concept, Release, ReleaseMember, SignatureRow
from registry.versions.quorum import Approval, approvals_of


def find_release(
    session: Session, name: str, sequence: int | None = None
) -> tuple[BundleRow, Release]:
    """Return a release's rows, the newest when no sequence is named; NotFoundError otherwise."""
    row = find_bundle(session, name)
    query = select(Release).filter_by(bundle_id=row.id, sequence=sequence)
    release = newest_release(session, row) if sequence is None else session.scalars(query).first()
    if release is None:
        which = "no release yet" if sequence is None else f"no release {sequence}"
        raise NotFoundError(f"Bundle '{name}' has {which}.")
    return row, release


def find_bundle(session: Session, name: str) -> BundleRow:
    """Return a bundle's row; NotFoundError with the closest name otherwise."""
    row = session.scalars(select(BundleRow).filter_by(name=name)).first()
    if row is None:
        known = session.scalars(select(BundleRow.name)).all()
        raise NotFoundError(f"No bundle '{name}'.{did_you_mean(name, known)}")
    return row


def newest_release(session: Session, bundle: BundleRow) -> Release | None:
    """Return the newest release of a bundle, None before the first."""
    query = select(Release).where(Release.bundle_id == bundle.id)
    return session.scalars(query.order_by(Release.sequence.desc())).first()


def release_info(
    session: Session,
    bundle: BundleRow,
    release: Release,
    members: Sequence[Chosen] | None = None,
    known: dict[int, Approval | None] | None = None,
) -> ReleaseInfo:
    """Return a release as callers see it.

    Args:
        session: Of a transaction.
        bundle: Its bundle.
        release: The release.
        members: Its members, where they were read.
        known: How versions were approved, by their id; those of the members are added.
    """
    members = released_members(session, release) if members is None else members
    return _info(session, bundle, release, {} if known is None else known, members)


def list_releases(session: Session, name: str | None = None) -> list[ReleaseInfo]:
    """Return all releases, or those of one bundle, by bundle and sequence."""
    query = select(BundleRow, Release).join(Release, Release.bundle_id == BundleRow.id)
    if name is not None:
        query = query.where(BundleRow.id == find_bundle(session, name).id)
    known: dict[int, Approval | None] = {}
    releases = [
        release_info(session, bundle, release, known=known)
        for bundle, release in session.execute(query)
    ]
    return sorted(releases, key=lambda release: (release.bundle, release.sequence))


def summaries(session: Session) -> list[ReleaseSummary]:
    """Return all releases in short, by bundle and sequence."""
    members, signatures = (
        select(func.count())
        .where(table.release_id == Release.id)
        .correlate(Release)
        .scalar_subquery()
        for table in (ReleaseMember, SignatureRow)
    )
    paused = _pauses(session)
    query = select(BundleRow.name, Release, members, signatures).join(
        Release, Release.bundle_id == BundleRow.id
    )
    found = [
        ReleaseSummary(
            bundle, row.sequence, concepts, signed, row.created_at, row.created_by,
            row.expires_at, row.note, paused.get(row.id, {}),
        )
        for bundle, row, concepts, signed in session.execute(query)
    ]  # fmt: skip
    return sorted(found, key=lambda item: (item.bundle, item.sequence))


def _pauses(session: Session) -> dict[int, dict[str, str]]:
    """Return until when members are paused, by their release's id and their slug."""
    query = (
        select(ReleaseMember.release_id, Concept.slug, ReleaseMember.disabled_until)
        .join(Concept, Concept.id == ReleaseMember.concept_id)
        .where(ReleaseMember.disabled_until.is_not(None), ReleaseMember.mode == "enforce")
    )
    found: dict[int, dict[str, str]] = {}
    for release_id, slug, until in sorted(session.execute(query), key=lambda row: str(row[1])):
        found.setdefault(release_id, {})[slug] = until or ""
    return found


def _info(
    session: Session,
    bundle: BundleRow,
    release: Release,
    known: dict[int, Approval | None],
    members: Sequence[Chosen],
) -> ReleaseInfo:
    new = [item.version for item in members if item.version.id not in known]
    known |= dict.fromkeys((version.id for version in new), None)
    known |= approvals_of(session, new)
    raised, by_hand = raised_thresholds(session, members), set_by_hand(session, members)
    return ReleaseInfo(
        bundle=bundle.name,
        sequence=release.sequence,
        lock_digest=release.lock_digest,
        bundle_digest=release.bundle_digest,
        created_at=release.created_at,
        created_by=release.created_by,
        members=tuple(
            _member(
                item,
                known[item.version.id],
                raised.get(item.concept.slug, ()),
                by_hand[item.concept.slug],
            )
            for item in members
        ),
        previous_digest=release.previous_digest,
        expires_at=release.expires_at,
        rollback_of=release.rollback_of,
        note=release.note,
        key_list=release.key_list,
        revocations=tuple(revocations_of(session, release)),
        signatures=tuple(item.key_id for item in signatures_of(session, release)),
    )


def _member(
    chosen: Chosen,
    approval: Approval | None,
    raised: tuple[RaisedThreshold, ...],
    by_hand: tuple[str, ...],
) -> ReleasedMember:
    version = chosen.version
    return ReleasedMember(
        slug=chosen.concept.slug,
        version=version.number,
        content_digest=version.content_digest,
        mode=chosen.mode,
        thresholds=chosen.thresholds,
        disabled_until=chosen.disabled_until,
        state=version.state,
        approval=approval.how if approval else "",
        approved_at=approval.at if approval else None,
        approved_by=approval.by if approval else (),
        raised=raised,
        by_hand=by_hand,
    )
