"""Where anchors came from: hash, origin and legal basis of a picture, never the picture.

A reference lies beside the anchor set and is no part of any digest, so that it can be forgotten
while every version stays as it was approved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.digest import is_digest
from concepts.errors import InputError, NotFoundError, PolicyError
from concepts.instant import is_instant
from registry.change.work import Work
from registry.store.models import (
    AnchorSetRow,
    Concept,
    ConceptVersion,
    SourceRefRow,
    VersionAnchors,
)
from registry.versions.reading import find_concept

if TYPE_CHECKING:
    from registry.registry import Registry


@dataclass(frozen=True)
class SourceRef:
    """A picture that anchors came from.

    Attributes:
        sha256: SHA-256 of the picture's file, 64 hex digits.
        origin: Where it came from, such as an address or an archive's number.
        legal_basis: Why it may be used, such as a licence.
        retain_until: Instant after which the reference is to be forgotten, None for never.
    """

    sha256: str
    origin: str
    legal_basis: str
    retain_until: str | None = None

    def __post_init__(self) -> None:
        if not is_digest(self.sha256):
            raise ValueError(f"sha256 is {self.sha256!r}, expected 64 lower-case hex digits")
        for name in ("origin", "legal_basis"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise InputError(f"A source needs its {name.replace('_', ' ')}.")
        if self.retain_until is not None and not is_instant(self.retain_until):
            raise ValueError(
                f"retain_until is {self.retain_until!r}, expected an instant such as "
                "2026-11-24T10:00:00.000000Z"
            )


@dataclass(frozen=True)
class SourceInfo:
    """A stored reference.

    Attributes:
        id: Its number, which the audit trail names.
        ref: Hash, origin, legal basis and retention.
        anchor_set: Digest of the anchor set beside which it lies.
        versions: The versions that hold those anchors, such as "pistol@2", sorted.
        created_at: When.
        created_by: By whom.
    """

    id: int
    ref: SourceRef
    anchor_set: str
    versions: tuple[str, ...]
    created_at: str
    created_by: str


def add_sources(unit: Work, sets: Sequence[AnchorSetRow], sources: Sequence[SourceRef]) -> None:
    """Store references beside some anchor sets; one that is there already stays as it is."""
    for row in sets:
        query = select(SourceRefRow.sha256).where(SourceRefRow.anchor_set_id == row.id)
        known = set(unit.session.scalars(query))
        for source in sources:
            if source.sha256 in known:
                continue
            known.add(source.sha256)
            unit.session.add(
                SourceRefRow(
                    anchor_set_id=row.id,
                    sha256=source.sha256,
                    origin=source.origin,
                    legal_basis=source.legal_basis,
                    retain_until=source.retain_until,
                    created_at=unit.at,
                    created_by=unit.actor,
                )
            )


class Sources:
    """The source references of a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def list(self, slug: str | None = None, due: str | None = None) -> list[SourceInfo]:
        """Return references, oldest first.

        Args:
            slug: Only those of anchors of this concept's versions.
            due: Only those that are to be forgotten at this instant.

        Raises:
            NotFoundError: If there is no such concept.
        """
        with self._registry.read() as session:
            if slug is not None:
                find_concept(session, slug)
            query = select(SourceRefRow, AnchorSetRow).join(
                AnchorSetRow, AnchorSetRow.id == SourceRefRow.anchor_set_id
            )
            if due is not None:
                query = query.where(SourceRefRow.retain_until <= due)
            holders = _holders(session)
            found = [
                _info(row, held, holders.get(held.id, []))
                for row, held in session.execute(query.order_by(SourceRefRow.id))
            ]
        return [item for item in found if slug is None or _is_of(item, slug)]

    def expired(self, at: str) -> Sequence[SourceInfo]:
        """Return the references whose retention is over at an instant, oldest first."""
        return self.list(due=at)

    def forget(self, sha256: str, *, actor: str, reason: str) -> tuple[int, ...]:
        """Delete every reference to a picture; anchors, versions and digests stay.

        The audit event names the references by number and says why: it cannot be forgotten, so
        it tells neither hash nor origin.

        Args:
            sha256: Hash of the picture's file.
            actor: An admin.
            reason: Why.

        Returns:
            The numbers of the deleted references.

        Raises:
            NotFoundError: If no reference has this hash.
            PolicyError: If there is no reason, or one that names the hash.
        """
        if not reason.strip():
            raise PolicyError("Forgetting a source needs a reason, which the audit trail keeps.")
        if sha256 in reason:
            raise PolicyError("The reason must not name the hash: the audit trail keeps it.")
        with self._registry.work(actor, "admin") as unit:
            query = select(SourceRefRow).filter_by(sha256=sha256).order_by(SourceRefRow.id)
            rows = unit.session.scalars(query).all()
            if not rows:
                raise NotFoundError(f"No source has the hash '{sha256}'.")
            ids = tuple(row.id for row in rows)
            for row in rows:
                unit.session.delete(row)
            unit.record("source.forget", "sources", ids=ids, reason=reason)
            return ids


def _holders(session: Session) -> dict[int, list[str]]:
    """Return which versions hold each anchor set."""
    query = (
        select(VersionAnchors.anchor_set_id, Concept.slug, ConceptVersion.number)
        .join(ConceptVersion, ConceptVersion.id == VersionAnchors.version_id)
        .join(Concept, Concept.id == ConceptVersion.concept_id)
    )
    found: dict[int, list[tuple[str, int]]] = {}
    for held, slug, number in session.execute(query):
        found.setdefault(held, []).append((slug, number))
    return {
        held: [f"{slug}@{number}" for slug, number in sorted(places)]
        for held, places in found.items()
    }


def _is_of(item: SourceInfo, slug: str) -> bool:
    return any(place.rpartition("@")[0] == slug for place in item.versions)


def _info(row: SourceRefRow, held: AnchorSetRow, versions: Sequence[str]) -> SourceInfo:
    ref = SourceRef(row.sha256, row.origin, row.legal_basis, row.retain_until)
    return SourceInfo(row.id, ref, held.digest, tuple(versions), row.created_at, row.created_by)
