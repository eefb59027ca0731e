import errno
import json
import logging
import multiprocessing
import os
import signal
import threading
import time

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concepts.errors import GateError, VerificationError
from registry.index import build, cache, kinds
from registry.index.cache import IndexCache, IndexInput, open_index
from registry.vectors import exact
from registry.vectors.rows import StoredRows

SPACE = "0" * 64


def inputs_of(*counts):
    return [IndexInput(f"c{n:02}", 1, f"{n:064x}", count) for n, count in enumerate(counts)]


def clustered(count, dim=64, seed=0, groups=10):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(groups, dim))
    vectors = centres[random.integers(groups, size=count)] + random.normal(size=(count, dim))
    return vectors.astype(np.float32)


def index_of(folder, vectors, kind=None):
    return open_index(folder, SPACE, inputs_of(len(vectors)), lambda _: vectors, kind)


def brute_force(vectors, query, k):
    vectors, query = vectors.astype(np.float64), query.astype(np.float64)
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    scores = vectors @ query / np.where(norms > 0, norms, 1)
    return np.sort(scores)[::-1][:k]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 120),
    st.integers(1, 12),
    st.integers(1, 20),
    st.sampled_from(["flat", "fp16"]),
)
def test_an_exact_kind_agrees_with_brute_force(tmp_path_factory, seed, rows, dim, k, kind):
    random = np.random.default_rng(seed)
    # Small whole numbers make equal scores and zero vectors likely.
    vectors = random.integers(-2, 3, size=(rows, dim)).astype(np.float32)
    query = random.normal(size=(1, dim))
    (hits,) = index_of(tmp_path_factory.mktemp("index"), vectors, kind).search(query, k)
    scores = [hit.score for hit in hits]
    np.testing.assert_allclose(scores, brute_force(vectors, query[0], k), atol=1e-14)
    assert hits == sorted(hits, key=lambda hit: (-hit.score, hit.anchor))
    assert len({hit.anchor for hit in hits}) == min(k, rows)


@pytest.mark.parametrize("kind", ["flat", "fp16"])
def test_ties_are_broken_by_slug_and_anchor_however_many(tmp_path, kind):
    """More anchors are equal than any fixed number of spare candidates."""
    vectors = np.tile(np.arange(1.0, 9.0, dtype=np.float32), (300, 1))
    vectors[::3] = -vectors[::3]
    parts = np.split(vectors, [100, 150])
    inputs = inputs_of(100, 50, 150)
    found = open_index(tmp_path, SPACE, inputs, lambda item: parts[inputs.index(item)], kind)
    (hits,) = found.search(np.arange(1.0, 9.0)[None], 90)
    near = [(f"c{part:02}", row) for part, vs in enumerate(parts) for row in range(len(vs))]
    expected = [place for place, vector in zip(near, vectors, strict=True) if vector[0] > 0]
    assert [(hit.slug, hit.anchor) for hit in hits] == expected[:90]


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_results_depend_neither_on_the_batch_nor_on_threads(tmp_path, kind):
    vectors, queries = clustered(4000), clustered(60, seed=1)
    vectors[100:200] = vectors[300]
    found = index_of(tmp_path, vectors, kind)
    before = faiss.omp_get_max_threads()
    together = found.search(queries, 10)
    try:
        for threads in (1, 2, 4):
            faiss.omp_set_num_threads(threads)
            assert found.search(queries, 10) == together
            assert [found.search(query[None], 10)[0] for query in queries] == together
    finally:
        faiss.omp_set_num_threads(before)


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_every_kind_comes_back_from_its_file_as_it_was(tmp_path, kind, monkeypatch):
    vectors, queries = clustered(3000), clustered(20, seed=1)
    built = index_of(tmp_path, vectors, kind)
    monkeypatch.setattr(cache, "build", None)
    again = index_of(tmp_path, vectors)
    assert again.about == built.about
    assert again.about.kind == kind
    assert again.about.recall >= build.GATE
    assert again.search(queries, 10) == built.search(queries, 10)


def test_the_kind_follows_the_number_of_vectors(tmp_path, monkeypatch):
    monkeypatch.setattr(kinds, "LARGEST", {"flat": 500, "fp16": 1000, "rabitq": 2000})
    found = {
        count: index_of(tmp_path, clustered(count)).about.kind
        for count in (500, 501, 1000, 1001, 2000, 2001)
    }
    assert found == {
        500: "flat", 501: "fp16", 1000: "fp16", 1001: "rabitq", 2000: "rabitq", 2001: "ivf",
    }  # fmt: skip


