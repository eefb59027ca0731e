import dataclasses
import json

import numpy as np
import pytest
from sqlalchemy import Engine, event

from concepts.errors import MismatchError, NotFoundError, VerificationError
from registry import Registry
from registry.answers import LookedAt
from registry.index import cache
from registry.vectors import rows


def brute_force(vectors, query, k):
    """Rows by falling cosine, then row; with plain numpy in float64."""
    vectors, query = vectors.astype(np.float64), query.astype(np.float64)
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    scores = vectors @ query / np.where(norms > 0, norms, 1)
    best = np.argsort(-scores, kind="stable")[:k]
    return best.tolist(), scores[best]


@pytest.fixture
def filled(tmp_path, define, collect):
    registry = Registry.create(tmp_path)
    for seed, slug in enumerate(("bomb", "knife", "pistol")):
        registry.concepts.add(define(slug), actor="ann")
        registry.versions.add(slug, [collect(seed, anchors=40)], actor="ann")
        registry.versions.submit(slug, actor="ann")
    return registry


def reopened(registry):
    """Another process's view of a registry: nothing of its index is in memory."""
    return Registry.open(registry.home)


def all_anchors(registry, space):
    sets = [
        (info.slug, registry.versions.anchor_set(info.slug, space))
        for info in registry.concepts.list()
    ]
    places = [(slug, row) for slug, made in sets for row in range(len(made.anchors))]
    return places, np.concatenate([made.anchors for _, made in sets])


def test_hits_are_those_of_brute_force(filled, collect):
    space = collect()[0].space
    places, vectors = all_anchors(filled, space)
    queries = np.random.default_rng(9).normal(size=(50, space.dim))
    found = filled.index.search(space, queries, k=7)
    for query, hits in zip(queries, found, strict=True):
        rows, scores = brute_force(vectors, query, 7)
        assert [(hit.slug, hit.anchor) for hit in hits] == [places[row] for row in rows]
        np.testing.assert_allclose([hit.score for hit in hits], scores, atol=1e-14)


def test_an_anchor_finds_itself(filled, collect):
    made = filled.versions.anchor_set("knife", collect()[0].space)
    (hits,) = filled.index.search(made.space.digest, made.anchors[3:4] * 5, k=1)
    assert [(hit.slug, hit.version, hit.anchor) for hit in hits] == [("knife", 1, 3)]
    assert hits[0].score == pytest.approx(1.0, abs=1e-14)


def test_a_query_is_scored_the_same_alone_and_in_a_batch(filled, collect):
    space = collect()[0].space
    queries = np.random.default_rng(3).normal(size=(64, space.dim))
    together = filled.index.search(space, queries, k=5)
    assert [filled.index.search(space, query[None], k=5)[0] for query in queries] == together


def test_a_search_finds_the_newest_approved_versions(filled, collect):
    made = collect(7, anchors=2)
    filled.index.search(made[0].space, made[0].anchors)  # An index of the old version is open.
    filled.versions.add("knife", [made], actor="ann")
    filled.versions.submit("knife", actor="ann")
    hits = filled.index.search(made[0].space, made[0].anchors, k=200)
    assert {(hit.slug, hit.version) for hit in hits[0]} == {
        ("bomb", 1), ("knife", 2), ("pistol", 1),
    }  # fmt: skip
    assert len(hits[0]) == 82


def test_drafts_are_found_beside_the_rest_where_they_are_asked_for(filled, collect):
    made = collect(7, anchors=2)
    space = made[0].space
    filled.versions.add("knife", [made], actor="ann")
    queries = np.random.default_rng(4).normal(size=(3, space.dim))
    found = filled.index.search(space, queries, k=9, drafts=True)
    everything = filled.index.search(space, queries, k=120)
    for query, hits, others in zip(queries, found, everything, strict=True):
        rows, scores = brute_force(made[0].anchors, query, 2)
        drafts = [(-score, "knife", 2, row) for row, score in zip(rows, scores, strict=True)]
        used = [(-hit.score, hit.slug, hit.version, hit.anchor) for hit in others]
        expected = sorted(used + drafts)[:9]
        assert [(hit.slug, hit.version, hit.anchor) for hit in hits] == [
            item[1:] for item in expected
        ]


