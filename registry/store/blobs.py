"""Content-addressed blobs: ``blobs/sha256/ab/<digest>``; a name is the SHA-256 of the bytes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from concepts.digest import is_digest, sha256
from concepts.errors import UVRError, VerificationError
from concepts.files import open_file, read_bytes, replacing, sync

CHUNK = 1 << 20
TEMPORARY = ".tmp-"


class BlobStore:
    """Blobs below one folder. A blob is whole or absent; it never changes.

    Args:
        root: The folder.
        private: Whether nobody but its owner may open what is in it.
    """

    def __init__(self, root: Path, *, private: bool = False) -> None:
        self.root = root / "sha256"
        self._private = private

    def path(self, digest: str) -> Path:
        if not is_digest(digest):
            raise ValueError(f"{digest!r} is not a SHA-256")
        return self.root / digest[:2] / digest

    def __contains__(self, digest: str) -> bool:
        return self.path(digest).is_file()

    def put(self, data: bytes) -> tuple[str, bool]:
        """Store the bytes; return their digest, and whether the blob was not there before.

        Once this returns, the blob survives a crash, so a row may name it.

        Raises:
            UVRError: If the disk is full or not writable; nothing is left behind.
        """
        digest = sha256(data)
        path = self.path(digest)
        # An existing blob is read, not trusted: a damaged one is replaced.
        if path.is_file() and sha256(read_bytes(path)) == digest:
            self.touch(digest)
            _sync_names(path)  # Whoever wrote it may have been killed before doing so.
            return digest, False
        new = not path.exists()
        try:
            write_atomically(path, data, private=self._private)
        except OSError as error:
            raise _write_error(error, path) from error
        return digest, new

    def get(self, digest: str) -> bytes:
        """Return a blob's bytes.

        Raises:
            VerificationError: If the blob is missing or its bytes do not have its digest.
        """
        try:
            data = read_bytes(self.path(digest))
        except OSError as error:
            raise _read_error(digest, error) from error
        if sha256(data) != digest:
            raise _corrupt(digest)
        return data

    def read(self, digest: str) -> Iterator[bytes]:
        """Yield a blob's bytes in parts; VerificationError at the end if they are corrupt."""
        total = hashlib.sha256()
        try:
            with open_file(self.path(digest)) as file:
                while part := file.read(CHUNK):
                    total.update(part)
                    yield part
        except OSError as error:
            raise _read_error(digest, error) from error
        if total.hexdigest() != digest:
            raise _corrupt(digest)

    def write(self, digest: str, parts: Iterable[bytes]) -> None:
        """Store a blob from its parts, as durably as ``put``.

        Raises:
            VerificationError: If they do not have the digest; nothing is left behind.
            UVRError: If the disk is full or not writable.
        """
        try:
            write_atomically(self.path(digest), _checked(digest, parts), private=self._private)
        except OSError as error:
            raise _write_error(error, self.path(digest)) from error

    def touch(self, digest: str) -> None:
        """Let garbage collection wait for a grace period from now."""
        with contextlib.suppress(FileNotFoundError):  # The doctor reports a missing one.
            os.utime(self.path(digest))

    def discard(self, digest: str) -> None:
        """Delete a blob that no row names yet."""
        self.path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """Yield the digest of every blob, sorted."""
        for path in sorted(self.root.glob("??/*")):
            if is_digest(path.name) and path.parent.name == path.name[:2]:
                yield path.name

    def temporaries(self) -> list[Path]:
        """Return the files of writers that did not finish; while one writes, of that one too."""
        return sorted(self.root.glob(f"??/{TEMPORARY}*"))


def write_atomically(path: Path, data: bytes | Iterable[bytes], *, private: bool = False) -> None:
    """Write a file so that a reader finds the old bytes or all of the new, even after a crash."""
    if private:  # Each, as `parents` makes those above for everyone.
        for folder in reversed(path.parents[:3]):
            folder.mkdir(mode=0o700, exist_ok=True)
    for folder in (path.parent.parent, path.parent):
        folder.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    mode = 0o600 if private else 0o666
    with replacing(path, durable=True, partial=temporary, mode=mode) as file:
        for part in (data,) if isinstance(data, bytes) else data:
            file.write(part)
    sync(path.parent.parent)  # Its folder may be new too.


def _sync_names(path: Path) -> None:
    # A rename is durable once its folder is on disk.
    for folder in (path.parent, path.parent.parent):
        sync(folder)


def _checked(digest: str, parts: Iterable[bytes]) -> Iterator[bytes]:
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
        yield part
    if total.hexdigest() != digest:
        raise _corrupt(digest)


def _corrupt(digest: str) -> VerificationError:
    return VerificationError(
        f"Blob {digest[:12]} is corrupt: its bytes have another digest. "
        "Restore it from a backup, or collect the anchors again."
    )


def _read_error(digest: str, error: OSError) -> VerificationError:
    return VerificationError(f"Blob {digest[:12]} cannot be read: {error.strerror or error}.")


def _write_error(error: OSError, path: Path) -> UVRError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UVRError("The disk is full; the registry is unchanged. Free some space, try again.")
    return UVRError(f"Cannot write below '{path.parent}': {error.strerror or error}.")
