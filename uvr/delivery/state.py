"""What a host has accepted so far, on disk: the highest release, its keys and its file.

1. ``accept`` writes ``bundle.uvr`` (the last known good), then ``state.json``; each write is atomic
   and durable. A process killed in between leaves a bundle ahead of its record, which the next
   start verifies and records. Never is the record ahead of the bundle.
2. Writers hold ``lock``, so that the workers of one server may share a folder; none of them takes
   the record back to an older release, an older key list, or another bundle.
3. ``trust`` records a newer key list at once, whatever becomes of the bundle that brought it, so
   that a revocation holds from the moment it was delivered.
4. A release's number binds for as long as the keys that signed it would still be believed. Once
   they are revoked, a huge number by a stolen key no longer bars the way (TUF's recovery from
   fast-forward attacks).
5. A record that is not exactly what was written is an error: a host that forgot what it had
   accepted would accept an old release again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from concepts.canonical import canonical_json
from concepts.digest import is_digest, sha256
from concepts.document import read_document
from concepts.errors import RollbackError, VerificationError
from concepts.instant import is_instant
from concepts.plain import require_format, require_keys
from concepts.signing.keys import KeyList
from uvr.delivery.folder import StateFolder

FORMAT = "uvr-source/1"
RECORD, BUNDLE = "state.json", "bundle.uvr"
MAX_JUMP = 1_000_000
"""Release numbers that may be left out: one near the largest would bar all that follow."""
MAX_RECORD_BYTES = 1 << 20
_TEXTS = ("name", "registry", "digest", "etag", "checked_at")


@dataclass(frozen=True)
class Accepted:
    """What a host has accepted from a location: the newest release and the newest key list.

    Attributes:
        name: Name of the bundle, "" before the first one.
        registry: Id of the registry that released it.
        sequence: Release number, 0 before the first one.
        digest: Digest of the bundle.
        keys: The keys that are trusted now; None where only the integrity is checked.
        signers: Ids of the keys that the release was accepted for, sorted.
        etag: Validator of its file at the location.
        checked_at: When the location was last seen to offer it.
    """

    name: str = ""
    registry: str = ""
    sequence: int = 0
    digest: str = ""
    keys: KeyList | None = None
    signers: tuple[str, ...] = ()
    etag: str = ""
    checked_at: str = ""

    @property
    def floor(self) -> int:
        """The lowest release number that may still be accepted.

        0 if the keys trusted now would not accept the recorded release: its number may be the work
        of a key that was stolen and then revoked, and what they do accept is the publisher's.
        """
        if self.keys is None:
            return self.sequence
        believed = sum(self.keys.find(key_id) is not None for key_id in self.signers)
        return self.sequence if believed >= self.keys.threshold else 0

    def continued_by(self, given: Accepted) -> Accepted:
        """Go on from this record with what a host was given, or has accepted itself.

        Of the two key lists the newer one holds. The record's release holds, unless the host has
        accepted a later one: then the folder was put back, and what was seen is not forgotten.

        Raises:
            VerificationError: The record is of another bundle or of other keys.
        """
        self._check_same(given)
        if given.keys is None and self.keys is not None:
            raise VerificationError(
                "Signatures were checked here before, and no keys are given now. Pass the key list."
            )
        keys = _newer(self.keys, given.keys)
        own = given.digest == self.digest or replace(given, keys=keys).floor > self.sequence
        return replace(given if own else self, name=self.name or given.name, keys=keys)

    def check_offered(self, name: str, sequence: int, digest: str) -> None:
        """Check that a verified bundle, not older than ``floor``, may follow this release.

        Raises:
            VerificationError: It is another bundle, another release of this number, or one of a
                number that no registry reaches.
        """
        if self.name not in ("", name):
            raise VerificationError(
                f"The bundle is named '{name}', '{self.name}' is expected: releases of different "
                "bundles are numbered apart and cannot follow each other."
            )
        if sequence == self.floor and digest != self.digest:
            raise _two_releases(sequence, self.digest, digest)
        if sequence - self.floor > MAX_JUMP:
            raise VerificationError(
                f"Release {sequence} comes more than {MAX_JUMP} after release {self.floor}: no "
                "registry makes so many. Ask the publisher whether a key was stolen."
            )

    def check_followed_by(self, new: Accepted) -> None:
        """Check that another record may take the place of this one.

        Raises:
            RollbackError: It is of an older release, or trusts an older key list.
            VerificationError: It is of another bundle, or of another release of this number.
        """
        self._check_same(new)
        if _newer(self.keys, new.keys) != new.keys:
            raise RollbackError(
                f"Key list {self.keys.version if self.keys else 0} has become trusted here in the "
                "meantime; the bundle was checked with an older one."
            )
        floor = replace(self, keys=new.keys).floor
        if floor > new.sequence:
            raise RollbackError(
                f"Release {new.sequence} is older than {floor}, which another process has accepted."
            )
        if floor == new.sequence and self.digest != new.digest:
            raise _two_releases(new.sequence, self.digest, new.digest)

    def _check_same(self, other: Accepted) -> None:
        for what in ("name", "registry"):
            found, expected = getattr(self, what), getattr(other, what)
            if found and expected and found != expected:
                raise VerificationError(
                    f"The state is of the {'bundle' if what == 'name' else what} '{found}', "
                    f"'{expected}' is expected. Use another state folder for it."
                )

    def to_bytes(self) -> bytes:
        """Encode as JSON that carries its own digest."""
        plain: dict[str, Any] = {name: getattr(self, name) for name in _TEXTS}
        plain |= {"format": FORMAT, "sequence": self.sequence}
        plain["signers"] = list(self.signers)
        plain["keys"] = None if self.keys is None else self.keys.to_dict()
        return canonical_json({**plain, "check": sha256(canonical_json(plain))})

    @classmethod
    def from_bytes(cls, data: bytes) -> Accepted:
        """Decode ``to_bytes``; VerificationError for anything else."""
        return read_document(data, "record", _decode, MAX_RECORD_BYTES)


def _decode(plain: Any) -> Accepted:
    require_keys(plain, (*_TEXTS, "format", "sequence", "signers", "keys", "check"))
    require_format(plain["format"], FORMAT)
    texts = {name: plain[name] for name in _TEXTS}
    sequence, keys, signers = plain["sequence"], plain["keys"], plain["signers"]
    if not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("a text is expected")
    if not isinstance(sequence, int) or isinstance(sequence, bool) or sequence < 0:
        raise ValueError("a sequence is expected")
    # Without a release there is only a key list.
    if sequence and not (is_digest(texts["digest"]) and is_instant(texts["checked_at"])):
        raise ValueError("a digest and an instant are expected")
    if not isinstance(signers, list) or not all(is_digest(key_id) for key_id in signers):
        raise ValueError("signers must be a list of 64 hex digits each")
    return Accepted(
        **texts,
        sequence=sequence,
        keys=None if keys is None else KeyList.from_dict(keys),
        signers=tuple(signers),
    )


def _newer(one: KeyList | None, other: KeyList | None) -> KeyList | None:
    """Return the newer of two key lists; VerificationError for two of one version."""
    if one is None or other is None or one == other:
        return one or other
    if one.version == other.version:
        raise VerificationError(
            f"Key list {other.version} is not the key list {one.version} that was trusted here "
            "before. Use another state folder to start anew with it."
        )
    return max(one, other, key=lambda keys: keys.version)


class TrustState:
    """The folder that holds what a host has accepted from one location."""

    def __init__(self, folder: Path) -> None:
        self.folder = StateFolder(folder)
        self.bundle = folder / BUNDLE

    def load(self) -> Accepted | None:
        """Return the record, None before the first.

        Raises:
            VerificationError: The record is damaged.
        """
        data = self.folder.read(RECORD)
        if data is None:
            return None
        try:
            return Accepted.from_bytes(data)
        except VerificationError as error:
            raise VerificationError(
                f"The record of accepted releases '{self.folder.path / RECORD}' is damaged. "
                f"{error} Restore it; or, only if the location is sure to offer the newest "
                f"release, remove '{self.folder.path}'."
            ) from error

    def load_bundle(self) -> bytes | None:
        """Return the bytes of the last known good, None before the first; not verified."""
        return self.folder.read(BUNDLE)

    def accept(self, accepted: Accepted, data: bytes) -> None:
        """Record a verified release.

        Raises:
            RollbackError: Another process has accepted a newer release or key list meanwhile.
            VerificationError: Another process has accepted another bundle here.
            UVRError: The folder cannot be written.
        """
        with self.folder.locked():
            before = self.load()
            if before is not None:
                before.check_followed_by(accepted)
            self.folder.write(BUNDLE, data)
            self._write(accepted)

    def trust(self, accepted: Accepted) -> None:
        """Record a newer key list, and nothing else of it; UVRError if that cannot be written."""
        with self.folder.locked():
            before = self.load() or Accepted(name=accepted.name)
            if _newer(before.keys, accepted.keys) != before.keys:
                self._write(replace(before, keys=accepted.keys))

    def checked(self, accepted: Accepted) -> None:
        """Record when the location was checked, unless another process has gone on."""
        with self.folder.locked():
            before = self.load()
            if before is not None and before.digest == accepted.digest:
                # Also back in time: a clock that was ahead once must not count for ever.
                self._write(replace(before, checked_at=accepted.checked_at, etag=accepted.etag))

    def _write(self, accepted: Accepted) -> None:
        self.folder.write(RECORD, accepted.to_bytes())


def _two_releases(sequence: int, before: str, now: str) -> VerificationError:
    """The error for two releases of one number, which an honest registry never makes."""
    return VerificationError(
        f"Release {sequence} was accepted with digest {before[:12]} and is offered with digest "
        f"{now[:12]}. A release never changes: ask the publisher which one is theirs."
    )
