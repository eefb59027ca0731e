"""Adding concepts, and adding and editing versions, inside a unit of work."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.anchors import AnchorSet, AnchorSpace, Scorer
from concepts.definition import ConceptDefinition
from concepts.digest import canonical_json, json_digest, write_tensors
from concepts.errors import ConflictError, NotFoundError
from registry.models import AnchorSetRow, AnchorSpaceRow, Concept, ConceptVersion, VersionAnchors
from registry.quorum import authors_of
from registry.reading import (
    StoredAnchors,
    latest_version,
    read_scorer,
    require_digest,
    stored_anchors,
)
from registry.sources import SourceRef, add_sources
from registry.store import BlobStore
from registry.work import Work

Collection = tuple[AnchorSet, Scorer]
Thresholds = Mapping[str, tuple[float, float]]
NO_THRESHOLDS: Thresholds = MappingProxyType({})


def check_collections(collections: Sequence[Collection]) -> None:
    """Check what a version is made from; ValueError for a slip of the programmer."""
    if not collections:
        raise ValueError("a version needs anchors in at least one space")
    if len({anchors.space.digest for anchors, _ in collections}) != len(collections):
        raise ValueError("an anchor space occurs twice")
    for anchors, scorer in collections:
        if scorer.dim != anchors.space.dim:
            raise ValueError(
                f"the scorer has {scorer.dim} dimensions, its space {anchors.space.dim}"
            )


def add_concept(
    unit: Work, definition: ConceptDefinition, expect_digest: str | None = None
) -> Concept:
    """Insert a concept, or give an existing one the definition for its next version."""
    row = unit.session.scalars(select(Concept).where(Concept.slug == definition.slug)).first()
    if expect_digest is not None:
        found = row.definition_digest if row else "none"
        require_digest(f"The definition of '{definition.slug}'", found, expect_digest)
    action = "concept.define" if row else "concept.add"
    if row is None:
        row = Concept(slug=definition.slug, created_at=unit.at, created_by=unit.actor)
        unit.session.add(row)
    else:
        refuse_other_category(row, definition)
        if row.definition_digest == definition.digest:
            raise ConflictError(f"Concept '{row.slug}' exists with the same definition.")
    _define(unit, row, definition)
    unit.record(action, row.slug, definition_digest=definition.digest)
    return row


def refuse_other_category(concept: Concept, definition: ConceptDefinition) -> None:
    """Check that a definition is of the concept's category; ConflictError otherwise."""
    if concept.category != definition.category:
        raise ConflictError(
            f"Concept '{concept.slug}' exists with category '{concept.category}', "
            f"not '{definition.category}'. Use another slug."
        )


def add_version(
    unit: Work,
    concept: Concept,
    collections: Sequence[Collection],
    *,
    definition_digest: str | None = None,
    sources: Sequence[SourceRef] = (),
) -> ConceptVersion:
    """Insert the next version of a concept; blobs are on disk before the row that names them."""
    if definition_digest not in (None, concept.definition_digest):
        raise ConflictError(
            f"The definition of '{concept.slug}' is not the one its anchors were collected with; "
            "it changed meanwhile. Collect them again."
        )
    latest = latest_version(unit.session, concept)
    kept = _kept(unit.session, latest, collections) if latest else []
    digest = content_digest(
        concept.definition, [*map(_new_content, collections), *(entry.content for entry in kept)]
    )
    _refuse_duplicate(unit.session, concept, digest)
    # Whoever wrote what is carried over wrote a part of this version too.
    earlier = authors_of(latest) if latest and kept else ()
    version = ConceptVersion(
        concept_id=concept.id,
        number=latest.number + 1 if latest else 1,
        state="draft",
        definition=concept.definition,
        content_digest=digest,
        authors=_authors(unit.actor, concept.defined_by, *earlier),
        created_at=unit.at,
        created_by=unit.actor,
    )
    unit.session.add(version)
    unit.session.flush()
    sets = [_add_collection(unit, version, *collection) for collection in collections]
    for entry in kept:
        unit.session.add(_scoring_row(version, entry.row))
    add_sources(unit, sets, sources)
    unit.record("version.add", f"{concept.slug}@{version.number}", content_digest=digest)
    return version


def edit_version(
    unit: Work,
    store: BlobStore,
    concept: Concept,
    version: ConceptVersion,
    *,
    definition: ConceptDefinition | None,
    thresholds: Thresholds,
    collections: Sequence[Collection],
) -> None:
    """Give a draft other content in place; its number stays, and the actor becomes an author."""
    if not (definition or thresholds or collections):
        raise ValueError("an edit needs a definition, thresholds or collections")
    if collections:
        check_collections(collections)
    text = _edited_definition(concept, version, definition)
    entries = stored_anchors(unit.session, version)
    edited = _edited_scorers(store, version, entries, thresholds, collections)
    content = [
        {**entry.content, "scorer": edited[entry.space.digest].digest}
        if entry.space.digest in edited
        else entry.content
        for entry in _kept(unit.session, version, collections)
    ]
    digest = content_digest(text, [*map(_new_content, collections), *content])
    if digest == version.content_digest:
        raise ConflictError(
            f"Version {version.number} of '{concept.slug}' has exactly this content already."
        )
    _refuse_duplicate(unit.session, concept, digest)
    if definition is not None and concept.definition == version.definition:
        _define(unit, concept, definition)
    version.definition, version.content_digest = text, digest
    version.authors = _authors(unit.actor, *authors_of(version))
    unit.session.flush()
    _replace_rows(unit, version, entries, edited, collections)


