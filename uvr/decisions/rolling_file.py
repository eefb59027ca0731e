"""A file of lines that several processes append to, and that is put aside when it is full."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from concepts.files import check_writable

LOCK_SECONDS = 0.01
"""Between two tries to lock a file."""


class RollingFile:
    """Appends whole lines to a file, ``log.jsonl``; full ones are ``log.000001.jsonl`` and so on.

    Each append is one write under the file's lock, so that the lines of several processes on one
    machine do not mix and one of them puts the file aside. Whoever is killed within a write leaves
    a torn line, which the next append ends.

    Args:
        path: The file; it is made with the first line, and its folder now.
        max_bytes: A file that would grow beyond is put aside.
        keep: How many full files are kept, the newest.

    Raises:
        OSError: No file can be written there.
    """

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        if max_bytes < 1 or keep < 1:
            raise ValueError(f"max_bytes is {max_bytes} and keep {keep}, 1 or more is expected")
        check_writable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self._max_bytes, self._keep = path, max_bytes, keep

    def append(self, lines: bytes, deadline: float | None = None) -> None:
        """Append lines, each with its end; OSError where not all of them could be written.

        Args:
            lines: What.
            deadline: Until when to wait for other writers, by ``time.monotonic``; TimeoutError
                then. None for no limit.
        """
        with self._locked(deadline) as file:
            if not (size := os.fstat(file).st_size) or size + len(lines) <= self._max_bytes:
                _write(file, size, lines)
                return
            self._put_aside()
        self.append(lines, deadline)

    def sync(self, deadline: float | None = None) -> None:
        """Have what was appended survive a power cut; TimeoutError as for ``append``."""
        with self._locked(deadline) as file:
            os.fsync(file)

    @contextmanager
    def _locked(self, deadline: float | None = None) -> Iterator[int]:
        """Give the open file that has the path's name, with its lock."""
        while True:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            file = os.open(self.path, flags, 0o640)
            try:
                _lock(file, deadline)
                try:
                    if self._is_named(file):
                        yield file
                        return
                finally:
                    # A process that was forked meanwhile has the open file and so its lock, too:
                    # closing it here would leave it locked for as long as that one lives.
                    fcntl.flock(file, fcntl.LOCK_UN)
            finally:
                os.close(file)

    def _is_named(self, file: int) -> bool:
        """Whether nobody put the file aside before it was locked."""
        try:
            return os.path.samestat(os.fstat(file), os.stat(self.path))
        except FileNotFoundError:
            return False

    def _put_aside(self) -> None:
        full = full_files(self.path)
        number = _number(full[-1]) + 1 if full else 1
        self.path.rename(self.path.with_suffix(f".{number:06}{self.path.suffix}"))
        for old in full[: len(full) + 1 - self._keep]:
            old.unlink(missing_ok=True)


def full_files(path: Path) -> list[Path]:
    """Return the files that were put aside from a path, oldest first."""
    name = re.compile(rf"{re.escape(path.stem)}\.[0-9]{{6,}}{re.escape(path.suffix)}")
    found = path.parent.glob(f"*{path.suffix}") if path.parent.is_dir() else ()
    return sorted((item for item in found if name.fullmatch(item.name)), key=_number)


def _lock(file: int, deadline: float | None) -> None:
    """Lock a file for this process alone; TimeoutError where the deadline passes first."""
    if deadline is None:
        fcntl.flock(file, fcntl.LOCK_EX)
        return
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise TimeoutError("another process keeps the file locked") from error
            time.sleep(LOCK_SECONDS)
        else:
            return


def _number(path: Path) -> int:
    return int(path.stem.rpartition(".")[2])


def _write(file: int, size: int, lines: bytes) -> None:
    """Append in one write, after the end of a line that somebody was killed within."""
    if size and os.pread(file, 1, size - 1) != b"\n":
        lines = b"\n" + lines
    written = os.write(file, lines)
    if written < len(lines):  # The disk is full: what is torn must not be taken for whole.
        os.ftruncate(file, size)
        raise OSError(28, "the disk is full", None)