def test_recorded_recall_is_that_of_brute_force(tmp_path, monkeypatch):
    """Too little effort, so that something is missed."""
    monkeypatch.setattr(build, "GATE", 0.0)
    efforts = {**kinds.EFFORTS, "ivf": ({"nprobe": 1, "k_factor": 1},)}
    monkeypatch.setattr(kinds, "EFFORTS", efforts)
    vectors = clustered(4000, groups=400)
    found = index_of(tmp_path, vectors, "ivf")
    queries = build._queries(found.finder.stack)
    hits = [
        sum(hit.score >= best[-1] - 1e-12 for hit in found.search(query[None], 10)[0])
        for query in queries
        for best in [brute_force(vectors, query, 10)]
    ]
    far, near = np.reshape(hits, (build.GROUPS, build.QUERIES)).mean(axis=1) / 10
    assert found.about.recall == pytest.approx(min(far, near), abs=1e-6)
    assert 0.1 < near < far < 0.9
    assert found.about.queries == len(queries) == build.GROUPS * build.QUERIES


@pytest.mark.parametrize("kind", ["rabitq", "ivf"])
def test_features_unlike_any_anchor_are_found_as_well(tmp_path, kind):
    """The least effort finds nearly all that is near anchors, and half of what is not."""
    parts = [clustered(400, dim=256, seed=seed, groups=1) for seed in range(20)]
    vectors = np.concatenate(parts)
    found = index_of(tmp_path, vectors, kind)
    for queries in (clustered(60, dim=256, seed=50, groups=60), parts[3] + parts[7][::-1]):
        hits = [
            sum(hit.score >= best[-1] - 1e-12 for hit in hits)
            for query, hits in zip(queries, found.search(queries, 10), strict=True)
            for best in [brute_force(vectors, query, 10)]
        ]
        assert np.mean(hits) / 10 >= 0.98  # The gate's 0.99 is of other queries.
    assert found.about.effort != kinds.EFFORTS[kind][0]


def test_queries_near_anchors_are_drawn_evenly_over_the_sets():
    small, large = clustered(4, seed=1, groups=1), clustered(5000, seed=2, groups=1)
    stack = exact.Stack([large, np.empty((0, 64), np.float32), small])
    far, close = np.split(build._queries(stack), build.GROUPS)
    near = exact.unit_vectors(small)
    assert ((close @ near.T).max(axis=1) > 0.7).sum() == build.QUERIES / 2
    everything = exact.unit_vectors(np.concatenate([large, small]))
    assert (far @ everything.T).max() < 0.6 < (close @ everything.T).max(axis=1).min()


def test_effort_rises_until_the_gate_is_met(tmp_path):
    """Without clusters one bit a number says little, so that many must be ranked again."""
    random = np.random.default_rng(0).normal(size=(4000, 64)).astype(np.float32)
    efforts = kinds.EFFORTS["rabitq"]
    about = index_of(tmp_path, random, "rabitq").about
    assert about.effort in efforts[1:]
    assert about.recall >= build.GATE


def test_a_kind_that_misses_the_gate_gives_way_or_is_an_error(tmp_path, monkeypatch):
    poor = {"ivf": ({"nprobe": 1, "k_factor": 1},), "rabitq": ({"k_factor": 1},)}
    monkeypatch.setattr(kinds, "EFFORTS", {**kinds.EFFORTS, **poor})
    monkeypatch.setattr(kinds, "LARGEST", {"flat": 10, "fp16": 20, "rabitq": 30})
    vectors = clustered(3000, groups=400)
    with pytest.raises(GateError, match=r"kind 'ivf' found \d+\.\d% .* at least 99% are expected"):
        index_of(tmp_path, vectors, "ivf")
    assert not list(tmp_path.glob("*.faiss"))
    about = index_of(tmp_path, vectors).about
    assert (about.kind, about.recall) == ("fp16", 1.0)


def test_another_kind_is_built_when_asked_for(tmp_path):
    vectors = clustered(300)
    assert index_of(tmp_path, vectors).about.kind == "flat"
    assert index_of(tmp_path, vectors, "fp16").about.kind == "fp16"
    assert index_of(tmp_path, vectors).about.kind == "fp16"


