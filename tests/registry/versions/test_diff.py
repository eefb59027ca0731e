import dataclasses
import json

import numpy as np
import pytest

from concepts.anchors import AnchorSet
from concepts.errors import NotFoundError
from registry.versions.diff import FieldChange, RowChange, Shift


def with_rows(made, anchors, counters=None):
    """The same set with other vectors."""
    counters = made.counter_anchors if counters is None else counters
    return AnchorSet(
        made.space, anchors, np.arange(len(anchors)), counters, np.arange(len(counters)), {}
    )


def brute_force(before, after):
    """Cosine distance of each row to its nearest, with plain numpy in float64."""
    before, after = (rows.astype(np.float64) for rows in (before, after))
    norms = np.linalg.norm(after, axis=1)[:, None] * np.linalg.norm(before, axis=1)
    return (1 - after @ before.T / norms).min(axis=1)


def test_a_definition_is_compared_field_by_field(registry, define, collect):
    first = define(prompts=("a pistol", "a gun"), scope="real\nguns")
    second = define(
        prompts=("a gun", "a revolver"), scope="real\nrifles", parameters={"margin": 0.5}
    )
    for seed, made in enumerate((first, second)):
        registry.concepts.add(made, actor="ann")
        registry.versions.add("pistol", [collect(seed)], actor="ann")
    found = registry.versions.diff("pistol", 1, 2)
    assert (found.slug, found.before, found.after) == ("pistol", 1, 2)
    changes = {change.field: change for change in found.definition}
    assert set(changes) == {"prompts", "scope", "parameters"}
    assert changes["prompts"] == FieldChange(
        "prompts", ["a pistol", "a gun"], ["a gun", "a revolver"], ("a revolver",), ("a pistol",)
    )
    assert changes["scope"].lines == (
        "@@ -1,2 +1,2 @@",
        " real",
        "-guns",
        "+rifles",
    )
    assert changes["parameters"].after == {"margin": 0.5}


def test_anchors_are_compared_row_by_row(registry, define, collect):
    made, scorer = collect(1, anchors=6)
    extra = np.random.default_rng(9).normal(size=(3, made.space.dim)).astype(np.float32)
    changed = np.concatenate([made.anchors[[4, 1, 1]], extra])
    counters = made.counter_anchors[1:]
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [(made, scorer)], actor="ann")
    registry.versions.add("pistol", [(with_rows(made, changed, counters), scorer)], actor="ann")
    (space,) = registry.versions.diff("pistol", 1, 2).spaces
    assert space.anchors == RowChange(added=4, removed=4, kept=2)
    assert space.counter_anchors == RowChange(added=0, removed=1, kept=2)
    assert space.scorer_changed is False
    distances = brute_force(made.anchors, changed)
    expected = [distances.mean(), np.median(distances), distances.max()]
    np.testing.assert_allclose(dataclasses.astuple(space.shift), expected, atol=1e-9)
    assert space.shift.max > 0.1


def test_thresholds_are_shown_before_and_after(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    made, scorer = collect()
    registry.versions.add("pistol", [(made, scorer)], actor="ann")
    higher = dataclasses.replace(scorer, seed_threshold=4.0)
    registry.versions.add("pistol", [(made, higher)], actor="ann")
    (space,) = registry.versions.diff("pistol", 1, 2).spaces
    assert (space.before.seed_threshold, space.after.seed_threshold) == (2.0, 4.0)
    assert (space.scorer_changed, space.anchors) == (True, RowChange(0, 0, 5))
    assert space.strictness == "less strict"
    (back,) = registry.versions.diff("pistol", 2, 1).spaces
    assert back.strictness == "stricter"
    assert space.shift == Shift(0.0, 0.0, 0.0)


@pytest.mark.parametrize("other", ["anchors", "scorer"])
def test_thresholds_of_other_scores_are_not_compared(registry, define, collect, other):
    registry.concepts.add(define(), actor="ann")
    made, scorer = collect(1)
    registry.versions.add("pistol", [(made, scorer)], actor="ann")
    new = dataclasses.replace(collect(2)[1] if other == "scorer" else scorer, seed_threshold=9.0)
    anchors = collect(2)[0] if other == "anchors" else made
    registry.versions.add("pistol", [(anchors, new)], actor="ann")
    registry.releases.add("policy", ["pistol@1"], actor="ann")
    released = registry.releases.add("policy", ["pistol@2"], actor="ann")
    (space,) = registry.versions.diff("pistol", 1, 2).spaces
    assert space.strictness == "scored in another way"
    assert [item.what for item in released.changes] == ["version", "scoring", "approved"]


def test_a_space_may_come_and_go(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    old = collect(1)
    new = collect(1, space=dataclasses.replace(old[0].space, revision="r2"))
    registry.versions.add("pistol", [old], actor="ann")
    registry.versions.add("pistol", [new, collect(2, "edit")], actor="ann")
    spaces = registry.versions.diff("pistol", 1, 2).spaces
    assert [(item.task, item.before is None, item.after is None) for item in spaces].count(
        ("t2i", False, True)
    ) == 1
    gone = next(item for item in spaces if item.after is None)
    assert (gone.space, gone.anchors, gone.shift) == (
        old[0].space.digest, RowChange(0, 5, 0), None,
    )  # fmt: skip
    assert sorted(item.anchors.added for item in spaces) == [0, 5, 5]


def test_a_version_does_not_differ_from_itself(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect()], actor="ann")
    found = registry.versions.diff("pistol", 1, 1)
    assert found.definition == ()
    assert (found.spaces[0].scorer_changed, found.spaces[0].anchors.kept) == (False, 5)


def test_a_difference_is_plain_json(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    for seed in (1, 2):
        registry.versions.add("pistol", [collect(seed)], actor="ann")
    found = registry.versions.diff("pistol", 1, 2).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert found["spaces"][0]["anchors"] == {"added": 5, "kept": 0, "removed": 5}
    assert found["spaces"][0]["after"]["rule"] == "whitened"


def test_unknown_versions(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect()], actor="ann")
    with pytest.raises(NotFoundError, match="'pistol' has no version 2"):
        registry.versions.diff("pistol", 1, 2)
