"""A poller: a thread that does something now and then until it is closed.

A forked process has only the thread that forked. A poller that was running goes on there with a
thread and a lock of its own: a worker that never polled would never hear of a revocation.
"""

from __future__ import annotations

import os
import random
import threading
import weakref
from collections.abc import Callable

JITTER = 0.2
MAX_BACKOFF = 10
CLOSE_SECONDS = 2.0


class Poller:
    """Polls in the background, later and later while it fails.

    Args:
        poll: What to do; returns whether it went well and raises nothing.
        seconds: Mean time between polls; 0 starts no thread.
    """

    def __init__(self, poll: Callable[[], bool], seconds: float) -> None:
        self._poll, self._seconds = poll, seconds
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self.turn = threading.Lock()
        """Whoever polls holds it."""
        _pollers.add(self)

    @property
    def running(self) -> bool:
        """Whether its thread lives."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin to poll, unless it does already."""
        if self.running or self._seconds <= 0:
            return
        # An event for each thread: one that was slow to close must not go on after a new start.
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._closed,), name="uvr-source", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop polling."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)
            self._thread = None

    def after_fork(self) -> None:
        """Go on in a forked process, where the thread is not, and its lock may be held for ever."""
        self.turn = threading.Lock()
        if self._thread is not None:
            self._thread = None
            self.start()

    def _run(self, closed: threading.Event) -> None:
        failures = 0
        while not closed.wait(pause(self._seconds, failures)):
            failures = 0 if self._poll() else failures + 1


def pause(poll_seconds: float, failures: int) -> float:
    """Seconds to the next poll: doubled with each failure in a row, and never in step."""
    factor = min(2.0 ** min(failures, 10), MAX_BACKOFF)
    spread = random.uniform(1 - JITTER, 1 + JITTER)
    return min(factor * spread, MAX_BACKOFF) * poll_seconds


def _after_fork() -> None:
    for poller in list(_pollers):
        poller.after_fork()


_pollers: weakref.WeakSet[Poller] = weakref.WeakSet()
os.register_at_fork(after_in_child=_after_fork)
