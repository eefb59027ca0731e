"""Files: opened only if they are, and written for others whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import IO

LOCK = "lock"
PARTIAL = re.compile(r"\..+\.[0-9a-f]{16}\.partial")


def open_file(path: Path, *, links: bool = True) -> BufferedReader:
    """Open a file to read it.

    Whoever can put a pipe or a device in a file's place must not make a reader wait for ever: a
    pipe is opened without waiting for its writer, then found to be none.

    Args:
        path: Where.
        links: Whether it may be a link.

    Raises:
        OSError: It cannot be opened, or is a folder, a pipe or a device.
    """
    if not links and path.is_symlink():
        raise OSError(errno.ELOOP, "it is a link, and none is followed here", str(path))
    follow = 0 if links else os.O_NOFOLLOW
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | follow)
    try:
        mode = os.fstat(descriptor).st_mode
        if S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device, not a regular file", str(path))
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file; OSError as for ``open_file``."""
    with open_file(path) as file:
        return file.read()


def check_writable(path: Path) -> None:
    """Check that `write_file` may write here, before work that cannot be taken back.

    Raises:
        OSError: It is a folder, or its nearest folder that exists is none or is read-only.
    """
    if path.is_dir():
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if _is_special(path):
        if not os.access(path, os.W_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return
    nearest = next(folder for folder in path.resolve().parents if folder.exists())
    if not nearest.is_dir():
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def write_file(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write bytes to a file through a partial file beside it; make its folder if needed.

    A link is followed, and a device or pipe written into: neither is replaced by a file.

    Args:
        path: Where.
        data: What.
        durable: Return only once the bytes and the name would survive a power cut.

    Raises:
        OSError: The disk is full or the place cannot be written; an older file stays as it was.
    """
    if _is_special(path):
        path.write_bytes(data)
        return
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, durable=durable) as file:
        file.write(data)


@contextmanager
def replacing(
    path: Path, *, durable: bool = False, partial: Path | None = None, mode: int = 0o666
) -> Iterator[IO[bytes]]:
    """Give a partial file that takes the place of another once all is written.

    Args:
        path: The place, no link; its folder is there.
        durable: As for ``write_file``.
        partial: The partial file, in the same folder; by default named after the place. Each writer
            has one of its own: two that shared it would mix their bytes.
        mode: Who may read and write it, less what the process masks.

    Raises:
        OSError: As for ``write_file``.
    """
    if partial is None:
        for left in abandoned(path.parent, path.name):
            remove_abandoned(left)
        partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    descriptor = _create(partial, mode)
    try:
        with open(descriptor, "w+b") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(descriptor)
            partial.replace(path)  # Before its lock ends with the file.
        if durable:
            sync(path.parent)
    finally:  # Ctrl-C too must leave no half-written file.
        partial.unlink(missing_ok=True)


def abandoned(folder: Path, name: str | None = None) -> list[Path]:
    """Return the partial files in a folder whose writers were killed, of one name or of all."""
    found = folder.glob(f".{'*' if name is None else glob.escape(name)}.*.partial")
    return sorted(path for path in found if PARTIAL.fullmatch(path.name) and _given_up(path))


def remove_abandoned(path: Path) -> bool:
    """Remove a partial file if its writer was killed; whether that was so."""
    return _given_up(path, Path.unlink)


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Say that a folder is worked in, as several may at once; it is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        with suppress(OSError):  # A file system without locks.
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield


@contextmanager
def unused(folder: Path) -> Iterator[bool]:
    """Give whether nobody works in a folder; if so, nobody begins to within the context."""
    with ExitStack() as stack:
        is_free = True
        try:
            lock = stack.enter_context(open_file(folder / LOCK, links=False))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:  # Nobody ever did.
            pass
        except OSError:
            is_free = False
        yield is_free


def is_in_use(folder: Path) -> bool:
    """Whether somebody says so."""
    with unused(folder) as is_free:
        return not is_free


def _create(partial: Path, mode: int) -> int:
    """Make a partial file and lock it, for as long as its writer lives; return its descriptor."""
    # Never through a link that somebody else put there.
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    while True:
        descriptor = os.open(partial, flags, mode)
        with suppress(OSError):  # A file system without locks: then nobody takes it for abandoned.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)  # Somebody took it for abandoned before it was locked.


def _given_up(partial: Path, then: Callable[[Path], object] = lambda _: None) -> bool:
    """Whether nobody writes a partial file; if so, do something before anybody could."""
    try:
        with open_file(partial, links=False) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            then(partial)
    except OSError:  # It is being written, or gone by now.
        return False
    return True


def _is_special(path: Path) -> bool:
    """Whether it is there and no file: a device or a pipe, or a folder."""
    return path.exists() and not path.is_file()


def sync(path: Path) -> None:
    """Have the bytes of a file, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