def test_a_search_of_one_concept_ranks_all_anchors_of_the_versions_in_use(filled, collect):
    space = collect()[0].space
    filled.versions.add("knife", [collect(7, anchors=2)], actor="ann")
    query = np.random.default_rng(4).normal(size=(1, space.dim))
    for version, count in ((None, 40), (2, 2), (1, 40)):
        (hits,) = filled.index.search(space, query, k=100, slug="knife", version=version)
        vectors = filled.versions.anchor_set("knife", space, version or 1).anchors
        assert [hit.anchor for hit in hits] == brute_force(vectors, query[0], 100)[0]
        assert {(hit.slug, hit.version) for hit in hits} == {("knife", version or 1)}
        assert len(hits) == count
    (both,) = filled.index.search(space, query, k=100, slug="knife", drafts=True)
    assert len(both) == 42
    with pytest.raises(NotFoundError, match="Version 3 of 'knife' has no anchors"):
        filled.index.search(space, query, slug="knife", version=3)
    with pytest.raises(NotFoundError, match="Did you mean 'knife'"):
        filled.index.search(space, query, slug="knif")


def test_one_concepts_hits_are_those_of_the_whole_search(filled, collect):
    space = collect()[0].space
    queries = np.random.default_rng(5).normal(size=(8, space.dim))
    everything = filled.index.search(space, queries, k=120)
    alone = filled.index.search(space, queries, k=120, slug="pistol")
    assert [[hit for hit in hits if hit.slug == "pistol"] for hits in everything] == alone


@pytest.mark.parametrize("queries", [1, 30])
def test_a_search_of_one_concept_reads_its_anchors_once(filled, collect, monkeypatch, queries):
    space, read = collect()[0].space, []
    take = rows.StoredRows.__getitem__

    def counted(stored, wanted):
        read.append(len(take(stored, wanted)))
        return take(stored, wanted)

    monkeypatch.setattr(rows.StoredRows, "__getitem__", counted)
    filled.index.search(space, np.ones((queries, space.dim)), slug="pistol")
    assert sum(read) == 40


@pytest.fixture
def other(registry, define, collect):
    """A registry with two concepts, as seen by a process that has searched and by another."""
    for seed, slug in enumerate(("knife", "pistol")):
        registry.concepts.add(define(slug), actor="ann")
        registry.versions.add(slug, [collect(seed, anchors=4)], actor="ann")
        registry.versions.submit(slug, actor="ann")
    url = registry.workspace.engine.url.render_as_string(hide_password=False)
    return registry, Registry.open(registry.home, url)


def found(registry, space, **options):
    (hits,) = registry.index.search(space, np.ones((1, space.dim)), k=100, **options)
    return {(hit.slug, hit.version) for hit in hits}


def test_what_another_process_changes_is_seen_by_the_next_search(other, collect):
    mine, theirs = other
    space = collect()[0].space
    assert found(mine, space) == {("knife", 1), ("pistol", 1)}
    theirs.versions.add("knife", [collect(7, anchors=2)], actor="bob")
    assert found(mine, space) == {("knife", 1), ("pistol", 1)}
    theirs.versions.submit("knife", actor="bob")
    assert found(mine, space) == {("knife", 2), ("pistol", 1)}
    theirs.versions.revoke("knife", 2, actor="bob", reason="wrong")
    assert found(mine, space) == {("knife", 1), ("pistol", 1)}


def test_what_is_live_is_found_in_place_of_newer_versions(other, collect):
    mine, theirs = other
    space = collect()[0].space
    theirs.releases.add("policy", members=["knife"], actor="bob")
    theirs.channels.move("prod", "policy", actor="bob")
    for state, seed in (("approved", 7), ("draft", 8)):
        for slug in ("knife", "pistol"):
            theirs.versions.add(slug, [collect(seed, anchors=2)], actor="bob")
            if state == "approved":
                theirs.versions.submit(slug, actor="bob")
    looked_at = [
        LookedAt("knife", 1, "live"), LookedAt("knife", 3, "draft"),
        LookedAt("pistol", 2, "approved"), LookedAt("pistol", 3, "draft"),
    ]  # fmt: skip
    assert found(mine, space) == {("knife", 1), ("pistol", 2)}
    assert mine.index.looked_at(space) == looked_at[::2]
    assert found(mine, space, drafts=True) == {(item.slug, item.version) for item in looked_at}
    assert mine.index.looked_at(space, drafts=True) == looked_at
    theirs.releases.add("other", members=["knife@2"], actor="bob")
    theirs.channels.move("test", "other", actor="bob")
    assert found(mine, space) == {("knife", 1), ("knife", 2), ("pistol", 2)}


