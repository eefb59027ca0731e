"""What changed between two versions of a concept: definition, thresholds, anchors."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from concepts.canonical import canonical_json
from concepts.fields import LISTS
from registry.answers import EvaluationInfo, VersionSpace
from registry.change.workspace import Workspace
from registry.store.models import ConceptVersion
from registry.vectors.exact import Stack, unit_vectors
from registry.versions.evaluations import evaluations_of
from registry.versions.reading import (
    StoredAnchors,
    find_concept,
    find_version,
    read_anchor_set,
    scored_alike,
    stored_anchors,
    version_space,
)


@dataclass(frozen=True)
class FieldChange:
    """A field of the definition that changed.

    Attributes:
        field: Its name.
        before: What it held; JSON.
        after: What it holds; JSON.
        added: New items of a list.
        removed: Items that a list no longer has; one that only moved is in neither.
        lines: A text as a unified diff, without its header.
    """

    field: str
    before: Any
    after: Any
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class RowChange:
    """How a set of vectors changed, row by row: equal rows are the same anchor."""

    added: int
    removed: int
    kept: int


@dataclass(frozen=True)
class Shift:
    """How far anchors lie from the nearest one of the version before, as cosine distances."""

    mean: float
    median: float
    max: float


@dataclass(frozen=True)
class SpaceDiff:
    """What changed in one anchor space.

    Attributes:
        space: Its digest.
        model: Its model.
        task: "t2i" or "edit".
        before: What the first version holds there, None for nothing.
        after: What the second version holds there, None for nothing.
        scorer_changed: Whether a patch is scored in another way, thresholds included.
        strictness: How the seed thresholds compare: "the same", "less strict", "stricter", or
            "scored in another way" where other anchors or another fit make the numbers mean
            something else; None where one version holds nothing there.
        anchors: How the anchors changed.
        counter_anchors: How the counter-anchors changed.
        shift: From each anchor of the second version to its nearest in the first; None where one
            of them has none.
    """

    space: str
    model: str
    task: str
    before: VersionSpace | None
    after: VersionSpace | None
    scorer_changed: bool
    strictness: str | None
    anchors: RowChange
    counter_anchors: RowChange
    shift: Shift | None


@dataclass(frozen=True)
class VersionDiff:
    """What changed between two versions of a concept; spaces are sorted by task and model.

    ``evaluations`` are the newest of the two contents, None where nothing was measured.
    """

    slug: str
    before: int
    after: int
    definition: tuple[FieldChange, ...]
    spaces: tuple[SpaceDiff, ...]
    evaluations: tuple[EvaluationInfo | None, EvaluationInfo | None] = (None, None)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        plain: dict[str, Any] = json.loads(canonical_json(asdict(self)))
        return plain


def diff_versions(workspace: Workspace, slug: str, before: int, after: int) -> VersionDiff:
    """Compare two versions of a concept.

    Raises:
        NotFoundError: If the concept or a version does not exist.
        VerificationError: If stored anchors are damaged.
    """
    with workspace.read() as session:
        concept = find_concept(session, slug)
        first, second = (find_version(session, concept, number) for number in (before, after))
        old, new = (
            {entry.space.digest: entry for entry in stored_anchors(session, version)}
            for version in (first, second)
        )
        spaces = [
            _space_diff(workspace, entry, old.get(digest), new.get(digest))
            for digest, entry in (old | new).items()
        ]
        evaluations = _newest(session, first), _newest(session, second)
        definition = _definition_diff(json.loads(first.definition), json.loads(second.definition))
    spaces.sort(key=lambda item: (item.task, item.model, item.space))
    return VersionDiff(slug, before, after, definition, tuple(spaces), evaluations)


def _newest(session: Session, version: ConceptVersion) -> EvaluationInfo | None:
    return next(iter(evaluations_of(session, version)), None)


def _definition_diff(before: dict[str, Any], after: dict[str, Any]) -> tuple[FieldChange, ...]:
    return tuple(
        _field_change(name, before.get(name), after.get(name))
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    )


def _field_change(name: str, before: Any, after: Any) -> FieldChange:
    if name in LISTS:
        old, new = before or [], after or []
        added = tuple(item for item in new if item not in old)
        removed = tuple(item for item in old if item not in new)
        return FieldChange(name, before, after, added, removed)
    if isinstance(before, str) and isinstance(after, str):
        lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm=""))
        return FieldChange(name, before, after, lines=tuple(lines[2:]))
    return FieldChange(name, before, after)


def _space_diff(
    workspace: Workspace,
    either: StoredAnchors,
    before: StoredAnchors | None,
    after: StoredAnchors | None,
) -> SpaceDiff:
    changed = (before and before.row.scorer_digest) != (after and after.row.scorer_digest)
    anchors, counters, shift = _compare(workspace, before, after)
    return SpaceDiff(
        space=either.space.digest,
        model=either.space.model,
        task=either.space.task,
        before=version_space(before) if before else None,
        after=version_space(after) if after else None,
        scorer_changed=changed,
        strictness=_strictness(before, after) if before and after else None,
        anchors=anchors,
        counter_anchors=counters,
        shift=shift,
    )


def _strictness(before: StoredAnchors, after: StoredAnchors) -> str:
    if not scored_alike(before, after):
        return "scored in another way"
    old, new = (version_space(entry).seed_threshold for entry in (before, after))
    if old == new:
        return "the same"
    return "less strict" if new > old else "stricter"


def _compare(
    workspace: Workspace, before: StoredAnchors | None, after: StoredAnchors | None
) -> tuple[RowChange, RowChange, Shift | None]:
    if before and after and before.anchor_set.digest == after.anchor_set.digest:
        # The same payload: nothing moved, and no vector need be read.
        row = before.anchor_set
        same = RowChange(0, 0, row.anchors), RowChange(0, 0, row.counter_anchors)
        return (*same, Shift(0.0, 0.0, 0.0))
    old = read_anchor_set(workspace.store, before.anchor_set) if before else None
    new = read_anchor_set(workspace.store, after.anchor_set) if after else None
    return (
        _row_change(old.anchors if old else None, new.anchors if new else None),
        _row_change(old.counter_anchors if old else None, new.counter_anchors if new else None),
        _shift(old.anchors, new.anchors) if old and new else None,
    )


def _row_change(before: NDArray[Any] | None, after: NDArray[Any] | None) -> RowChange:
    old, new = Counter(_row_digests(before)), Counter(_row_digests(after))
    kept = (old & new).total()
    return RowChange(new.total() - kept, old.total() - kept, kept)


def _row_digests(vectors: NDArray[Any] | None) -> list[bytes]:
    if vectors is None:
        return []
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in vectors]


def _shift(before: NDArray[Any], after: NDArray[Any]) -> Shift:
    distances = np.zeros(len(after))
    known = set(_row_digests(before))
    # A row that was there before has moved by nothing; the others are compared with every one.
    moved = [row for row, digest in enumerate(_row_digests(after)) if digest not in known]
    if moved:
        distances[moved] = _nearest_distances(before, after[moved])
    return Shift(*(float(measure(distances)) for measure in (np.mean, np.median, np.max)))


def _nearest_distances(before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.float64]:
    best = np.full(len(after), -np.inf)
    queries = unit_vectors(after)
    for _, block in Stack([before]).blocks():
        best = np.maximum(best, (queries @ unit_vectors(block).T).max(axis=1))
    return np.clip(1.0 - best, 0.0, 2.0)