@pytest.mark.parametrize("kind", ["flat", "fp16"])
def test_no_row_is_scored_twice_for_a_query(tmp_path, kind, monkeypatch):
    """One concept of anchors more alike than FAISS can tell apart."""
    random = np.random.default_rng(0)
    alike = random.normal(size=64) + 1e-5 * random.normal(size=(2000, 64))
    vectors = np.float32(np.concatenate([alike, random.normal(size=(2000, 64))]))
    found, scored = index_of(tmp_path, vectors, kind), []
    score = build.exact_scores

    def counted(stack, rows, query):
        scored.extend(rows.tolist())
        return score(stack, rows, query)

    monkeypatch.setattr(build, "exact_scores", counted)
    (hits,) = found.search(vectors[:1], 10)
    np.testing.assert_allclose(
        [hit.score for hit in hits], brute_force(vectors, vectors[0], 10), atol=1e-14
    )
    assert len(scored) == len(set(scored)) <= 2000
    assert len(scored) > 10 + build.SPARE


def test_a_new_build_leaves_only_its_own_files(tmp_path):
    index_of(tmp_path, clustered(50))
    (tmp_path / f".tmp-{SPACE}-dead").write_bytes(b"of a builder that was killed")
    (tmp_path / f"{'1' * 64}-other.faiss").write_bytes(b"of another space")
    vectors = clustered(60)
    found = index_of(tmp_path, vectors)
    about = json.loads((tmp_path / f"{SPACE}.json").read_bytes())
    assert about["input"] == found.digest
    (file,) = tmp_path.glob(f"{SPACE}-*.faiss")
    assert file.name == f"{SPACE}-{about['sha256']}.faiss"
    assert about["sha256"] == cache.hashlib.sha256(file.read_bytes()).hexdigest()
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{SPACE}.json", f"{SPACE}.lock", file.name, f"{'1' * 64}-other.faiss",
    }  # fmt: skip


def test_what_was_checked_is_what_is_read(tmp_path, monkeypatch):
    """Another process builds another kind of the same anchors between the two."""
    vectors = clustered(3000)
    expected = index_of(tmp_path, vectors, "flat").search(vectors[:20], 10)
    read, seen = faiss.read_index, []

    def late(path):
        if not seen:
            seen.append(path)
            index_of(tmp_path, vectors, "rabitq")
        return read(path)

    monkeypatch.setattr(cache.faiss, "read_index", late)
    found = index_of(tmp_path, vectors)
    assert seen
    assert found.about.kind == "rabitq"
    assert isinstance(faiss.downcast_index(found.finder.faiss), faiss.IndexRefine)
    assert found.finder.slack is None
    assert index_of(tmp_path, vectors, "flat").search(vectors[:20], 10) == expected


def test_a_file_that_is_swept_while_it_is_opened_is_not_missed(tmp_path, monkeypatch):
    vectors, digest = clustered(50), cache._file_digest
    before = index_of(tmp_path, vectors).search(vectors[:5], 10)

    def late(path):
        monkeypatch.setattr(cache, "_file_digest", digest)
        index_of(tmp_path, vectors, "fp16")  # sweeps the other kind
        return digest(path)

    monkeypatch.setattr(cache, "_file_digest", late)
    found = index_of(tmp_path, vectors)
    assert found.about.kind == "fp16"
    assert found.search(vectors[:5], 10) == before


def no_locks(*_):
    raise OSError(errno.ENOLCK, "No locks available")


def full_disk(*_):
    raise RuntimeError("No space left on device")


@pytest.mark.parametrize(
    ("where", "fails", "why"),
    [
        ("fcntl.flock", no_locks, "No locks available"),
        ("faiss.write_index", full_disk, "No space left on device"),
        ("write_atomically", no_locks, "No locks available"),
    ],
)
def test_an_index_that_cannot_be_kept_is_used_and_told_of(
    tmp_path, monkeypatch, caplog, where, fails, why
):
    monkeypatch.setattr(f"registry.index.cache.{where}", fails)
    vectors = clustered(50)
    assert index_of(tmp_path, vectors).search(vectors[3:4], 1)[0][0].anchor == 3
    ((name, level, message),) = caplog.record_tuples
    assert (name, level) == ("uvr.index", logging.WARNING)
    assert "the index cannot be kept" in message
    assert why in message
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".tmp-")]


