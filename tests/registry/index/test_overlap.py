import dataclasses

import numpy as np
import pytest

from concepts.errors import VerificationError
from registry.answers import Overlap
from registry.index import overlap


def moved(collection, rows, seed=99, noise=1e-3):
    """A collection that repeats some anchors of another, scaled and a little off."""
    made, scorer = collection
    random = np.random.default_rng(seed)
    anchors = random.normal(size=made.anchors.shape).astype(np.float32)
    anchors[:rows] = 3 * made.anchors[:rows] * (1 + noise * random.normal(size=(rows, 1)))
    return dataclasses.replace(made, anchors=anchors), scorer


@pytest.fixture
def wide(collect):
    """Collections in so many dimensions that random anchors are far apart."""
    space = dataclasses.replace(collect()[0].space, dim=200)
    return lambda seed, anchors=50: collect(seed, anchors=anchors, space=space)


@pytest.fixture
def filled(registry, define, wide):
    for seed, slug in enumerate(("bomb", "knife", "pistol")):
        registry.concepts.add(define(slug), actor="ann")
        registry.versions.add(slug, [wide(seed)], actor="ann")
        registry.versions.submit(slug, actor="ann")
    return registry


def test_the_share_of_anchors_that_another_concept_has_is_told(filled, wide):
    new = moved(wide(1), 46)
    (found,) = filled.index.overlaps("sword", [new])
    assert dataclasses.replace(found, nearest=1.0) == Overlap(
        "knife", 1, "approved", new[0].space.digest, 0.92, 1.0, 50
    )
    assert found.nearest == pytest.approx(1.0, abs=1e-6)


def test_concepts_are_sorted_by_falling_share(filled, wide):
    made, scorer = moved(wide(0), 10)
    mixed = made.anchors.copy()
    mixed[10:40] = wide(2)[0].anchors[:30]
    found = filled.index.overlaps("sword", [(dataclasses.replace(made, anchors=mixed), scorer)])
    assert [(item.slug, item.share) for item in found] == [("pistol", 0.6), ("bomb", 0.2)]


def test_a_concept_does_not_overlap_with_itself_or_with_old_versions(filled, wide):
    assert filled.index.overlaps("knife", [moved(wide(1), 50)]) == []
    filled.versions.add("bomb", [wide(7)], actor="ann")
    filled.versions.submit("bomb", actor="ann")
    assert filled.index.overlaps("knife", [moved(wide(0), 50)]) == []


def test_drafts_do_not_hide_what_is_approved_and_are_compared_where_asked_for(filled, wide):
    filled.versions.add("bomb", [wide(7)], actor="ann")
    old, new = [moved(wide(0), 50)], [moved(wide(7), 50)]
    (found,) = filled.index.overlaps("knife", old)
    assert (found.version, found.state) == (1, "approved")
    assert filled.index.overlaps("knife", new) == []
    (found,) = filled.index.overlaps("knife", new, drafts=True)
    assert (found.version, found.state) == (2, "draft")


def test_the_distance_decides_what_is_near(filled, wide):
    made, scorer = wide(1)
    random = np.random.default_rng(0)
    units = made.anchors / np.linalg.norm(made.anchors, axis=1, keepdims=True)
    off = random.normal(size=units.shape)
    off -= (off * units).sum(axis=1, keepdims=True) * units
    off /= np.linalg.norm(off, axis=1, keepdims=True)
    turned = 0.9 * units + np.sqrt(1 - 0.9**2) * off  # cosine 0.9, distance 0.1
    new = [(dataclasses.replace(made, anchors=turned), scorer)]
    assert filled.index.overlaps("sword", new, 0.09) == []
    (found,) = filled.index.overlaps("sword", new, 0.11)
    assert (found.slug, found.share) == ("knife", 1.0)
    assert found.nearest == pytest.approx(0.9, abs=1e-6)


def test_a_space_without_anchors_has_no_overlap(filled, collect):
    assert filled.index.overlaps("sword", [collect(0)]) == []


def test_of_many_anchors_a_sample_is_compared(filled, wide, monkeypatch):
    monkeypatch.setattr(overlap, "CHECKED", 10)
    (found,) = filled.index.overlaps("sword", [moved(wide(1), 50)])
    assert (found.share, found.checked) == (1.0, 10)


def test_damaged_anchors_are_an_error(filled, wide):
    for path in (filled.home / "blobs").rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged")
    with pytest.raises(VerificationError, match="is corrupt"):
        filled.index.overlaps("sword", [wide(1)])
