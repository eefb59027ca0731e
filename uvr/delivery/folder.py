"""The folder of a host's state: one writer at a time, no links, and a word on who else may write.

A host believes what it finds there. Whoever may write there can have it forget a release or a
revocation, and a link could turn its reading or its writing to another place.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from concepts.errors import UVRError
from concepts.files import open_file, replacing, sync


@dataclass(frozen=True)
class StateFolder:
    """A folder of small files that several processes share.

    Attributes:
        path: The folder; it and the one above it are made with the first file.
    """

    path: Path

    def read(self, name: str) -> bytes | None:
        """Return the bytes of a file, None without one; UVRError if that cannot be read."""
        file = self.path / name
        try:
            self._refuse_link()
            with open_file(file, links=False) as opened:
                return opened.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UVRError(f"'{file}' cannot be read: {error.strerror}.") from error

    def write(self, name: str, data: bytes) -> None:
        """Write a file, durably and whole or not at all; the caller is in ``locked``."""
        with replacing(self.path / name, durable=True) as file:
            file.write(data)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one to write, until the end; UVRError if the folder cannot be written."""
        try:
            self._make()
            self._refuse_link()
            # Opened for both, since opening a pipe to write alone would wait for a reader.
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
            with open(os.open(self.path / "lock", flags, 0o666), "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # It ends with the process at the latest.
                try:
                    # What a writer left that was killed; nobody else is writing now.
                    for partial in self.path.glob(".*.partial"):
                        partial.unlink()
                    yield
                finally:
                    # A process forked meanwhile has the file open too, and would hold the lock.
                    fcntl.flock(file, fcntl.LOCK_UN)
        except OSError as error:
            raise UVRError(
                f"The state folder '{self.path}' cannot be written: {error.strerror}."
            ) from error

    def exposed(self) -> str | None:
        """Say which folder every user of the machine may write to, if one is so."""
        for folder in (self.path, self.path.parent):
            mode = folder.stat().st_mode if folder.exists() else 0
            # In a sticky folder, as /tmp, nobody removes what is another's.
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                return (
                    f"every user of this machine may write to the state folder '{folder}', and so "
                    f"have an old release taken for new: chmod o-w '{folder}'"
                )
        return None

    def _make(self) -> None:
        if not self.path.is_dir():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync(self.path.parent)

    def _refuse_link(self) -> None:
        if self.path.is_symlink():
            raise OSError(errno.ELOOP, "it is a link, and none is followed here", str(self.path))
