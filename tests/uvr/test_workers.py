"""Work on a Ray cluster of this machine: what is thrown comes back, and what kills is given up."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from concepts.errors import InputError, NotFoundError, UVRError
from uvr.workers import Pool, workers


def make():
    return doubled


def doubled(items: Sequence[int]) -> Iterator[int]:
    for item in items:
        if item == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        if item == 7:
            raise InputError("seven is refused")
        yield 2 * item


def once_deadly(mark: Path):
    def work(items: Sequence[int]) -> Iterator[int]:
        for item in items:
            if item == 2 and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield 2 * item

    return work


@pytest.fixture
def pool(cluster) -> Iterator[Pool]:
    with workers() as pool:
        yield pool


def test_every_item_of_every_part_has_a_result(pool):
    assert sorted(pool.run(make, [[1, 2, 3], [], [4], [5, 6]])) == [2, 4, 6, 8, 10, 12]


def test_an_error_comes_back_as_it_was_thrown(pool):
    with pytest.raises(InputError, match=r"^seven is refused$"):
        list(pool.run(make, [[1, 7, 2]]))


def test_an_item_that_kills_every_worker_is_given_up(pool, monkeypatch):
    monkeypatch.setattr("uvr.workers.DEATHS", 2)  # each takes seconds to begin
    found = []
    with pytest.raises(UVRError, match="2 Ray workers died of the same work"):
        found.extend(pool.run(make, [[1, 13, 2]]))
    assert found in ([], [2])  # a result may be lost with its worker, and comes once at most


def test_what_a_dead_worker_left_is_done_by_another(pool, tmp_path):
    results = pool.run(partial(once_deadly, tmp_path / "died"), [[1, 2, 3], [4]])
    assert sorted(results) == [2, 4, 6, 8]
    assert (tmp_path / "died").exists()


def test_a_worker_that_does_not_begin_in_time_is_told(pool, monkeypatch):
    monkeypatch.setattr("uvr.workers.PATIENCE_S", 0.001)
    with pytest.raises(NotFoundError, match=r"No Ray worker began within 0\.001 s"):
        list(pool.run(make, [[1]]))


def test_no_cluster_that_the_environment_names_is_joined(monkeypatch):
    ray = pytest.importorskip("ray")
    asked = []
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda address, **_: asked.append(address) or 1 / 0)
    monkeypatch.setenv("RAY_ADDRESS", "10.9.9.9:6379")
    with pytest.raises(ZeroDivisionError), workers():
        pass
    assert asked == ["local"]
