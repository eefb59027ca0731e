"""A draft made from a version whose content is fixed, so that a threshold or words can change.

Its anchors are the same rows, and so are the exemplars that lie beside them.
"""

from __future__ import annotations

from concepts.definition import ConceptDefinition
from registry.change.work import Work
from registry.store.blobs import BlobStore
from registry.store.models import Concept, ConceptVersion
from registry.versions.adding import (
    Scoring,
    content_digest,
    define,
    join_authors,
    refuse_duplicate,
    scoring_row,
    stored_scorer,
)
from registry.versions.editing import (
    Thresholds,
    edited_definition,
    edited_scorers,
    threshold_changes,
)
from registry.versions.quorum import authors_of
from registry.versions.reading import latest_version, stored_anchors


def copy_version(
    unit: Work,
    store: BlobStore,
    concept: Concept,
    source: ConceptVersion,
    *,
    definition: ConceptDefinition | None,
    thresholds: Thresholds,
    reason: str = "",
) -> ConceptVersion:
    """Insert the next version of a concept: another one's content, but for what is given here."""
    if not (definition or thresholds):
        raise ValueError("a copy needs another definition or other thresholds")
    text = edited_definition(concept, source, definition)
    entries = stored_anchors(unit.session, source)
    edited = edited_scorers(store, source, entries, thresholds)
    content = [
        {**entry.content, "scorer": edited[entry.space.digest].digest}
        if entry.space.digest in edited
        else entry.content
        for entry in entries
    ]
    digest = content_digest(text, content)
    refuse_duplicate(unit.session, concept, digest)
    if definition is not None and concept.definition == source.definition:
        define(unit, concept, definition)
    newest = latest_version(unit.session, concept) or source
    version = ConceptVersion(
        concept_id=concept.id,
        number=newest.number + 1,
        state="draft",
        definition=text,
        content_digest=digest,
        authors=join_authors(unit.actor, *authors_of(source)),
        created_at=unit.at,
        created_by=unit.actor,
    )
    unit.session.add(version)
    unit.session.flush()
    for entry in entries:
        scorer = edited.get(entry.space.digest)
        row = (
            entry.row
            if scorer is None
            else Scoring(entry.space.id, entry.anchor_set.id, *stored_scorer(unit, scorer))
        )
        unit.session.add(scoring_row(version, row))
    unit.record(
        "version.add", f"{concept.slug}@{version.number}",
        content_digest=digest, copied=source.number,
        **threshold_changes(entries, edited), **({"reason": reason} if reason else {}),
    )  # fmt: skip
    return version
