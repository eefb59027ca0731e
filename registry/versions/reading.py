"""Reading concepts, versions and their anchors back, each checked against its digest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from concepts.anchors import AnchorSet, AnchorSpace
from concepts.calibration import recorded_calibration
from concepts.definition import ConceptDefinition, shipped_definitions
from concepts.digest import is_digest
from concepts.errors import (
    ConflictError,
    InputError,
    NotFoundError,
    VerificationError,
    did_you_mean,
)
from concepts.scorer import Scorer
from concepts.tensors import read_metadata, read_tensors
from registry.answers import ConceptDetail, ConceptInfo, VersionInfo, VersionSpace, no_version
from registry.store.blobs import BlobStore
from registry.store.models import (
    AnchorSetRow,
    AnchorSpaceRow,
    Concept,
    ConceptVersion,
    VersionAnchors,
)
from registry.versions.evaluations import evaluations_of
from registry.versions.quorum import authors_of, batches, count_approvals


@dataclass(frozen=True)
class StoredAnchors:
    """One row of a version's anchors, joined with its set and its space."""

    row: VersionAnchors
    anchor_set: AnchorSetRow
    space: AnchorSpaceRow

    @property
    def content(self) -> dict[str, str]:
        """What the version's content digest covers."""
        return {
            "space": self.space.digest,
            "anchors": self.anchor_set.digest,
            "scorer": self.row.scorer_digest,
        }


def find_concept(session: Session, slug: str) -> Concept:
    """Return a concept's row; NotFoundError otherwise, with how to add it or the closest name."""
    row = session.scalars(select(Concept).where(Concept.slug == slug)).first()
    if row is None:
        if slug in shipped_definitions():
            raise NotFoundError(
                f"No concept '{slug}'. It ships with the program: add it first with "
                f"`uvr-registry add-concept {slug}`."
            )
        known = session.scalars(select(Concept.slug)).all()
        raise NotFoundError(f"No concept '{slug}'.{did_you_mean(slug, known)}")
    return row


def latest_version(
    session: Session, concept: Concept, *, revoked: bool = True
) -> ConceptVersion | None:
    """Return the newest version of a concept, None if it has none; maybe only of those in use."""
    query = select(ConceptVersion).where(ConceptVersion.concept_id == concept.id)
    if not revoked:
        query = query.where(ConceptVersion.state != "revoked")
    return session.scalars(query.order_by(ConceptVersion.number.desc())).first()


def find_version(session: Session, concept: Concept, number: int | None = None) -> ConceptVersion:
    """Return a version of a concept, the newest by default; NotFoundError otherwise."""
    return versions_of(session, concept, number)[-1]


def versions_of(
    session: Session, concept: Concept, number: int | None = None
) -> Sequence[ConceptVersion]:
    """Return a concept's versions, or the one of a number; NotFoundError where there is none."""
    query = select(ConceptVersion).where(ConceptVersion.concept_id == concept.id)
    if number is not None:
        query = query.where(ConceptVersion.number == number)
    rows = session.scalars(query.order_by(ConceptVersion.number)).all()
    if not rows:
        raise no_version(concept.slug, number)
    return rows


def require_digest(what: str, found: str, expected: str | None) -> None:
    """Compare before a change: ConflictError if a thing no longer has the digest expected.

    A part of a digest will not do: two contents that agree in it are soon made.
    """
    if expected not in (None, "none") and not is_digest(expected):
        raise InputError(f"'{expected}' is not a SHA-256: 64 lower-case hex digits are expected.")
    if expected is not None and found != expected:
        raise ConflictError(
            f"{what} has digest {found}, expected {expected}. It changed meanwhile: look at it "
            "again."
        )


def stored_anchors(session: Session, version: ConceptVersion) -> list[StoredAnchors]:
    """Return a version's anchors by space, sorted by task, model and digest."""
    return stored_anchors_of(session, [version])[version.id]


def stored_anchors_of(
    session: Session, versions: Sequence[ConceptVersion]
) -> dict[int, list[StoredAnchors]]:
    """Return the anchors of versions by their id, each as ``stored_anchors`` does."""
    anchors: dict[int, list[StoredAnchors]] = {version.id: [] for version in versions}
    for ids in batches(list(anchors)):
        query = (
            select(VersionAnchors, AnchorSetRow, AnchorSpaceRow)
            .join(AnchorSetRow, AnchorSetRow.id == VersionAnchors.anchor_set_id)
            .join(AnchorSpaceRow, AnchorSpaceRow.id == VersionAnchors.space_id)
            .where(VersionAnchors.version_id.in_(ids))
            .order_by(AnchorSpaceRow.task.desc(), AnchorSpaceRow.model, AnchorSpaceRow.digest)
        )
        for row in session.execute(query):
            anchors[row[0].version_id].append(StoredAnchors(*row))
    return anchors