def content_digest(definition: str, content: Sequence[Mapping[str, str]]) -> str:
    """Return the digest of a version's content.

    Args:
        definition: The definition's canonical JSON.
        content: Digests of space, anchors and scorer, for each space; in any order.
    """
    ordered = sorted(content, key=lambda item: item["space"])
    return json_digest({"definition": json.loads(definition), "collections": ordered})


def _new_content(collection: Collection) -> dict[str, str]:
    anchors, scorer = collection
    return {"space": anchors.space.digest, "anchors": anchors.digest, "scorer": scorer.digest}


def _define(unit: Work, concept: Concept, definition: ConceptDefinition) -> None:
    concept.name, concept.category = definition.name, definition.category
    concept.definition = _json(definition)
    concept.definition_digest = definition.digest
    concept.defined_by = unit.actor


def _json(definition: ConceptDefinition) -> str:
    return canonical_json(definition.to_dict()).decode()


def _authors(*names: str) -> str:
    return canonical_json(sorted({name for name in names if name})).decode()


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


def _edited_definition(
    concept: Concept, version: ConceptVersion, definition: ConceptDefinition | None
) -> str:
    if definition is None:
        return version.definition
    if definition.slug != concept.slug:
        raise ConflictError(
            f"The definition is of '{definition.slug}', the version of '{concept.slug}'."
        )
    refuse_other_category(concept, definition)
    return _json(definition)


def _edited_scorers(
    store: BlobStore,
    version: ConceptVersion,
    entries: Sequence[StoredAnchors],
    thresholds: Thresholds,
    collections: Sequence[Collection],
) -> dict[str, Scorer]:
    """Return the scorers that get other thresholds, by the digest of their space."""
    found: dict[str, Scorer] = {}
    new = {(anchors.space.model, anchors.space.task) for anchors, _ in collections}
    for name, (seed, grow) in thresholds.items():
        matching = [entry for entry in entries if name in (entry.space.digest, entry.space.task)]
        if len(matching) != 1:
            known = ", ".join(f"{entry.space.task} ({entry.space.digest})" for entry in entries)
            count = "no anchors" if not matching else "anchors of several models"
            raise NotFoundError(
                f"Version {version.number} has {count} for '{name}'. Name one space: {known}."
            )
        (entry,) = matching
        if (entry.space.model, entry.space.task) in new:
            raise ValueError(f"the thresholds of '{name}' are those of its new scorer")
        if entry.space.digest in found:
            raise ValueError(f"'{name}' names a space that has its thresholds already")
        found[entry.space.digest] = replace(
            read_scorer(store, entry.row), seed_threshold=seed, grow_threshold=grow
        )
    return found


@dataclass(frozen=True)
class _Scoring:
    """What a version holds of one space."""

    space_id: int
    anchor_set_id: int
    scorer: str
    scorer_blob: str
    scorer_digest: str


def _replace_rows(
    unit: Work,
    version: ConceptVersion,
    entries: Sequence[StoredAnchors],
    edited: Mapping[str, Scorer],
    collections: Sequence[Collection],
) -> None:
    """Delete the rows that change and insert new ones; a row of anchors is never updated."""
    kept = {entry.space.id for entry in _kept(unit.session, version, collections)}
    added = []
    for entry in entries:
        scorer = edited.get(entry.space.digest)
        if scorer is not None:
            added.append(
                _Scoring(entry.space.id, entry.anchor_set.id, *_stored_scorer(unit, scorer))
            )
        if scorer is not None or entry.space.id not in kept:
            unit.session.delete(entry.row)
    # Else the ORM would make one update of a deletion and an insertion under the same key.
    unit.session.flush()
    for item in added:
        unit.session.add(_scoring_row(version, item))
    for collection in collections:
        _add_collection(unit, version, *collection)
    unit.session.flush()


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


def _add_collection(
    unit: Work, version: ConceptVersion, anchor_set: AnchorSet, scorer: Scorer
) -> AnchorSetRow:
    space = _space_row(unit.session, anchor_set.space)
    blob = unit.blobs.put(anchor_set.to_bytes())
    row = unit.session.scalars(select(AnchorSetRow).filter_by(blob=blob)).first()
    if row is None:
        row = AnchorSetRow(
            space_id=space.id, digest=anchor_set.digest, blob=blob,
            anchors=len(anchor_set.anchors), counter_anchors=len(anchor_set.counter_anchors),
            created_at=unit.at, created_by=unit.actor,
        )  # fmt: skip
        unit.session.add(row)
        unit.session.flush()
    made = _Scoring(space.id, row.id, *_stored_scorer(unit, scorer))
    unit.session.add(_scoring_row(version, made))
    return row


def _stored_scorer(unit: Work, scorer: Scorer) -> tuple[str, str, str]:
    """Store a scorer's tensors; return its JSON, its blob and its digest."""
    blob = unit.blobs.put(write_tensors(scorer.to_tensors()))
    return canonical_json(scorer.to_dict()).decode(), blob, scorer.digest


def _scoring_row(version: ConceptVersion, row: VersionAnchors | _Scoring) -> VersionAnchors:
    return VersionAnchors(
        version_id=version.id,
        space_id=row.space_id,
        anchor_set_id=row.anchor_set_id,
        scorer=row.scorer,
        scorer_blob=row.scorer_blob,
        scorer_digest=row.scorer_digest,
    )
