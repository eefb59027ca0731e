"""Work on a Ray cluster of this machine: what is thrown comes back, and what kills is given up."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence

import pytest

from concepts.errors import InputError, UVRError
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


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    if os.environ.get("UVR_REQUIRE_RAY") != "1":
        pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_raylet_start_wait_time_s", "240")  # where the machine is busy
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