def test_a_search_while_nothing_changes_asks_one_small_query_on_an_open_connection(other, collect):
    mine, _ = other
    space, asked, connected = collect()[0].space, [], []
    before = found(mine, space)

    def ask(*call):
        asked.append(call[2])

    def connect(*_):
        connected.append(True)

    event.listen(Engine, "before_cursor_execute", ask)
    event.listen(Engine, "connect", connect)
    try:
        assert found(mine, space) == before
    finally:
        event.remove(Engine, "before_cursor_execute", ask)
        event.remove(Engine, "connect", connect)
    (query,) = asked
    assert "FROM audit_event" in query
    assert not connected


def test_spaces_are_listed(filled, collect):
    (space,) = filled.index.spaces()
    assert (space.space, space.concepts, space.anchors) == (collect()[0].space, 3, 120)


def test_a_deleted_index_is_built_again(filled, collect):
    space = collect()[0].space
    query = np.ones((1, space.dim))
    before = filled.index.search(space, query)
    for path in (filled.home / "index").iterdir():
        path.unlink()
    assert reopened(filled).index.search(space, query) == before
    assert list((filled.home / "index").glob("*.faiss"))


@pytest.mark.parametrize("suffix", ["faiss", "json"])
def test_a_damaged_index_is_built_again(filled, collect, suffix):
    space = collect()[0].space
    query = np.ones((1, space.dim))
    before = filled.index.search(space, query)
    (path,) = (filled.home / "index").glob(f"*.{suffix}")
    whole = path.read_bytes()
    path.write_bytes(whole[:-5] + bytes([whole[-5] ^ 16]) + whole[-4:])
    assert reopened(filled).index.search(space, query) == before
    if suffix == "faiss":
        assert path.read_bytes() == whole
    else:
        assert json.loads(path.read_bytes())["sha256"] == json.loads(whole)["sha256"]


def test_a_current_index_is_not_built_again(filled, collect, monkeypatch):
    space = collect()[0].space
    before = filled.index.search(space, np.ones((1, space.dim)))
    monkeypatch.setattr(cache, "build", None)
    assert reopened(filled).index.search(space, np.ones((1, space.dim))) == before


def test_an_open_index_is_not_read_again(filled, collect, monkeypatch):
    space = collect()[0].space
    before = filled.index.search(space, np.ones((1, space.dim)))
    monkeypatch.setattr(cache, "open_index", None)
    assert filled.index.search(space, np.ones((1, space.dim))) == before


def test_search_works_where_the_index_cannot_be_written(filled, collect):
    space = collect()[0].space
    (filled.home / "index").touch()
    assert len(filled.index.search(space, np.ones((1, space.dim)), k=4)[0]) == 4


def test_an_index_is_never_built_from_damaged_blobs(filled, collect):
    for path in (filled.home / "blobs").rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged")
    space = collect()[0].space
    with pytest.raises(VerificationError, match="is corrupt"):
        filled.index.search(space, np.ones((1, space.dim)))


def test_blobs_damaged_while_an_index_is_open_are_noticed(filled, collect):
    space = collect()[0].space
    filled.index.search(space, np.ones((1, space.dim)))
    for path in (filled.home / "blobs").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(VerificationError, match="is corrupt"):
        filled.index.search(space, np.ones((1, space.dim)))


def test_bad_queries_are_refused(filled, collect):
    space = collect()[0].space
    with pytest.raises(MismatchError, match=r"have shape \(1, 5\), the space needs \(n, 6\)"):
        filled.index.search(space, np.ones((1, 5)))
    with pytest.raises(ValueError, match="NaN"):
        filled.index.search(space, np.full((1, 6), np.nan))
    with pytest.raises(ValueError, match="k must be at least 1"):
        filled.index.search(space, np.ones((1, 6)), k=0)
    with pytest.raises(NotFoundError, match="No anchors in the anchor space"):
        filled.index.search(dataclasses.replace(space, dim=7), np.ones((1, 7)))
    assert filled.index.search(space, np.zeros((0, 6))) == []