def read_definition(text: str) -> ConceptDefinition:
    """Return the definition that a row holds as canonical JSON."""
    return ConceptDefinition.from_dict(json.loads(text))


def read_space(row: AnchorSpaceRow) -> AnchorSpace:
    """Return the space of a row, checked against its digest."""
    space = AnchorSpace.from_dict(json.loads(row.document))
    if space.digest != row.digest:
        raise VerificationError(f"Anchor space {row.digest[:12]} does not match its digest.")
    return space


def read_anchor_set(store: BlobStore, row: AnchorSetRow) -> AnchorSet:
    """Return the anchors of a row, checked against its digest."""
    anchor_set = AnchorSet.from_bytes(store.get(row.blob))
    if anchor_set.digest != row.digest:
        raise VerificationError(f"Anchor set {row.digest[:12]} does not match its digest.")
    return anchor_set


def read_provenance(store: BlobStore, row: AnchorSetRow) -> dict[str, Any]:
    """Return how the anchors of a row were collected; their vectors are not read."""
    return dict(read_metadata(store.get(row.blob))["provenance"])


def read_scorer(store: BlobStore, row: VersionAnchors) -> Scorer:
    """Return the scorer of a row, checked against its digest."""
    scorer = Scorer.from_tensors(json.loads(row.scorer), read_tensors(store.get(row.scorer_blob)))
    if scorer.digest != row.scorer_digest:
        raise VerificationError(f"Scorer {row.scorer_digest[:12]} does not match its digest.")
    return scorer


def scored_alike(one: StoredAnchors, other: StoredAnchors) -> bool:
    """Whether two versions score patches alike, so that their thresholds can be compared."""
    alike = one.row.scorer_blob == other.row.scorer_blob
    return alike and one.anchor_set.digest == other.anchor_set.digest


def list_concepts(session: Session) -> list[ConceptInfo]:
    """Return all concepts, sorted by slug."""
    query = (
        select(Concept, func.max(ConceptVersion.number), func.count(ConceptVersion.id))
        .outerjoin(ConceptVersion, ConceptVersion.concept_id == Concept.id)
        .group_by(Concept.id)
    )
    concepts = [
        ConceptInfo(row.slug, row.name, row.category, latest, count, row.created_at)
        for row, latest, count in session.execute(query)
    ]
    return sorted(concepts, key=lambda item: item.slug)  # Databases collate differently.


def concept_detail(session: Session, concept: Concept) -> ConceptDetail:
    """Return a concept with its versions, oldest first."""
    query = select(ConceptVersion).where(ConceptVersion.concept_id == concept.id)
    rows = session.scalars(query.order_by(ConceptVersion.number)).all()
    return ConceptDetail(
        slug=concept.slug,
        name=concept.name,
        category=concept.category,
        created_at=concept.created_at,
        created_by=concept.created_by,
        definition=read_definition(concept.definition),
        versions=tuple(version_info(session, concept, row) for row in rows),
    )


def version_info(session: Session, concept: Concept, version: ConceptVersion) -> VersionInfo:
    """Return a version as callers see it."""
    return VersionInfo(
        slug=concept.slug,
        number=version.number,
        state=version.state,
        content_digest=version.content_digest,
        created_at=version.created_at,
        created_by=version.created_by,
        spaces=tuple(version_space(entry) for entry in stored_anchors(session, version)),
        authors=authors_of(version),
        approvals=count_approvals(session, version),
        evaluations=evaluations_of(session, version),
    )


def version_space(entry: StoredAnchors) -> VersionSpace:
    """Return a version's anchors in one space as callers see them."""
    scalars = json.loads(entry.row.scorer)
    calibration = recorded_calibration(scalars["metadata"])
    return VersionSpace(
        space=read_space(entry.space),
        digest=entry.space.digest,
        anchor_set=entry.anchor_set.digest,
        anchors=entry.anchor_set.anchors,
        counter_anchors=entry.anchor_set.counter_anchors,
        rule=scalars["rule"],
        seed_threshold=scalars["seed_threshold"],
        grow_threshold=scalars["grow_threshold"],
        calibration=None if calibration is None else calibration.to_dict(),
    )
