"""Work shared among the processes of a Ray cluster, and done again where one of them dies.

1. ``workers`` connects to a cluster, or starts one on this machine, and gives a ``Pool``.
2. A worker makes what the work needs, such as a pipeline, when the first part of it comes.
3. Each part of the work is a list of items; a worker yields a result for each, one by one.
4. A worker that dies is replaced, and what it had not yielded goes back in front of the queue.

Ray is the extra ``ray``: it is imported when a pool is made.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch

from concepts.errors import NotFoundError, UVRError

Item = TypeVar("Item")
Result = TypeVar("Result")

DEATHS = 3
"""Workers that may die of the same item, or one after another before any works, before that is an
error."""
NO_ITEM = 0
PATIENCE_S = 600
"""How long the first worker may take to begin; where others hold the cluster, for ever."""


class Worker(Generic[Item, Result]):
    """One process of a pool.

    Args:
        make: Makes what does the work: from items, a result for each, in their order.
        threads: Of torch, as where the pool was made: rounding depends on it.
    """

    def __init__(
        self, make: Callable[[], Callable[[Sequence[Item]], Iterator[Result]]], threads: int
    ) -> None:
        torch.set_num_threads(threads)
        self._make = make
        self._work: Callable[[Sequence[Item]], Iterator[Result]] | None = None

    def begin(self) -> Iterator[Result]:
        """Yield nothing, once the process is there."""
        yield from ()

    def run(self, items: Sequence[Item]) -> Iterator[Result]:
        """Yield a result for each item."""
        if self._work is None:
            self._work = self._make()
        yield from self._work(items)


class Pool:
    """Workers of a cluster: one a GPU, or one for as many processors as torch has threads here.

    Args:
        gpu: Whether the work needs a GPU.

    Raises:
        NotFoundError: The cluster has none of them.
    """

    def __init__(self, *, gpu: bool) -> None:
        import ray  # noqa: PLC0415 (an extra)

        self._ray: Any = ray
        self._threads = torch.get_num_threads()
        kind, each = ("GPU", 1) if gpu else ("CPU", self._threads)
        nodes = [node["Resources"].get(kind, 0) for node in ray.nodes() if node["Alive"]]
        there = [int(count) for count in nodes if count >= 1]
        if not there:
            raise NotFoundError(f"The Ray cluster has no {kind}, and the model is on one here.")
        each = min(each, max(there))  # no worker is spread over nodes
        self.size = sum(count // each for count in there)
        self._needs = {f"num_{kind.lower()}s": each}

    def run(
        self,
        make: Callable[[], Callable[[Sequence[Item]], Iterator[Result]]],
        parts: Iterable[Sequence[Item]],
    ) -> Generator[Result, None, None]:
        """Yield the results of all parts, as they come.

        Args:
            make: See ``Worker``; sent to each, with what it holds.
            parts: Lists of items; each is done by one worker, unless that dies.

        Raises:
            NotFoundError: No worker begins in ``PATIENCE_S``.
            UVRError: Workers die again and again of the same item, or before any work.
        """
        ray = self._ray
        made = ray.put(make)  # once, however many workers take it
        remote = ray.remote(Worker).options(**self._needs)
        waiting = deque(list(part) for part in parts if part)
        alive: set[Any] = set()
        idle: list[Any] = []
        busy: dict[Any, tuple[Any, list[Item]]] = {}  # what is awaited, of whom, for which items
        deaths: Counter[int] = Counter()
        begun = False

        def hire() -> None:
            worker = remote.remote(made, self._threads)
            alive.add(worker)
            busy[worker.begin.options(num_returns="streaming").remote()] = (worker, [])

        try:
            for _ in range(min(self.size, len(waiting))):
                hire()
            while waiting or any(left for _, left in busy.values()):
                while waiting and idle:
                    worker, part = idle.pop(), waiting.popleft()
                    busy[worker.run.options(num_returns="streaming").remote(part)] = (worker, part)
                found, _ = ray.wait(
                    list(busy), num_returns=1, timeout=None if begun else PATIENCE_S
                )
                if not found:
                    raise NotFoundError(
                        f"No Ray worker began within {PATIENCE_S} s: others may hold the cluster. "
                        "`ray status` tells what is free."
                    )
                (ready,) = found
                worker, left = busy[ready]
                try:
                    result = ray.get(next(ready))
                except StopIteration:
                    begun = True
                    del busy[ready], deaths[NO_ITEM]
                    idle.append(worker)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from error
                except ray.exceptions.RayError as error:  # the worker is gone, or what it gave is
                    del busy[ready]
                    alive.discard(worker)
                    ray.kill(worker)
                    _count_death(deaths, left, error)
                    if left:
                        waiting.appendleft(left)
                    hire()
                else:
                    del left[0]
                    yield result
        finally:
            for worker in alive:
                ray.kill(worker)


def _count_death(deaths: Counter[int], left: Sequence[Any], error: Exception) -> None:
    item = id(left[0]) if left else NO_ITEM
    deaths[item] += 1
    if deaths[item] >= DEATHS:
        reason = str(error).strip().splitlines()[0]
        when = "of the same work" if left else "one after another without any work"
        raise UVRError(f"{DEATHS} Ray workers died {when}: {reason}") from error


@contextmanager
def workers(address: str | None = None, *, gpu: bool = False) -> Iterator[Pool]:
    """Connect to a Ray cluster, or start one on this machine; leave it afterwards.

    Args:
        address: Of its head, HOST:PORT; None starts one on this machine, whatever cluster the
            environment names. A connection that is there stays.
        gpu: Whether the work needs a GPU.

    Raises:
        NotFoundError: No cluster answers, or it lacks a GPU.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    import ray  # noqa: PLC0415 (an extra)

    mine = not ray.is_initialized()
    if mine:
        try:
            ray.init(address or "local", log_to_driver=False, logging_level="ERROR",
                     include_dashboard=None if address else False)  # fmt: skip
        except (ConnectionError, ValueError) as error:
            raise NotFoundError(
                f"No Ray cluster at {address or 'this machine'}: {error}"
            ) from error
    try:
        yield Pool(gpu=gpu)
    finally:
        if mine:
            ray.shutdown()
