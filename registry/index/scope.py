"""Which versions a search looks at: what is live or, where nothing is, the newest approved one.

A draft is nobody's decision yet: it is looked at only where that is asked for, beside the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from registry.index.cache import IndexInput
from registry.store.blobs import BlobStore
from registry.store.models import (
    AnchorSetRow,
    AnchorSpaceRow,
    Concept,
    ConceptVersion,
    VersionAnchors,
)
from registry.vectors.rows import StoredRows
from registry.versions.live import live_members


@dataclass(frozen=True)
class StoredSet:
    """The anchors of one version in one space, and the blob that holds them.

    Attributes:
        input: Whose, which, how many.
        blob: Digest of the blob.
        state: "live", or the version's state where it is not.
    """

    input: IndexInput
    blob: str
    state: str

    def rows(self, store: BlobStore, dim: int) -> StoredRows:
        """Return the anchors, read when they are needed."""
        return StoredRows(store.path(self.blob), self.blob, self.input.anchors, dim)


def sets_in_use(
    session: Session, space: AnchorSpaceRow, slug: str | None = None
) -> list[StoredSet]:
    """Return the anchors in a space of what is live or, where nothing is, approved.

    Args:
        session: Of a transaction.
        space: The space.
        slug: Only this concept's.
    """
    live = live_members()
    with_live = select(ConceptVersion.concept_id).where(ConceptVersion.id.in_(live))
    approved = _newest("approved").where(ConceptVersion.concept_id.not_in(with_live))
    return _sets(session, space, ConceptVersion.id.in_(live.union(approved)), slug)


def draft_sets(session: Session, space: AnchorSpaceRow, slug: str | None = None) -> list[StoredSet]:
    """Return the anchors in a space of the drafts that are the newest version of their concept.

    An older one was left behind. What was revoked does not count as newer.
    """
    newest = _newest("draft", "in_review", "approved", "deprecated")
    drafts = newest.where(ConceptVersion.state.in_(("draft", "in_review")))
    return _sets(session, space, ConceptVersion.id.in_(drafts), slug)


def sets_of(session: Session, space: AnchorSpaceRow, slug: str, number: int) -> list[StoredSet]:
    """Return the anchors in a space of one version, none where it has none there."""
    return _sets(session, space, ConceptVersion.number == number, slug)


def _newest(*states: str) -> Select[int]:
    """Return the query for each concept's newest version in some states, by id."""
    newest = (
        select(ConceptVersion.concept_id, func.max(ConceptVersion.number).label("number"))
        .where(ConceptVersion.state.in_(states))
        .group_by(ConceptVersion.concept_id)
        .subquery()
    )
    return select(ConceptVersion.id).join(
        newest,
        (newest.c.concept_id == ConceptVersion.concept_id)
        & (newest.c.number == ConceptVersion.number),
    )


def _sets(
    session: Session, space: AnchorSpaceRow, which: ColumnElement[bool], slug: str | None
) -> list[StoredSet]:
    """Return the anchors in a space of some versions, by slug and number."""
    # Columns, not objects: a search pays for this whenever the registry has changed.
    query = (
        select(
            Concept.slug, ConceptVersion.number, AnchorSetRow.digest, AnchorSetRow.anchors,
            AnchorSetRow.blob, ConceptVersion.state, ConceptVersion.id.in_(live_members()),
        )
        .join(ConceptVersion, ConceptVersion.concept_id == Concept.id)
        .join(VersionAnchors, VersionAnchors.version_id == ConceptVersion.id)
        .join(AnchorSetRow, AnchorSetRow.id == VersionAnchors.anchor_set_id)
        .where(VersionAnchors.space_id == space.id, which)
    )  # fmt: skip
    if slug is not None:
        query = query.where(Concept.slug == slug)
    sets = [
        StoredSet(IndexInput(*row[:4]), row[4], "live" if row[6] else row[5])
        for row in session.execute(query)
    ]
    # Databases collate differently.
    return sorted(sets, key=lambda item: (item.input.slug, item.input.version))
