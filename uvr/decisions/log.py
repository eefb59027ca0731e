"""The decision log: a line of JSON for each picture, written beside the drawing."""

from __future__ import annotations

import atexit
import json
import logging
import os
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from concepts.instant import now
from uvr.decisions.decision import Decision
from uvr.decisions.rolling_file import RollingFile

log = logging.getLogger("uvr.decisions")

GAP = "uvr-gap/1"
"""Schema of a line that says how many decisions are missing there."""

BATCH = 64
"""Decisions that are written at once at most."""

CLOSE_SECONDS = 10.0

GAP_SECONDS = 1.0
"""That a log which is closed has left to say what it dropped."""

PICTURES_WAITING = 64
"""Decisions that may wait where each holds its picture."""

T = TypeVar("T")


class DecisionLog:
    """Writes decisions: ``Regulator(..., on_decision=DecisionLog("decisions.jsonl"))``.

    A call only puts its decisions in a queue; a thread writes them. Where the queue is full or the
    disk fails, decisions are dropped, counted, and told: by a warning, by ``dropped``, and by a
    line of the log once one can be written again. Close it, or use it as a context manager, to
    have all of them on disk; the end of the program does so too.

    Args:
        path: The file. Full ones lie beside it; see ``RollingFile``.
        labels: What tells this host from others; the host's name by default.
        prompt_key: Secret for the prompts' digests, so that nobody else can look for a prompt
            among them; None for plain SHA-256.
        text: Keep the prompts themselves.
        features: Keep the features of what fired, which name the nearest anchors later.
        pictures: Keep each picture that was returned in this folder, as PNG under its digest.
        max_bytes: Size at which a file is put aside.
        keep: How many full files are kept.
        waiting: How many decisions may wait to be written; with ``pictures`` 64 at most.

    Raises:
        OSError: No file can be written there.
    """

    _changed: threading.Condition
    _thread: threading.Thread | None

    def __init__(
        self,
        path: Path | str,
        *,
        labels: Mapping[str, str] | None = None,
        prompt_key: bytes | None = None,
        text: bool = False,
        features: bool = False,
        pictures: Path | str | None = None,
        max_bytes: int = 64 << 20,
        keep: int = 32,
        waiting: int = 10_000,
    ) -> None:
        self._file = RollingFile(Path(path), max_bytes, keep)
        self._labels = {"host": socket.gethostname()} if labels is None else dict(labels)
        self._told: dict[str, Any] = {"key": prompt_key, "text": text, "features": features}
        self._pictures = None if pictures is None else Path(pictures)
        if self._pictures is not None:
            self._pictures.mkdir(parents=True, exist_ok=True)
        self._limit = waiting if pictures is None else min(waiting, PICTURES_WAITING)
        self._closed = False
        self._begin()
        _logs.add(self)

    @property
    def path(self) -> Path:
        """The file that is written now."""
        return self._file.path

    def __call__(self, decision: Decision) -> None:
        """Put a decision in the queue; never waits for the disk."""
        if self._pictures is None:
            decision = replace(decision, picture=None)
        with self._changed:
            if self._closed or len(self._waiting) >= self._limit:
                self._drop(1, "it is closed" if self._closed else "it is too slow")
                return
            self._waiting.append(decision)
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="uvr-decisions", daemon=True)
                self._thread.start()

    def flush(self, seconds: float | None = None) -> bool:
        """Wait until all that was put in is written; False where that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._waiting or self._writing), seconds)

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write what waits and end.

        What is left after so many seconds is dropped. The log then has a second more to tell it:
        where another process keeps the file locked, it ends without that.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if not self._ended(seconds):
            with self._changed:
                if left := len(self._waiting):
                    self._waiting.clear()
                    self._drop(left, "it was closed before they were written")
            if not self._ended(GAP_SECONDS):
                return
        if self._untold:
            self._write((), deadline)  # nothing is left but to say what is missing
        if self.path.exists():
            self._guarded(self._file.sync, deadline, lost=0)

    def _ended(self, seconds: float) -> bool:
        """Wait for the thread of a closed log; whether it has ended."""
        if self._thread is None:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def dropped(self) -> int:
        """How many decisions of this process were not written."""
        return self._dropped

    def _begin(self) -> None:
        """Begin with an empty queue, at first and in a forked process, where no thread is."""
        self._dropped = self._untold = 0
        self._changed = threading.Condition()
        self._waiting: deque[Decision] = deque()
        self._writing = False
        self._thread = None

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not (self._waiting or self._untold):
                    return
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                self._writing = True
            try:
                self._write(batch)
            finally:
                with self._changed:
                    self._writing = False
                    self._changed.notify_all()
            if not batch:
                return  # It is closed, and this was what it had dropped.

    def _write(self, batch: Sequence[Decision], deadline: float | None = None) -> None:
        told = [line for item in batch if (line := self._guarded(self._line, item))]
        gap, untold = b"", self._untold
        if untold:
            missing = {"schema": GAP, "time": now(), "dropped": untold, "labels": self._labels}
            gap = _line(missing)
        if self._guarded(self._append, gap + b"".join(told), deadline, lost=len(told)):
            with self._changed:
                self._untold -= untold

    def _append(self, lines: bytes, deadline: float | None) -> bool:
        self._file.append(lines, deadline)
        return True

    def _line(self, decision: Decision) -> bytes:
        if self._pictures is not None and decision.picture is not None:
            decision.picture.save(self._pictures / f"{decision.pixels}.png")
        return _line(replace(decision, labels=self._labels).to_dict(**self._told))

    def _guarded(self, act: Callable[..., T], *arguments: Any, lost: int = 1) -> T | None:
        """Do something; what it raises costs so many decisions, and no drawing."""
        try:
            return act(*arguments)
        except Exception as error:
            with self._changed:
                self._drop(lost, f"{type(error).__name__}: {error}")
            return None

    def _drop(self, count: int, why: str) -> None:
        """Count what is not written; the first of a row is logged."""
        if not self._untold:
            log.warning("the decision log '%s' drops decisions: %s", self.path, why)
        self._dropped += count
        self._untold += count


def _line(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, allow_nan=False) + "\n").encode()


def _at_exit() -> None:
    deadline = time.monotonic() + CLOSE_SECONDS
    for item in list(_logs):
        item.close(max(0.0, deadline - time.monotonic()))


def _after_fork() -> None:
    for item in list(_logs):
        item._begin()


_logs: weakref.WeakSet[DecisionLog] = weakref.WeakSet()
atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork)
