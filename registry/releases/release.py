"""Releases: a numbered, locked set of versions, signed where there are keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.bundle.member import check_name, lock_digest
from concepts.canonical import canonical_json
from concepts.errors import (
    ConflictError,
    InputError,
    NotFoundError,
    PolicyError,
    did_you_mean,
)
from registry.answers import ReleasedMember, ReleaseInfo
from registry.change.work import Work
from registry.releases import lineup
from registry.releases.assemble import (
    FORMAT,
    assemble,
    read_bundle_of,
    released_members,
    revocations_of,
)
from registry.releases.lineup import Changes, Chosen
from registry.releases.signatures import add_signatures, newest_list, signatures_of
from registry.store.blobs import BlobStore
from registry.store.models import (
    BundleRow,
    ConceptVersion,
    Release,
    ReleaseMember,
    ReleaseRevocation,
)
from registry.team import policy_row
from registry.versions.quorum import Approval, approvals_of
from registry.versions.reading import require_digest

if TYPE_CHECKING:
    from concepts.signing.ed25519 import PrivateKey

__all__ = [
    "add_release", "find_release", "list_releases", "read_bundle_of", "release_info", "roll_back",
]  # fmt: skip


def add_release(
    unit: Work,
    store: BlobStore,
    name: str,
    members: Sequence[str] | None,
    *,
    modes: Mapping[str, str],
    thresholds: Mapping[str, Any],
    disabled: Mapping[str, str | None],
    allow_shrink: bool,
    expires: str | None,
    note: str,
    keys: Sequence[PrivateKey],
    expect_digest: str | None,
) -> tuple[BundleRow, Release]:
    """Insert the next release of a bundle; see ``Registry.release``."""
    row = _bundle_row(unit, name)
    last = _newest(unit.session, row)
    _expect(row, last, expect_digest)
    before = released_members(unit.session, last) if last else []
    chosen = lineup.choose(unit.session, members, before, unit.at)
    if not chosen and not allow_shrink:
        raise lineup.nothing(unit.session, members)
    chosen = lineup.change(unit.session, chosen, Changes(modes, thresholds, disabled), unit.at)
    lost = _check_shrink(unit, before, chosen, allow_shrink)
    approved = lineup.approve(unit, chosen)
    release = _insert(unit, store, row, last, chosen, expires=expires, note=note)
    signed = _sign(unit, store, row, release, keys)
    unit.record(
        "release.add", f"{name}#{release.sequence}", **_about(release, chosen, lost, signed),
        approved=approved, note=note,
    )  # fmt: skip
    return row, release


def roll_back(
    unit: Work,
    store: BlobStore,
    name: str,
    sequence: int,
    *,
    reason: str,
    allow_shrink: bool,
    expires: str | None,
    keys: Sequence[PrivateKey],
    expect_digest: str | None,
) -> tuple[BundleRow, Release]:
    """Insert a release with the members of an earlier one; see ``Registry.rollback``."""
    if not reason.strip():
        raise PolicyError("A rollback needs a reason, which the audit trail keeps.")
    row, old = find_release(unit.session, name, sequence)
    _, last = find_release(unit.session, name)
    _expect(row, last, expect_digest)
    if old.id == last.id and old.format == FORMAT:
        raise ConflictError(f"Release {sequence} is the newest of '{name}' already.")
    chosen = released_members(unit.session, old)
    for item in chosen:
        if item.version.state == "revoked":
            raise PolicyError(
                f"Release {sequence} of '{name}' holds version {item.version.number} of "
                f"'{item.concept.slug}', which was revoked. Release other versions."
            )
    before = released_members(unit.session, last)
    lost = _check_shrink(unit, before, chosen, allow_shrink)
    release = _insert(
        unit, store, row, last, chosen, expires=expires, note=reason, rollback_of=sequence
    )
    signed = _sign(unit, store, row, release, keys)
    unit.record(
        "release.rollback", f"{name}#{release.sequence}", **_about(release, chosen, lost, signed),
        rollback_of=sequence, reason=reason,
    )  # fmt: skip
    return row, release


def find_release(
    session: Session, name: str, sequence: int | None = None
) -> tuple[BundleRow, Release]:
    """Return a release's rows, the newest when no sequence is named; NotFoundError otherwise."""
    row = find_bundle(session, name)
    query = select(Release).filter_by(bundle_id=row.id, sequence=sequence)
    release = _newest(session, row) if sequence is None else session.scalars(query).first()
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


def release_info(session: Session, bundle: BundleRow, release: Release) -> ReleaseInfo:
    """Return a release as it is told outside."""
    return _info(session, bundle, release, {})


def list_releases(session: Session, name: str | None = None) -> list[ReleaseInfo]:
    """Return all releases, or those of one bundle, by bundle and sequence."""
    query = select(BundleRow, Release).join(Release, Release.bundle_id == BundleRow.id)
    if name is not None:
        query = query.where(BundleRow.id == find_bundle(session, name).id)
    known: dict[int, Approval | None] = {}
    found = [_info(session, bundle, release, known) for bundle, release in session.execute(query)]
    return sorted(found, key=lambda item: (item.bundle, item.sequence))


