"""Editing a draft in place: other definition, thresholds or anchors, under the same number."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from concepts.content_rules import refuse_minors
from concepts.definition import ConceptDefinition
from concepts.errors import ConflictError, InputError, NotFoundError, SameContentError
from concepts.scorer import Scorer
from registry.change.work import Work
from registry.store.blobs import BlobStore
from registry.store.models import Concept, ConceptVersion
from registry.versions.adding import (
    Collection,
    Scoring,
    add_collection,
    check_collections,
    content_digest,
    define,
    definition_json,
    join_authors,
    kept_anchors,
    new_content,
    refuse_duplicate,
    refuse_other_category,
    scoring_row,
    stored_scorer,
    wrote_before,
)
from registry.versions.quorum import authors_of
from registry.versions.reach import check_reached
from registry.versions.reading import StoredAnchors, read_scorer, stored_anchors

Thresholds = Mapping[str, tuple[float, float]]
NO_THRESHOLDS: Thresholds = MappingProxyType({})


def edit_version(
    unit: Work,
    store: BlobStore,
    concept: Concept,
    version: ConceptVersion,
    *,
    definition: ConceptDefinition | None,
    thresholds: Thresholds,
    collections: Sequence[Collection],
) -> dict[str, Any]:
    """Give a draft other content in place; its number stays, and the actor becomes an author.

    Returns:
        What its event tells of the thresholds.
    """
    if not (definition or thresholds or collections):
        raise ValueError("an edit needs a definition, thresholds or collections")
    if collections:
        check_collections(collections)
    text = edited_definition(concept, version, definition)
    entries = stored_anchors(unit.session, version)
    edited = edited_scorers(store, version, entries, thresholds, collections)
    if definition is not None and concept.definition == version.definition:
        define(unit, concept, definition)
    told = threshold_changes(entries, edited)
    _write(unit, concept, version, text, edited, collections)
    return told


def replace_scorers(
    unit: Work, concept: Concept, version: ConceptVersion, scorers: Mapping[str, Scorer]
) -> dict[str, Any]:
    """Give a draft other scorers of the anchors that it has, by the digest of their space.

    Returns:
        What its event tells of the thresholds.
    """
    entries = stored_anchors(unit.session, version)
    dims = {entry.space.digest: entry.space.dim for entry in entries}
    for space, scorer in scorers.items():
        if dims.get(space) != scorer.dim:
            raise ValueError(f"the version has no anchors of {scorer.dim} numbers in space {space}")
    told = threshold_changes(entries, scorers)
    _write(unit, concept, version, version.definition, scorers)
    return told


def threshold_changes(
    entries: Sequence[StoredAnchors], edited: Mapping[str, Scorer]
) -> dict[str, Any]:
    """Return what an event tells of thresholds that change: seed and grow, before and after."""
    moved = {}
    for entry in entries:
        if (scorer := edited.get(entry.space.digest)) is None:
            continue
        stored = json.loads(entry.row.scorer)
        before = [stored["seed_threshold"], stored["grow_threshold"]]
        after = [scorer.seed_threshold, scorer.grow_threshold]
        if before != after:
            moved[f"{entry.space.model} {entry.space.task}"] = {"before": before, "after": after}
    return {"thresholds": moved} if moved else {}


def _write(
    unit: Work,
    concept: Concept,
    version: ConceptVersion,
    text: str,
    edited: Mapping[str, Scorer],
    collections: Sequence[Collection] = (),
) -> None:
    """Write the definition, the scorers that changed and new collections into a version."""
    content = [
        {**entry.content, "scorer": edited[entry.space.digest].digest}
        if entry.space.digest in edited
        else entry.content
        for entry in kept_anchors(unit.session, version, collections)
    ]
    digest = content_digest(text, [*map(new_content, collections), *content])
    if digest == version.content_digest:
        raise SameContentError(
            f"Version {version.number} of '{concept.slug}' has exactly this content already."
        )
    refuse_duplicate(unit.session, concept, digest)
    version.definition, version.content_digest = text, digest
    version.authors = join_authors(
        unit.actor, *authors_of(version),
        *wrote_before(unit.session, [anchors.digest for anchors, _ in collections]),
    )  # fmt: skip
    unit.session.flush()
    _replace_rows(unit, version, edited, collections)


def edited_definition(
    concept: Concept, version: ConceptVersion, definition: ConceptDefinition | None
) -> str:
    """Return a definition as rows hold it: the one given, else the version's."""
    if definition is None:
        return version.definition
    if definition.slug != concept.slug:
        raise ConflictError(
            f"The definition is of '{definition.slug}', but the version is of '{concept.slug}'."
        )
    refuse_other_category(concept, definition)
    refuse_minors(definition)
    return definition_json(definition)


def edited_scorers(
    store: BlobStore,
    version: ConceptVersion,
    entries: Sequence[StoredAnchors],
    thresholds: Thresholds,
    collections: Sequence[Collection] = (),
) -> dict[str, Scorer]:
    """Return the scorers that get other thresholds, by the digest of their space.

    Raises:
        NotFoundError: If a name is of no space, or of several.
        InputError: If the thresholds contradict each other.
        PolicyError: If no anchor reaches the seed threshold, so that nothing would be found.
    """
    edited_by_space: dict[str, Scorer] = {}
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
        if entry.space.digest in edited_by_space:
            raise ValueError(f"'{name}' names a space that has its thresholds already")
        scorer = read_scorer(store, entry.row)
        try:
            edited = scorer.with_thresholds(seed, grow)
        except ValueError as error:
            raise InputError(f"Thresholds {seed:g} and {grow:g} of '{name}': {error}.") from error
        what = f"The threshold for {entry.space.model} {entry.space.task} would be {seed:g}"
        check_reached(store, entry, seed, what=what, number=version.number)
        edited_by_space[entry.space.digest] = edited
    return edited_by_space


def _replace_rows(
    unit: Work,
    version: ConceptVersion,
    edited: Mapping[str, Scorer],
    collections: Sequence[Collection],
) -> None:
    """Delete the rows that change and insert new ones; a row of anchors is never updated."""
    entries = stored_anchors(unit.session, version)
    kept = {entry.space.id for entry in kept_anchors(unit.session, version, collections)}
    added = []
    for entry in entries:
        scorer = edited.get(entry.space.digest)
        if scorer is not None:
            added.append(Scoring(entry.space.id, entry.anchor_set.id, *stored_scorer(unit, scorer)))
        if scorer is not None or entry.space.id not in kept:
            # No row names it any more, but a reader of an older snapshot still does.
            unit.blobs.store.touch(entry.row.scorer_blob)
            unit.session.delete(entry.row)
    # Else the ORM would make one update of a deletion and an insertion under the same key.
    unit.session.flush()
    for item in added:
        unit.session.add(scoring_row(version, item))
    for collection in collections:
        add_collection(unit, version, *collection)
    unit.session.flush()