def test_errors_of_a_build_are_not_taken_for_a_disk_without_locks(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(cache, "build", no_locks)
    with pytest.raises(OSError, match="No locks available"):
        index_of(tmp_path, clustered(50))
    assert not caplog.records


def test_an_index_that_is_current_survives_a_build_that_fails(tmp_path, monkeypatch):
    vectors = clustered(50)
    index_of(tmp_path, vectors)
    with monkeypatch.context() as patch:
        patch.setattr("registry.index.cache.faiss.write_index", full_disk)
        assert index_of(tmp_path, vectors, "fp16").about.kind == "fp16"
    monkeypatch.setattr(cache, "build", None)
    assert index_of(tmp_path, vectors).about.kind == "flat"


@pytest.mark.parametrize("change", [{"kind": 3}, {"effort": {"k_factor": 4}}, {"more": 1}, None])
def test_a_sidecar_of_another_form_is_not_used(tmp_path, change):
    vectors = clustered(50)
    index_of(tmp_path, vectors)
    path = tmp_path / f"{SPACE}.json"
    about = json.loads(path.read_bytes())
    about["build"] = None if change is None else {**about["build"], **change}
    path.write_text(json.dumps(about))
    assert index_of(tmp_path, vectors).about.kind == "flat"
    assert json.loads(path.read_bytes())["build"]["kind"] == "flat"


def test_vectors_that_are_not_finite_or_too_few_are_refused(tmp_path):
    vectors = clustered(50)
    vectors[7, 3] = np.nan
    with pytest.raises(ValueError, match="anchor 7 of the index holds NaN"):
        index_of(tmp_path, vectors)
    with pytest.raises(ValueError, match="'c00' has 50 anchors, not the 51 recorded"):
        open_index(tmp_path, SPACE, inputs_of(51), lambda _: vectors)


def test_building_holds_the_vectors_of_one_block_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(exact, "BLOCK_BYTES", 100 * 64 * 8)
    vectors, seen = clustered(1000), []

    class Counted:
        shape = vectors.shape

        def __len__(self):
            return len(vectors)

        def __getitem__(self, rows):
            seen.append(len(vectors[rows]))
            return vectors[rows]

    found = open_index(tmp_path, SPACE, inputs_of(1000), lambda _: Counted(), "fp16")
    assert max(seen) <= 100
    (hits,) = found.search(vectors[:1], 1)
    assert hits[0].anchor == 0


def test_a_row_scores_the_same_whatever_is_scored_with_it(monkeypatch):
    vectors = clustered(300, dim=3072)
    query = exact.unit_vectors(clustered(1, dim=3072, seed=1))[0]
    stack, rows = exact.Stack(np.split(vectors, [1, 90])), np.arange(300)
    together = exact.exact_scores(stack, rows, query)
    alone = [exact.exact_scores(stack, rows[row : row + 1], query)[0] for row in rows]
    monkeypatch.setattr(exact, "BLOCK_BYTES", 7 * 3072 * 8)
    assert together.tolist() == alone == exact.exact_scores(stack, rows, query).tolist()


@pytest.mark.parametrize("block", [7, 50, 1000])
def test_the_best_rows_of_one_pass_are_those_of_scoring_all(monkeypatch, block):
    monkeypatch.setattr(exact, "BLOCK_BYTES", block * 64 * 8)
    vectors = clustered(300)
    vectors[::7] = vectors[3]  # more equal ones than asked for
    stack = exact.Stack(np.split(vectors, [1, 90]))
    queries = exact.unit_vectors(np.concatenate([clustered(20, seed=1), vectors[3:4]]))
    everywhere = np.arange(300)
    for k in (1, 10, 300, 400):
        for query, (rows, scores) in zip(queries, exact.nearest(stack, queries, k), strict=True):
            expected = exact.best_rows(everywhere, exact.exact_scores(stack, everywhere, query), k)
            assert rows.tolist() == expected[0].tolist()
            assert scores.tolist() == expected[1].tolist()


# Leases, swaps and caches.


def build_in_process(folder, delay, queue):
    vectors = clustered(2000)
    fill = build._fill

    def slowly(*arguments):
        queue.put(("building", os.getpid()))
        time.sleep(delay)
        return fill(*arguments)

    build._fill = slowly
    found = index_of(folder, vectors)
    queue.put(("done", [hit.anchor for hit in found.search(vectors[:3], 1)[0]]))


@pytest.fixture
def processes():
    context = multiprocessing.get_context("spawn")  # OpenMP's threads do not survive a fork.
    started = []

    def start(*arguments):
        started.append(context.Process(target=build_in_process, args=arguments))
        started[-1].start()
        return started[-1]

    yield context.Queue(), start
    for process in started:
        process.kill()
        process.join()


def events_of(queue, count):
    return [queue.get(timeout=30) for _ in range(count)]


def test_of_several_processes_one_builds_and_the_others_use_its_index(tmp_path, processes):
    queue, start = processes
    for process in [start(tmp_path, 1.0, queue) for _ in range(4)]:
        process.join(120)  # Each imports FAISS anew, slowly where the machine is busy.
        assert process.exitcode == 0
    events = events_of(queue, 5)
    assert [name for name, _ in events].count("building") == 1
    assert [result for name, result in events if name == "done"] == [[0]] * 4


def test_the_lease_of_a_killed_builder_is_free(tmp_path, processes):
    queue, start = processes
    first = start(tmp_path, 60, queue)
    assert events_of(queue, 1) == [("building", first.pid)]
    second = start(tmp_path, 0, queue)
    second.join(2)
    assert second.is_alive()  # It waits for the first.
    os.kill(first.pid, signal.SIGKILL)
    assert events_of(queue, 2) == [("building", second.pid), ("done", [0])]


def test_readers_search_on_while_the_index_is_swapped(tmp_path):
    """Each reader sees one whole cache, of before or after, whatever is built meanwhile."""
    cache, stop, seen, failed = IndexCache(tmp_path), threading.Event(), set(), []
    sets = [clustered(count) for count in (40, 50, 60, 70)]

    def found(vectors):
        return cache.open(SPACE, inputs_of(len(vectors)), lambda _: vectors)

    def read(number):
        try:
            while not stop.is_set():
                vectors = sets[number]
                (hits,) = found(vectors).search(vectors[3:4], 100)
                assert (hits[0].anchor, len(hits)) == (3, len(vectors))
                seen.add(len(vectors))
        except Exception as error:
            failed.append(error)

    readers = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for reader in readers:
        reader.start()
    time.sleep(1.0)
    stop.set()
    for reader in readers:
        reader.join()
    assert not failed
    assert seen == {40, 50, 60, 70}
    assert len(list(tmp_path.glob("*.faiss"))) == 1


def test_an_index_in_use_outlives_its_successor(tmp_path):
    cache, vectors = IndexCache(tmp_path), clustered(50)
    old = cache.open(SPACE, inputs_of(50), lambda _: vectors)
    before = old.search(vectors[:5], 10)
    new = cache.open(SPACE, inputs_of(49), lambda _: vectors[1:])
    assert new is not old
    assert cache.open(SPACE, inputs_of(49), lambda _: vectors[1:]) is new
    assert old.search(vectors[:5], 10) == before


# Anchors in blobs.


@pytest.fixture
def stored(tmp_path, collect):
    def store(anchors=30, dtype="float32"):
        made, _ = collect(3, anchors=anchors)
        data = made.to_bytes(dtype)
        (tmp_path / "blob").write_bytes(data)
        digest = cache.hashlib.sha256(data).hexdigest()
        return made.anchors, StoredRows(tmp_path / "blob", digest, anchors, made.space.dim)

    return store


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_of_a_blob_are_those_that_were_stored(stored, dtype):
    anchors, rows = stored(dtype=dtype)
    expected = anchors.astype(dtype).astype(np.float32)
    for wanted in (slice(None), slice(4, 9), np.array([0, 3, 4, 5, 29]), np.array([], int)):
        np.testing.assert_array_equal(rows[wanted], expected[wanted])
        assert rows[wanted].dtype == np.float32
    assert len(rows) == 30


def test_a_blob_that_changes_is_checked_again(stored):
    anchors, rows = stored()
    np.testing.assert_array_equal(rows[:1], anchors[:1])
    data = rows.path.read_bytes()
    other = rows.path.with_name("other")
    other.write_bytes(data)
    other.replace(rows.path)  # the same bytes in another file, as a repair does
    np.testing.assert_array_equal(rows[:1], anchors[:1])
    rows.path.write_bytes(data[:-1] + b"x")
    with pytest.raises(VerificationError, match="is corrupt"):
        rows[:1]
    rows.path.unlink()
    with pytest.raises(VerificationError, match="cannot be read"):
        rows[:1]


def test_a_blob_of_another_shape_than_recorded_is_refused(stored):
    _, rows = stored()
    with pytest.raises(ValueError, match=r"shape \[30, 6\], not the \[31, 6\] recorded"):
        StoredRows(rows.path, rows.digest, 31, 6)[:1]


# Prototypes.