def _info(
    session: Session, bundle: BundleRow, release: Release, known: dict[int, Approval | None]
) -> ReleaseInfo:
    members = released_members(session, release)
    new = [item.version for item in members if item.version.id not in known]
    known |= dict.fromkeys((version.id for version in new), None)
    known |= approvals_of(session, new)
    return ReleaseInfo(
        bundle=bundle.name,
        sequence=release.sequence,
        lock_digest=release.lock_digest,
        bundle_digest=release.bundle_digest,
        created_at=release.created_at,
        created_by=release.created_by,
        members=tuple(_member(chosen, known[chosen.version.id]) for chosen in members),
        previous_digest=release.previous_digest,
        expires_at=release.expires_at,
        rollback_of=release.rollback_of,
        note=release.note,
        key_list=release.key_list,
        revocations=tuple(revocations_of(session, release)),
        signatures=tuple(item.key_id for item in signatures_of(session, release)),
    )


def _member(chosen: Chosen, approval: Approval | None) -> ReleasedMember:
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
    )


def _insert(
    unit: Work,
    store: BlobStore,
    row: BundleRow,
    last: Release | None,
    chosen: Sequence[Chosen],
    *,
    expires: str | None,
    note: str,
    rollback_of: int | None = None,
) -> Release:
    session = unit.session
    release = Release(
        bundle_id=row.id,
        sequence=last.sequence + 1 if last else 1,
        lock_digest=lock_digest(item.locked for item in chosen),
        format=FORMAT,
        previous_digest=last.bundle_digest if last else None,
        expires_at=None if expires is None else lineup.future("expires", expires, unit.at),
        key_list=newest_list(session),
        rollback_of=rollback_of,
        note=note,
        created_at=unit.at,
        created_by=unit.actor,
    )
    revocations = _revoked(session, row, chosen)
    release.bundle_digest = assemble(session, store, row, release, chosen, revocations).digest
    session.add(release)
    session.flush()
    session.add_all(_member_row(release, item) for item in chosen)
    for digest in revocations:
        session.add(ReleaseRevocation(release_id=release.id, content_digest=digest))
    session.flush()
    return release


def _member_row(release: Release, item: Chosen) -> ReleaseMember:
    return ReleaseMember(
        release_id=release.id,
        concept_id=item.concept.id,
        version_id=item.version.id,
        mode=item.mode,
        thresholds=canonical_json(item.thresholds).decode(),
        disabled_until=item.disabled_until,
    )


def _sign(
    unit: Work, store: BlobStore, row: BundleRow, release: Release, keys: Sequence[PrivateKey]
) -> list[str]:
    # What is signed is what every later export reads back from the rows.
    if not keys:
        return []
    bundle = read_bundle_of(unit.session, store, row, release)
    return add_signatures(unit, release, bundle, keys)


def _about(
    release: Release, chosen: Sequence[Chosen], lost: list[str], signed: list[str]
) -> dict[str, Any]:
    return {
        "lock_digest": release.lock_digest,
        "bundle_digest": release.bundle_digest,
        "members": [f"{item.concept.slug}@{item.version.number}" for item in chosen],
        "no_longer_enforced": lost,
        "expires": release.expires_at,
        "signed_by": signed,
    }


def _check_shrink(
    unit: Work, before: Sequence[Chosen], after: Sequence[Chosen], allow: bool
) -> list[str]:
    max_share = None if allow else policy_row(unit.session).max_shrink
    return lineup.check_shrink(before, after, unit.at, max_share)


def _revoked(session: Session, row: BundleRow, chosen: Sequence[Chosen]) -> list[str]:
    """Return the content digests of revoked versions of the concepts that a bundle ever had."""
    released = (
        select(ReleaseMember.concept_id)
        .join(Release, Release.id == ReleaseMember.release_id)
        .where(Release.bundle_id == row.id)
    )
    concepts = {*session.scalars(released.distinct()), *(item.concept.id for item in chosen)}
    query = select(ConceptVersion).where(ConceptVersion.state == "revoked")
    rows = session.scalars(query).all()
    return sorted(item.content_digest for item in rows if item.concept_id in concepts)


def _bundle_row(unit: Work, name: str) -> BundleRow:
    try:
        check_name(name)
    except ValueError as error:
        raise InputError(
            f"Bundle name '{name}' is not valid; allowed: lower-case words joined by hyphens."
        ) from error
    row = unit.session.scalars(select(BundleRow).filter_by(name=name)).first()
    if row is None:
        row = BundleRow(name=name, created_at=unit.at, created_by=unit.actor)
        unit.session.add(row)
        unit.session.flush()
    return row


def _newest(session: Session, bundle: BundleRow) -> Release | None:
    query = select(Release).where(Release.bundle_id == bundle.id)
    return session.scalars(query.order_by(Release.sequence.desc())).first()


def _expect(row: BundleRow, last: Release | None, digest: str | None) -> None:
    found = last.bundle_digest if last else "none"
    expected = "none" if digest == "" else digest
    require_digest(f"The newest release of '{row.name}'", found, expected)
