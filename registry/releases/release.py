"""Inserting a release: its rows, its lock, what it revokes, its first signatures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.bundle.member import check_name, lock_digest
from concepts.canonical import canonical_json
from concepts.errors import ConflictError, InputError, PolicyError
from registry.change.policy import policy_row
from registry.change.work import Work
from registry.keys.lists import newest_list
from registry.releases import lineup
from registry.releases.assemble import FORMAT, assemble, read_bundle_of, released_members
from registry.releases.changes import Changes, change, future
from registry.releases.lineup import Chosen, Wanted
from registry.releases.reading import find_release, newest_release
from registry.releases.shrink import Asked, Loss, check_shrink, losses
from registry.releases.signatures import add_signatures
from registry.releases.thresholds import check_reachable, newly_raised, raised_thresholds
from registry.store.blobs import BlobStore
from registry.store.models import (
    BundleRow,
    ConceptVersion,
    Release,
    ReleaseMember,
    ReleaseRevocation,
)
from registry.versions.reading import require_digest

if TYPE_CHECKING:
    from concepts.signing.ed25519 import PrivateKey


def add_release(
    unit: Work,
    store: BlobStore,
    name: str,
    wanted: Wanted,
    changes: Changes,
    asked: Asked,
    *,
    expires: str | None,
    keys: Sequence[PrivateKey],
    expect_digest: str | None,
    expect_lock: str | None,
) -> tuple[BundleRow, Release]:
    """Insert the next release of a bundle; see ``Releases.add``."""
    row = _bundle_row(unit, name)
    last = newest_release(unit.session, row)
    _expect(row, last, expect_digest)
    before = released_members(unit.session, last) if last else None
    chosen = lineup.choose(unit.session, wanted, before, unit.present)
    if not chosen and not before and not asked.nothing:
        raise lineup.nothing(unit.session)
    chosen = change(unit.session, chosen, changes, unit.present)
    if expect_lock is not None:
        lock = lock_digest(item.locked for item in chosen)
        require_digest(f"What would be released of '{name}'", lock, expect_lock)
    lost = _check_shrink(unit, store, before or [], chosen, asked)
    approved = lineup.approve(unit, chosen)
    release = _insert(unit, store, row, last, chosen, expires=expires, note=asked.reason)
    signed = _sign(unit, store, row, release, keys)
    unit.record(
        "release.add", f"{name}#{release.sequence}", **_about(unit, release, chosen, lost, signed),
        approved=approved, note=asked.reason,
    )  # fmt: skip
    return row, release


def roll_back(
    unit: Work,
    store: BlobStore,
    name: str,
    sequence: int,
    asked: Asked,
    *,
    expires: str | None,
    keys: Sequence[PrivateKey],
    expect_digest: str | None,
) -> tuple[BundleRow, Release]:
    """Insert a release with the members of an earlier one; see ``Releases.roll_back``."""
    if not asked.reason.strip():
        raise PolicyError("A rollback needs a reason, which the audit trail keeps.")
    row, old = find_release(unit.session, name, sequence)
    _, last = find_release(unit.session, name)
    _expect(row, last, expect_digest)
    if old.id == last.id and old.format == FORMAT:
        raise ConflictError(f"{name}@{sequence} is the newest already.")
    chosen = released_members(unit.session, old)
    for item in chosen:
        if item.version.state == "revoked":
            raise PolicyError(
                f"{name}@{sequence} holds {item.concept.slug}@{item.version.number}, which was "
                "revoked. Release other versions."
            )
    before = released_members(unit.session, last)
    lost = _check_shrink(unit, store, before, chosen, asked)
    _check_dropped(f"{name}@{sequence}", asked, lost)
    release = _insert(
        unit, store, row, last, chosen, expires=expires, note=asked.reason, rollback_of=sequence
    )
    signed = _sign(unit, store, row, release, keys)
    unit.record(
        "release.rollback", f"{name}#{release.sequence}",
        **_about(unit, release, chosen, lost, signed), rollback_of=sequence, reason=asked.reason,
    )  # fmt: skip
    return row, release


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
        expires_at=None if expires is None else _expiry(unit, expires),
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


def _expiry(unit: Work, expires: str) -> str:
    """Return when a release expires; InputError if that is before it is made."""
    instant = future("expires", expires, unit.present)
    return future("expires", instant, unit.at)


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
    unit: Work, release: Release, chosen: Sequence[Chosen], lost: Sequence[Loss], signed: list[str]
) -> dict[str, Any]:
    # Told by every release that has them, whether they are its own or the one's before.
    raised = {
        slug: {item.place: {"threshold": item.threshold, "own": item.own} for item in items}
        for slug, items in raised_thresholds(unit.session, chosen).items()
    }
    return {
        "lock_digest": release.lock_digest,
        "bundle_digest": release.bundle_digest,
        "members": [f"{item.concept.slug}@{item.version.number}" for item in chosen],
        "no_longer_enforced": sorted({loss.slug for loss in lost}),
        "expires": release.expires_at,
        "signed_by": signed,
        **({"raised": raised} if raised else {}),
    }


def _check_shrink(
    unit: Work, store: BlobStore, before: Sequence[Chosen], after: Sequence[Chosen], asked: Asked
) -> list[Loss]:
    """Return what is enforced less than before; PolicyError where it was not asked for."""
    raised = newly_raised(before, after, raised_thresholds(unit.session, after))
    check_reachable(unit.session, store, after, raised)
    lost = losses(unit.session, before, after, raised, unit.present)
    check_shrink(before, after, lost, asked, unit.present, policy_row(unit.session).max_shrink)
    return lost


def _check_dropped(old: str, asked: Asked, lost: Sequence[Loss]) -> None:
    gone = {loss.slug for loss in lost if loss.kind == "removed"}
    if staying := sorted(asked.drop - gone):
        raise ConflictError(
            f"'{staying[0]}' does not go by a rollback to {old}, which takes that "
            "release's members as they were. Leave out its --drop."
        )


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


def _expect(row: BundleRow, last: Release | None, digest: str | None) -> None:
    found = last.bundle_digest if last else "none"
    expected = "none" if digest == "" else digest
    require_digest(f"The newest release of '{row.name}'", found, expected)
