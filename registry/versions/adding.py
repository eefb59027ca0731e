"""Adding concepts and versions inside a unit of work."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.anchors import AnchorSet, AnchorSpace
from concepts.canonical import canonical_json
from concepts.content_rules import refuse_minors
from concepts.definition import ConceptDefinition
from concepts.digest import json_digest
from concepts.errors import ConflictError, SameContentError
from concepts.scorer import Scorer
from concepts.tensors import write_tensors
from registry.change.work import Work
from registry.store.models import (
    AnchorSetRow,
    AnchorSpaceRow,
    Concept,
    ConceptVersion,
    VersionAnchors,
)
from registry.versions.exemplars import Exemplar, add_exemplars
from registry.versions.quorum import authors_of
from registry.versions.reading import (
    StoredAnchors,
    latest_version,
    require_digest,
    stored_anchors,
)

Collection = tuple[AnchorSet, Scorer]


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
    refuse_minors(definition)
    row = unit.session.scalars(select(Concept).where(Concept.slug == definition.slug)).first()
    if expect_digest is not None:
        found = row.definition_digest if row else "none"
        require_digest(f"The definition of '{definition.slug}'", found, expect_digest)
    action = "concept.define" if row else "concept.add"
    if row is None:
        row = insert_concept(unit, definition)
    else:
        refuse_other_category(row, definition)
        if row.definition_digest == definition.digest:
            raise ConflictError(f"Concept '{row.slug}' exists with the same definition.")
        define(unit, row, definition)
    unit.record(action, row.slug, **about_definition(row))
    return row


def about_definition(concept: Concept) -> dict[str, Any]:
    """Return what an event tells of a concept's current definition."""
    return {
        "definition_digest": concept.definition_digest,
        "defined_by": json.loads(concept.defined_by),
    }


def insert_concept(unit: Work, definition: ConceptDefinition) -> Concept:
    """Insert a concept that is not there; the caller records it."""
    row = Concept(slug=definition.slug, created_at=unit.at, created_by=unit.actor)
    define(unit, row, definition)
    unit.session.add(row)
    unit.session.flush()
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
    exemplars: Sequence[Exemplar] = (),
) -> ConceptVersion:
    """Insert the next version of a concept; blobs are on disk before the row that names them."""
    if definition_digest not in (None, concept.definition_digest):
        raise ConflictError(
            f"The definition of '{concept.slug}' is not the one its anchors were collected with; "
            "it changed meanwhile. Collect them again."
        )
    session = unit.session
    latest = latest_version(session, concept)
    # What was revoked must not come back under another number.
    base = latest_version(session, concept, revoked=False)
    carried = kept_anchors(session, base, collections) if base else []
    digest = content_digest(
        concept.definition, [*map(new_content, collections), *(entry.content for entry in carried)]
    )
    refuse_duplicate(session, concept, digest)
    used = [anchors.digest for anchors, _ in collections]
    used += [entry.anchor_set.digest for entry in carried]
    version = ConceptVersion(
        concept_id=concept.id,
        number=latest.number + 1 if latest else 1,
        state="draft",
        definition=concept.definition,
        content_digest=digest,
        authors=join_authors(
            unit.actor, *json.loads(concept.defined_by), *wrote_before(session, used)
        ),
        created_at=unit.at,
        created_by=unit.actor,
    )
    session.add(version)
    session.flush()
    sets = [add_collection(unit, version, *collection) for collection in collections]
    for entry in carried:
        session.add(scoring_row(version, entry.row))
    add_exemplars(unit, sets, exemplars)
    unit.record(
        "version.add", f"{concept.slug}@{version.number}", content_digest=digest,
        authors=authors_of(version),
    )  # fmt: skip
    return version


def content_digest(definition: str, content: Sequence[Mapping[str, str]]) -> str:
    """Return the digest of a version's content.

    Args:
        definition: The definition's canonical JSON.
        content: Digests of space, anchors and scorer, for each space; in any order.
    """
    ordered = sorted(content, key=lambda item: item["space"])
    return json_digest({"definition": json.loads(definition), "collections": ordered})


def new_content(collection: Collection) -> dict[str, str]:
    """Return the digests of what is new in one space, as ``content_digest`` takes them."""
    anchors, scorer = collection
    return {"space": anchors.space.digest, "anchors": anchors.digest, "scorer": scorer.digest}


