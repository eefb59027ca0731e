"""What a host has accepted so far, on disk: the highest release, its keys and its file.

1. ``accept`` writes ``bundle.uvr`` (the last known good), then ``state.json``; each write is atomic
   and durable. A process killed in between leaves a bundle ahead of its record, which the next
   start verifies and records. Never is the record ahead of the bundle.
2. Writers hold ``lock``, so that the workers of one server may share a folder; none of them takes
   the record back to an older release.
3. A record that is not exactly what was written is an error: a host that forgot what it had
   accepted would accept an old release again.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from concepts.digest import canonical_json, is_digest, sha256, strict_json
from concepts.errors import RollbackError, UVRError, VerificationError
from concepts.files import sync, write_file
from concepts.instant import is_instant
from concepts.keys import KeyList

FORMAT = "uvr-source/1"
_TEXTS = ("name", "registry", "digest", "etag", "checked_at")


@dataclass(frozen=True)
class Accepted:
    """The newest release that a host has accepted from a location.

    Attributes:
        name: Name of the bundle, "" before the first one.
        registry: Id of the registry that released it.
        sequence: Release number, 0 before the first one.
        digest: Digest of the bundle.
        keys: The keys that are trusted now; None where only the integrity is checked.
        etag: Validator of its file at the location.
        checked_at: When the location was last seen to offer it.
    """

    name: str = ""
    registry: str = ""
    sequence: int = 0
    digest: str = ""
    keys: KeyList | None = None
    etag: str = ""
    checked_at: str = ""

    def continued_by(self, given: Accepted) -> Accepted:
        """Go on from this record with the name and the key list that a host was given.

        Of the record's key list and the host's, the newer one holds.

        Raises:
            VerificationError: The record is of another bundle or of other keys.
        """
        if given.name not in ("", self.name):
            raise VerificationError(
                f"The state is of the bundle '{self.name}', '{given.name}' is expected."
            )
        if given.keys is None and self.keys is not None:
            raise VerificationError(
                "Signatures were checked here before, and no keys are given now. Pass the key list."
            )
        if self.keys is None or given.keys is None or given.keys.version > self.keys.version:
            return replace(self, keys=given.keys)
        if given.keys.version == self.keys.version and given.keys != self.keys:
            raise VerificationError(
                f"Key list {given.keys.version} is not the key list {self.keys.version} that was "
                "trusted here before. Use another state folder to start anew with it."
            )
        return self

    def to_bytes(self) -> bytes:
        """Encode as JSON that carries its own digest."""
        plain: dict[str, Any] = {name: getattr(self, name) for name in _TEXTS}
        plain |= {"format": FORMAT, "sequence": self.sequence}
        plain["keys"] = None if self.keys is None else self.keys.to_dict()
        return canonical_json({**plain, "check": sha256(canonical_json(plain))})

    @classmethod
    def from_bytes(cls, data: bytes) -> Accepted:
        """Decode ``to_bytes``; VerificationError for anything else."""
        plain = strict_json(data, "state")
        try:
            found = _decoded(plain)
            same = found.to_bytes() == data
        except (ValueError, TypeError, KeyError) as error:
            raise VerificationError(f"it is not valid ({error})") from error
        if not same:
            raise VerificationError("its bytes are not those that were written")
        return found


def _decoded(plain: Mapping[str, Any]) -> Accepted:
    if not isinstance(plain, Mapping) or plain["format"] != FORMAT:
        raise ValueError(f"format '{FORMAT}' is expected")
    texts = {name: plain[name] for name in _TEXTS}
    sequence, keys = plain["sequence"], plain["keys"]
    if not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("a text is expected")
    if not isinstance(sequence, int) or isinstance(sequence, bool) or sequence < 1:
        raise ValueError("a sequence from 1 is expected")
    if not is_digest(texts["digest"]) or not is_instant(texts["checked_at"]):
        raise ValueError("a digest and an instant are expected")
    return Accepted(
        **texts, sequence=sequence, keys=None if keys is None else KeyList.from_dict(keys)
    )


class TrustState:
    """The folder that holds what a host has accepted from one location."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = folder / "state.json"
        self.bundle = folder / "bundle.uvr"

    def load(self) -> Accepted | None:
        """Return the record, None before the first release.

        Raises:
            VerificationError: The record is damaged.
        """
        data = self._read(self.record)
        if data is None:
            return None
        try:
            return Accepted.from_bytes(data)
        except VerificationError as error:
            raise VerificationError(
                f"The record of accepted releases '{self.record}' is damaged: {error}. Restore "
                f"it; or, only if the location is sure to offer the newest release, remove "
                f"'{self.folder}'."
            ) from error

    def load_bundle(self) -> bytes | None:
        """Return the bytes of the last known good, None before the first; not verified."""
        return self._read(self.bundle)

    def accept(self, accepted: Accepted, data: bytes) -> None:
        """Record a verified release.

        Raises:
            RollbackError: Another process has accepted a newer release in the meantime.
            UVRError: The folder cannot be written.
        """
        with self._locked():
            before = self.load() or Accepted()
            if before.sequence > accepted.sequence:
                raise RollbackError(
                    f"Release {accepted.sequence} is older than {before.sequence}, which another "
                    "process has accepted."
                )
            if before.sequence == accepted.sequence and before.digest != accepted.digest:
                raise two_releases(accepted.sequence, before.digest, accepted.digest)
            write_file(self.bundle, data, durable=True)
            write_file(self.record, accepted.to_bytes(), durable=True)

    def checked(self, accepted: Accepted) -> None:
        """Record when the location was checked, unless another process is ahead."""
        with self._locked():
            before = self.load()
            if before is not None and before.digest == accepted.digest:
                at = max(before.checked_at, accepted.checked_at)
                write_file(self.record, replace(accepted, checked_at=at).to_bytes(), durable=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._make_folder()
            with (self.folder / "lock").open("a") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # It ends with the file, or with the process.
                yield
        except OSError as error:
            raise UVRError(
                f"The state folder '{self.folder}' cannot be written: {error.strerror}."
            ) from error

    def _make_folder(self) -> None:
        if not self.folder.is_dir():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync(self.folder.parent)

    def _read(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UVRError(f"'{path}' cannot be read: {error.strerror}.") from error


def two_releases(sequence: int, before: str, now: str) -> VerificationError:
    """The error for two releases of one number, which an honest registry never makes."""
    return VerificationError(
        f"Release {sequence} was accepted with digest {before[:12]} and is offered with digest "
        f"{now[:12]}. A release never changes: ask the publisher which one is theirs."
    )
