import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concepts.errors import MismatchError, NotFoundError, VerificationError
from registry import index
from registry.index import IndexInput, open_index
from registry.registry import Registry
from registry.search import search_index


def brute_force(vectors, query, k):
    """Rows by falling cosine, then row; with plain numpy in float64."""
    vectors, query = np.float64(vectors), np.float64(query)
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    scores = vectors @ query / np.where(norms > 0, norms, 1)
    best = np.argsort(-scores, kind="stable")[:k]
    return best.tolist(), scores[best]


@pytest.fixture
def filled(tmp_path, define, collect):
    registry = Registry.create(tmp_path)
    for seed, slug in enumerate(("bomb", "knife", "pistol")):
        registry.add_concept(define(slug), actor="ann")
        registry.add_version(slug, [collect(seed, anchors=40)], actor="ann")
    return registry


def all_anchors(registry, space):
    sets = [(info.slug, registry.anchor_set(info.slug, space)) for info in registry.concepts()]
    places = [(slug, row) for slug, made in sets for row in range(len(made.anchors))]
    return places, np.concatenate([made.anchors for _, made in sets])


def test_hits_are_those_of_brute_force(filled, collect):
    space = collect()[0].space
    places, vectors = all_anchors(filled, space)
    queries = np.random.default_rng(9).normal(size=(50, space.dim))
    found = filled.search(space, queries, k=7)
    for query, hits in zip(queries, found, strict=True):
        rows, scores = brute_force(vectors, query, 7)
        assert [(hit.slug, hit.anchor) for hit in hits] == [places[row] for row in rows]
        np.testing.assert_allclose([hit.score for hit in hits], scores, atol=1e-6)


def test_an_anchor_finds_itself(filled, collect):
    made = filled.anchor_set("knife", collect()[0].space)
    (hits,) = filled.search(made.space.digest, made.anchors[3:4] * 5, k=1)
    assert [(hit.slug, hit.version, hit.anchor) for hit in hits] == [("knife", 1, 3)]
    assert hits[0].score == pytest.approx(1.0, abs=1e-6)


def test_a_query_is_scored_the_same_alone_and_in_a_batch(filled, collect):
    space = collect()[0].space
    queries = np.random.default_rng(3).normal(size=(64, space.dim))
    together = filled.search(space, queries, k=5)
    assert [filled.search(space, query[None], k=5)[0] for query in queries] == together


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 120), st.integers(1, 12), st.integers(1, 20))
def test_any_index_agrees_with_brute_force(tmp_path_factory, seed, rows, dim, k):
    random = np.random.default_rng(seed)
    # Small whole numbers make equal scores and zero vectors likely.
    vectors = random.integers(-2, 3, size=(rows, dim)).astype(np.float32)
    inputs = [IndexInput("a", 1, "0" * 64, rows)]
    built = open_index(tmp_path_factory.mktemp("index"), "0" * 64, inputs, lambda _: vectors)
    query = random.normal(size=(1, dim))
    (hits,) = search_index(built, inputs, index.unit_vectors(query), k)
    best, scores = brute_force(vectors, query[0], k)
    np.testing.assert_allclose([hit.score for hit in hits], scores, atol=1e-6)
    assert len({hit.anchor for hit in hits}) == len(best)


def test_only_latest_versions_are_found(filled, collect):
    made = collect(7, anchors=2)
    filled.add_version("knife", [made], actor="ann")
    hits = filled.search(made[0].space, made[0].anchors, k=200)
    assert {(hit.slug, hit.version) for hit in hits[0]} == {
        ("bomb", 1), ("knife", 2), ("pistol", 1),
    }  # fmt: skip
    assert len(hits[0]) == 82


def test_spaces_are_listed(filled, collect):
    (space,) = filled.spaces()
    assert (space.space, space.concepts, space.anchors) == (collect()[0].space, 3, 120)


def test_a_deleted_index_is_built_again(filled, collect):
    space = collect()[0].space
    query = np.ones((1, space.dim))
    before = filled.search(space, query)
    for path in (filled.home / "index").iterdir():
        path.unlink()
    assert filled.search(space, query) == before


@pytest.mark.parametrize("suffix", ["faiss", "json"])
def test_a_damaged_index_is_built_again(filled, collect, suffix):
    space = collect()[0].space
    query = np.ones((1, space.dim))
    before = filled.search(space, query)
    path = filled.home / "index" / f"{space.digest}.{suffix}"
    whole = path.read_bytes()
    path.write_bytes(whole[:-5] + bytes([whole[-5] ^ 16]) + whole[-4:])
    assert filled.search(space, query) == before
    assert path.read_bytes() == whole


def test_a_current_index_is_not_built_again(filled, collect, monkeypatch):
    space = collect()[0].space
    before = filled.search(space, np.ones((1, space.dim)))
    monkeypatch.setattr(index, "_build", None)
    assert filled.search(space, np.ones((1, space.dim))) == before


def test_search_works_where_the_index_cannot_be_written(filled, collect):
    space = collect()[0].space
    (filled.home / "index").touch()
    assert len(filled.search(space, np.ones((1, space.dim)), k=4)[0]) == 4


def test_an_index_is_never_built_from_damaged_blobs(filled, collect):
    for path in (filled.home / "blobs").rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged")
    space = collect()[0].space
    with pytest.raises(VerificationError, match="is corrupt"):
        filled.search(space, np.ones((1, space.dim)))


def test_bad_queries_are_refused(filled, collect):
    space = collect()[0].space
    with pytest.raises(MismatchError, match=r"have shape \(1, 5\), the space needs \(n, 6\)"):
        filled.search(space, np.ones((1, 5)))
    with pytest.raises(ValueError, match="NaN"):
        filled.search(space, np.full((1, 6), np.nan))
    with pytest.raises(ValueError, match="k must be at least 1"):
        filled.search(space, np.ones((1, 6)), k=0)
    with pytest.raises(NotFoundError, match="No anchors in the anchor space"):
        filled.search(dataclasses.replace(space, dim=7), np.ones((1, 7)))
    assert filled.search(space, np.zeros((0, 6))) == []