def define(unit: Work, concept: Concept, definition: ConceptDefinition) -> None:
    """Give a concept another definition; whoever wrote earlier ones may have words in it still."""
    concept.name, concept.category = definition.name, definition.category
    concept.definition = definition_json(definition)
    concept.definition_digest = definition.digest
    concept.defined_by = join_authors(unit.actor, *json.loads(concept.defined_by or "[]"))


def definition_json(definition: ConceptDefinition) -> str:
    """Return the canonical JSON of a definition, as rows hold it."""
    return canonical_json(definition.to_dict()).decode()


def join_authors(*names: str) -> str:
    """Return authors as rows hold them: sorted, each once."""
    return canonical_json(sorted({name for name in names if name})).decode()


def wrote_before(session: Session, anchor_sets: Iterable[str]) -> set[str]:
    """Return the authors of all versions that hold some anchor sets, named by digest.

    Whoever collected anchors stays their author, whoever brings them in again.
    """
    query = (
        select(ConceptVersion)
        .join(VersionAnchors, VersionAnchors.version_id == ConceptVersion.id)
        .join(AnchorSetRow, AnchorSetRow.id == VersionAnchors.anchor_set_id)
        .where(AnchorSetRow.digest.in_(list(anchor_sets)))
    )
    return {name for version in session.scalars(query) for name in authors_of(version)}


def kept_anchors(
    session: Session, latest: ConceptVersion, collections: Sequence[Collection]
) -> list[StoredAnchors]:
    """Return the anchors of a version that new collections do not take the place of."""
    # New anchors of a model and task take the place of old ones, whatever tap, noise level or
    # weights those came from: an engine must find one space for each model and task.
    new = {(anchors.space.model, anchors.space.task) for anchors, _ in collections}
    entries = stored_anchors(session, latest)
    return [entry for entry in entries if (entry.space.model, entry.space.task) not in new]


def refuse_duplicate(session: Session, concept: Concept, digest: str) -> None:
    """Check that no version of a concept has this content; SameContentError otherwise."""
    query = select(ConceptVersion).where(
        ConceptVersion.concept_id == concept.id, ConceptVersion.content_digest == digest
    )
    same = session.scalars(query).first()
    if same is not None:
        raise SameContentError(
            f"Version {same.number} of '{concept.slug}' already has exactly this content."
        )


@dataclass(frozen=True)
class Scoring:
    """What a version holds of one space."""

    space_id: int
    anchor_set_id: int
    scorer: str
    scorer_blob: str
    scorer_digest: str


def _space_row(session: Session, space: AnchorSpace) -> AnchorSpaceRow:
    row = session.scalars(select(AnchorSpaceRow).filter_by(digest=space.digest)).first()
    if row is None:
        document = canonical_json(space.to_dict()).decode()
        row = AnchorSpaceRow(
            digest=space.digest, document=document,
            model=space.model, task=space.task, dim=space.dim,
        )  # fmt: skip
        session.add(row)
        session.flush()
    return row


def add_collection(
    unit: Work, version: ConceptVersion, anchor_set: AnchorSet, scorer: Scorer
) -> AnchorSetRow:
    """Insert the anchors and the scorer of one space; return the row of the anchors."""
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
    scoring = Scoring(space.id, row.id, *stored_scorer(unit, scorer))
    unit.session.add(scoring_row(version, scoring))
    return row


def stored_scorer(unit: Work, scorer: Scorer) -> tuple[str, str, str]:
    """Store a scorer's tensors; return its JSON, its blob and its digest."""
    blob = unit.blobs.put(write_tensors(scorer.to_tensors()))
    return canonical_json(scorer.to_dict()).decode(), blob, scorer.digest


def scoring_row(version: ConceptVersion, row: VersionAnchors | Scoring) -> VersionAnchors:
    """Return a row that gives a version the anchors and scorer of another row."""
    return VersionAnchors(
        version_id=version.id,
        space_id=row.space_id,
        anchor_set_id=row.anchor_set_id,
        scorer=row.scorer,
        scorer_blob=row.scorer_blob,
        scorer_digest=row.scorer_digest,
    )
