"""Content-addressed blobs: ``blobs/sha256/ab/<digest>``; a name is the SHA-256 of the bytes."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

from concepts.digest import is_digest, sha256
from concepts.errors import UVRError, VerificationError


class BlobStore:
    """Blobs below one folder. A blob is whole or absent; it never changes."""

    def __init__(self, root: Path) -> None:
        self.root = root / "sha256"

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
        if path.is_file() and sha256(path.read_bytes()) == digest:
            return digest, False
        new = not path.exists()
        try:
            write_atomically(path, data)
        except OSError as error:
            raise _write_error(error, path) from error
        return digest, new

    def get(self, digest: str) -> bytes:
        """Return a blob's bytes.

        Raises:
            VerificationError: If the blob is missing or its bytes do not have its digest.
        """
        try:
            data = self.path(digest).read_bytes()
        except OSError as error:
            raise VerificationError(f"Blob {digest[:12]} cannot be read: {error}.") from error
        if sha256(data) != digest:
            raise VerificationError(
                f"Blob {digest[:12]} is corrupt: its bytes have another digest. "
                "Restore it from a backup, or collect the anchors again."
            )
        return data

    def discard(self, digest: str) -> None:
        """Delete a blob that no row names yet."""
        self.path(digest).unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader finds the old bytes or all of the new, even after a crash."""
    for folder in (path.parent.parent, path.parent):
        folder.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".tmp-{secrets.token_hex(8)}"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:  # Ctrl-C too must leave no half-written file.
        temporary.unlink(missing_ok=True)
        raise
    for folder in (path.parent, path.parent.parent):
        _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    # A rename is durable once its folder is on disk.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_error(error: OSError, path: Path) -> UVRError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UVRError("The disk is full; the registry is unchanged. Free some space, try again.")
    return UVRError(f"Cannot write below '{path.parent}': {error.strerror or error}.")
