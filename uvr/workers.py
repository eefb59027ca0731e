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
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
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
        shift = _Shift(self._ray, self._needs, self._threads, make, parts)
        try:
            shift.open(self.size)
            while shift.unfinished:
                shift.hand_out()
                yield from shift.next_result()
        finally:
            shift.close()


class _Shift(Generic[Item, Result]):
    """One run of a pool: its workers, what waits, and what each worker has in hand."""

    def __init__(
        self,
        ray: Any,
        needs: Mapping[str, int],
        threads: int,
        make: Callable[[], Callable[[Sequence[Item]], Iterator[Result]]],
        parts: Iterable[Sequence[Item]],
    ) -> None:
        self._ray = ray
        self._made = ray.put(make)  # once, however many workers take it
        self._remote = ray.remote(Worker).options(**needs)
        self._threads = threads
        self._waiting = deque(list(part) for part in parts if part)
        self._alive: set[Any] = set()
        self._idle: list[Any] = []
        # What is awaited, of whom, for which items.
        self._busy: dict[Any, tuple[Any, list[Item]]] = {}
        self._deaths: Counter[int] = Counter()
        self._begun = False

    @property
    def unfinished(self) -> bool:
        """Whether an item is without its result."""
        return bool(self._waiting) or any(left for _, left in self._busy.values())

    def open(self, size: int) -> None:
        """Start as many workers as there are, or as there are parts for."""
        for _ in range(min(size, len(self._waiting))):
            self._hire()

    def hand_out(self) -> None:
        """Give parts that wait to workers that have nothing to do."""
        while self._waiting and self._idle:
            worker, part = self._idle.pop(), self._waiting.popleft()
            awaited = worker.run.options(num_returns="streaming").remote(part)
            self._busy[awaited] = (worker, part)

    def next_result(self) -> Iterator[Result]:
        """Yield the next result, or nothing where a worker is done with its part or died."""
        ready = self._wait()
        worker, left = self._busy[ready]
        try:
            result = self._ray.get(next(ready))
        except StopIteration:
            self._begun = True
            del self._busy[ready], self._deaths[NO_ITEM]
            self._idle.append(worker)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayError as error:  # the worker is gone, or what it gave is
            del self._busy[ready]
            self._replace(worker, left, error)
        else:
            del left[0]
            yield result

    def close(self) -> None:
        """End all workers."""
        for worker in self._alive:
            self._ray.kill(worker)

    def _hire(self) -> None:
        worker = self._remote.remote(self._made, self._threads)
        self._alive.add(worker)
        self._busy[worker.begin.options(num_returns="streaming").remote()] = (worker, [])

    def _wait(self) -> Any:
        timeout = None if self._begun else PATIENCE_S
        found, _ = self._ray.wait(list(self._busy), num_returns=1, timeout=timeout)
        if not found:
            raise NotFoundError(
                f"No Ray worker began within {PATIENCE_S} s: others may hold the cluster. "
                "`ray status` tells what is free."
            )
        return found[0]

    def _replace(self, worker: Any, left: list[Item], error: Exception) -> None:
        self._alive.discard(worker)
        self._ray.kill(worker)
        self._count_death(left, error)
        if left:
            self._waiting.appendleft(left)
        self._hire()

    def _count_death(self, left: Sequence[Item], error: Exception) -> None:
        item = id(left[0]) if left else NO_ITEM
        self._deaths[item] += 1
        if self._deaths[item] >= DEATHS:
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
