"""Adding concepts and versions; the caller's session holds the registry's write lock."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.anchors import AnchorSet, AnchorSpace, Scorer
from concepts.definition import ConceptDefinition
from concepts.digest import canonical_json, json_digest, write_tensors
from concepts.errors import ConflictError
from registry import audit
from registry.models import AnchorSetRow, AnchorSpaceRow, Concept, ConceptVersion, VersionAnchors
from registry.reading import StoredAnchors, latest_version, stored_anchors
from registry.store import BlobStore

Collection = tuple[AnchorSet, Scorer]


def add_concept(opened: Session, definition: ConceptDefinition, actor: str) -> Concept:
    """Insert a concept, or give an existing one the definition for its next version."""
    row = opened.scalars(select(Concept).where(Concept.slug == definition.slug)).first()
    at, action = audit.now(), "concept.define" if row else "concept.add"
    if row is None:
        row = Concept(slug=definition.slug, created_at=at, created_by=actor)
        opened.add(row)
    elif row.category != definition.category:
        raise ConflictError(
            f"Concept '{row.slug}' exists with category '{row.category}', "
            f"not '{definition.category}'. Use another slug."
        )
    elif row.definition_digest == definition.digest:
        raise ConflictError(f"Concept '{row.slug}' exists with the same definition.")
    row.name, row.category = definition.name, definition.category
    row.definition = canonical_json(definition.to_dict()).decode()
    row.definition_digest = definition.digest
    audit.record(opened, action, row.slug, actor=actor, at=at, definition_digest=definition.digest)
    return row


def add_version(
    opened: Session,
    store: BlobStore,
    concept: Concept,
    collections: Sequence[Collection],
    *,
    actor: str,
    definition_digest: str | None,
) -> ConceptVersion:
    """Insert the next version of a concept; the session must hold the write lock.

    Blobs are on disk before the row that names them; blobs of a version that is refused go.
    """
    if definition_digest not in (None, concept.definition_digest):
        raise ConflictError(
            f"The definition of '{concept.slug}' is not the one its anchors were collected with; "
            "it changed meanwhile. Collect them again."
        )
    latest = latest_version(opened, concept)
    kept = _kept(opened, latest, collections) if latest else []
    digest = content_digest(concept, collections, kept)
    _refuse_duplicate(opened, concept, digest)
    at = audit.now()
    version = ConceptVersion(
        concept_id=concept.id,
        number=latest.number + 1 if latest else 1,
        state="draft",
        definition=concept.definition,
        content_digest=digest,
        created_at=at,
        created_by=actor,
    )
    opened.add(version)
    opened.flush()
    with _NewBlobs(store) as blobs:
        for anchor_set, scorer in collections:
            opened.add(_collection_row(opened, blobs, version, anchor_set, scorer))
        for entry in kept:
            opened.add(_kept_row(version, entry.row))
        audit.record(
            opened, "version.add", f"{concept.slug}@{version.number}",
            actor=actor, at=at, content_digest=digest,
        )  # fmt: skip
    return version


def content_digest(
    concept: Concept, collections: Sequence[Collection], kept: Sequence[StoredAnchors]
) -> str:
    """Return the digest of a version's content: definition, anchors and scoring of each space."""
    content = [entry.content for entry in kept] + [
        {"space": anchors.space.digest, "anchors": anchors.digest, "scorer": scorer.digest}
        for anchors, scorer in collections
    ]
    content.sort(key=lambda item: item["space"])
    return json_digest({"definition": json.loads(concept.definition), "collections": content})


def _kept(
    opened: Session, latest: ConceptVersion, collections: Sequence[Collection]
) -> list[StoredAnchors]:
    # New anchors of a model and task take the place of old ones, whatever tap, noise level or
    # weights those came from: an engine must find one space for each model and task.
    new = {(anchors.space.model, anchors.space.task) for anchors, _ in collections}
    entries = stored_anchors(opened, latest)
    return [entry for entry in entries if (entry.space.model, entry.space.task) not in new]


def _refuse_duplicate(opened: Session, concept: Concept, digest: str) -> None:
    query = select(ConceptVersion).where(
        ConceptVersion.concept_id == concept.id, ConceptVersion.content_digest == digest
    )
    same = opened.scalars(query).first()
    if same is not None:
        raise ConflictError(
            f"Version {same.number} of '{concept.slug}' already has exactly this content."
        )


def _space_row(opened: Session, space: AnchorSpace) -> AnchorSpaceRow:
    row = opened.scalars(select(AnchorSpaceRow).filter_by(digest=space.digest)).first()
    if row is None:
        document = canonical_json(space.to_dict()).decode()
        row = AnchorSpaceRow(
            digest=space.digest, document=document,
            model=space.model, task=space.task, dim=space.dim,
        )  # fmt: skip
        opened.add(row)
        opened.flush()
    return row


def _collection_row(
    opened: Session,
    blobs: _NewBlobs,
    version: ConceptVersion,
    anchor_set: AnchorSet,
    scorer: Scorer,
) -> VersionAnchors:
    space = _space_row(opened, anchor_set.space)
    blob = blobs.put(anchor_set.to_bytes())
    row = opened.scalars(select(AnchorSetRow).filter_by(blob=blob)).first()
    if row is None:
        row = AnchorSetRow(
            space_id=space.id, digest=anchor_set.digest, blob=blob,
            anchors=len(anchor_set.anchors), counter_anchors=len(anchor_set.counter_anchors),
            created_at=version.created_at, created_by=version.created_by,
        )  # fmt: skip
        opened.add(row)
        opened.flush()
    return VersionAnchors(
        version_id=version.id,
        space_id=space.id,
        anchor_set_id=row.id,
        scorer=canonical_json(scorer.to_dict()).decode(),
        scorer_blob=blobs.put(write_tensors(scorer.to_tensors())),
        scorer_digest=scorer.digest,
    )


def _kept_row(version: ConceptVersion, row: VersionAnchors) -> VersionAnchors:
    return VersionAnchors(
        version_id=version.id,
        space_id=row.space_id,
        anchor_set_id=row.anchor_set_id,
        scorer=row.scorer,
        scorer_blob=row.scorer_blob,
        scorer_digest=row.scorer_digest,
    )


class _NewBlobs:
    """Blobs of one version; on an error, the ones that were new are deleted.

    Deleting is safe because the caller holds the write lock: no other writer can have named them.
    """

    def __init__(self, store: BlobStore) -> None:
        self.store = store
        self.new: list[str] = []

    def put(self, data: bytes) -> str:
        digest, new = self.store.put(data)
        if new:
            self.new.append(digest)
        return digest

    def __enter__(self) -> _NewBlobs:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for digest in self.new if kind else ():
            self.store.discard(digest)
