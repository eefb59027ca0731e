"""Where anchors came from: hash, origin and legal basis of a picture, never the picture.

A reference lies beside the anchor set and is no part of any digest, so that it can be forgotten
while every version stays as it was approved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
from registry.versions.keeping import Keeping
from registry.versions.kept_exemplar import forget_kept, require_untold
from registry.versions.reading import find_concept


@dataclass(frozen=True)
class Exemplar:
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
                raise InputError(f"An exemplar needs its {name.replace('_', ' ')}.")
        if self.retain_until is not None and not is_instant(self.retain_until):
            raise ValueError(
                f"retain_until is {self.retain_until!r}, expected an instant such as "
                "2026-11-24T10:00:00.000000Z"
            )


@dataclass(frozen=True)
class ExemplarInfo:
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
    ref: Exemplar
    anchor_set: str
    versions: tuple[str, ...]
    created_at: str
    created_by: str


def add_exemplars(unit: Work, sets: Sequence[AnchorSetRow], exemplars: Sequence[Exemplar]) -> None:
    """Store references beside some anchor sets; one that is there already stays as it is."""
    for row in sets:
        query = select(SourceRefRow.sha256).where(SourceRefRow.anchor_set_id == row.id)
        known = set(unit.session.scalars(query))
        for exemplar in exemplars:
            if exemplar.sha256 in known:
                continue
            known.add(exemplar.sha256)
            unit.session.add(
                SourceRefRow(
                    anchor_set_id=row.id,
                    sha256=exemplar.sha256,
                    origin=exemplar.origin,
                    legal_basis=exemplar.legal_basis,
                    retain_until=exemplar.retain_until,
                    created_at=unit.at,
                    created_by=unit.actor,
                )
            )


class Exemplars(Keeping):
    """The exemplars of a registry: what is known of the pictures behind its anchors.

    Pictures that were kept on purpose are among them; see ``Keeping``.
    """

    def list(self, slug: str | None = None, due: str | None = None) -> list[ExemplarInfo]:
        """Return references, oldest first.

        Args:
            slug: Only those of anchors of this concept's versions.
            due: Only those that are to be forgotten at this instant.

        Raises:
            NotFoundError: If there is no such concept.
        """
        with self._workspace.read() as session:
            if slug is not None:
                find_concept(session, slug)
            query = select(SourceRefRow, AnchorSetRow).join(
                AnchorSetRow, AnchorSetRow.id == SourceRefRow.anchor_set_id
            )
            if due is not None:
                query = query.where(SourceRefRow.retain_until <= due)
            holders = _holders(session)
            exemplars = [
                _info(row, anchors, holders.get(anchors.id, []))
                for row, anchors in session.execute(query.order_by(SourceRefRow.id))
            ]
        return [item for item in exemplars if slug is None or _is_of(item, slug)]

    def forget(self, sha256: str, *, actor: str, reason: str) -> tuple[int, ...]:
        """Delete every reference to a picture, and the picture itself where it is kept.

        Anchors, versions and digests stay. The audit event names references and kept pictures by
        number and says why: it cannot be forgotten, so it holds neither hash nor origin.

        Args:
            sha256: Hash of the picture's file.
            actor: An admin.
            reason: Why.

        Returns:
            The numbers of the deleted references, and then of the kept pictures.

        Raises:
            NotFoundError: If no reference and no kept picture has this hash.
            PolicyError: If there is no reason, or one that tells the hash or an origin.
        """
        if not reason.strip():
            raise PolicyError("Forgetting an exemplar needs a reason, which the audit trail keeps.")
        with self._workspace.work(actor, "admin") as unit:
            query = select(SourceRefRow).filter_by(sha256=sha256).order_by(SourceRefRow.id)
            rows = unit.session.scalars(query).all()
            kept = forget_kept(unit, sha256, reason)
            if not rows and not kept:
                raise NotFoundError(f"No exemplar has the hash '{sha256}'.")
            ids = tuple(row.id for row in rows)
            for row in rows:
                require_untold(reason, row)
                unit.session.delete(row)
            told = {"kept": kept} if kept else {}
            unit.record("source.forget", "sources", ids=ids, **told, reason=reason)
        if kept:
            self._sweep()
        return ids + kept


def _holders(session: Session) -> dict[int, list[str]]:
    """Return which versions hold each anchor set."""
    query = (
        select(VersionAnchors.anchor_set_id, Concept.slug, ConceptVersion.number)
        .join(ConceptVersion, ConceptVersion.id == VersionAnchors.version_id)
        .join(Concept, Concept.id == ConceptVersion.concept_id)
    )
    versions: dict[int, list[tuple[str, int]]] = {}
    for anchor_set, slug, number in session.execute(query):
        versions.setdefault(anchor_set, []).append((slug, number))
    return {
        anchor_set: [f"{slug}@{number}" for slug, number in sorted(names)]
        for anchor_set, names in versions.items()
    }


def _is_of(item: ExemplarInfo, slug: str) -> bool:
    return any(place.rpartition("@")[0] == slug for place in item.versions)


def _info(row: SourceRefRow, anchors: AnchorSetRow, versions: Sequence[str]) -> ExemplarInfo:
    ref = Exemplar(row.sha256, row.origin, row.legal_basis, row.retain_until)
    return ExemplarInfo(
        row.id, ref, anchors.digest, tuple(versions), row.created_at, row.created_by
    )
