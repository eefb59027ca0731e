"""The bundle file: a release in one signed file with deterministic bytes and a strict reader.

The file is a ZIP archive without compression: ``anchors/<sha256>.safetensors`` for each distinct
scorer, ``keys/<version>.json`` for each signed key list that leads to the present keys, and
``manifest.dsse.json``, an envelope around the manifest and its signatures. The reader

1. refuses a file above the size cap,
2. checks the archive's headers and names and reads the envelope,
3. follows the chain of key lists from the trusted one and checks the signatures (a host keeps
   that list even if it refuses the rest, see ``followed_keys``),
4. reads the manifest strictly: its form, then sequence and expiry,
5. checks the file list, each file's digest, then its tensors,
6. writes the manifest again and compares, so that nothing else can hide in the file.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concepts.archive import Entry, pack, unpack
from concepts.bundle.manifest import Bundle, read_header, read_variant
from concepts.bundle.member import (
    lock_digest,
    locked_members,
)
from concepts.canonical import strict_json
from concepts.digest import sha256
from concepts.errors import (
    ExpiredError,
    NotFoundError,
    RollbackError,
    SignatureError,
    VerificationError,
)
from concepts.files import open_file
from concepts.signing.envelope import BUNDLE_TYPE, KEYS_TYPE, Envelope, read_envelope

if TYPE_CHECKING:  # It brings cryptography, which only signatures need.
    from concepts.signing.keys import KeyList

ENVELOPE = "manifest.dsse.json"
MAX_BYTES = 1 << 30
_FILE = re.compile(r"anchors/[0-9a-f]{64}\.safetensors|keys/[0-9]{4}\.json")


def write_bundle(bundle: Bundle) -> bytes:
    """Encode a bundle; the same bundle always gives the same bytes."""
    return pack({ENVELOPE: bundle.envelope.to_bytes(), **bundle.files})


def read_bundle(
    source: bytes | Path | str,
    keys: KeyList | None = None,
    *,
    max_bytes: int = MAX_BYTES,
    min_sequence: int = 0,
    at: str | None = None,
    registry: str | None = None,
) -> Bundle:
    """Decode a bundle, strictly; nothing of it is parsed before its signatures are checked.

    Args:
        source: The bytes, or the path of a file.
        keys: The keys that are trusted. None checks that the file is whole, and not who made it:
            do that only with files from a place that you trust.
        max_bytes: Larger files are refused unread.
        min_sequence: An older release than this is refused.
        at: The present, to refuse a bundle that has expired; None takes it whatever its age.
        registry: Id of the registry that must have made it, None for any.

    Returns:
        The bundle; its scorers are views of the file's bytes where their alignment allows.

    Raises:
        NotFoundError: If there is no such file.
        SignatureError: If too few of the trusted keys signed it.
        RollbackError, ExpiredError: If it is too old.
        VerificationError: For everything else that is wrong with it.
    """
    data = source if isinstance(source, bytes) else _read_file(Path(source), max_bytes)
    entries = _unpack(data, max_bytes)
    with _refusing("corrupt"):
        envelope = _read_entry(entries, ENVELOPE, BUNDLE_TYPE)
        key_lists = _read_chain(entries)
    if keys is not None:
        with _refusing("not to be trusted"):
            keys.follow(key_lists).require(envelope)
    with _refusing("corrupt"):
        manifest = strict_json(envelope.payload, "manifest")
        header = read_header(manifest)
    _check_release(header, min_sequence, at, registry)
    with _refusing("corrupt"):
        files = _check_files(manifest["files"], entries)
        variants = tuple(read_variant(item, files) for item in manifest["variants"])
        bundle = replace(
            header,
            variants=variants,
            key_lists=key_lists,
            signatures=envelope.signatures,
            digest="",
        )
        if lock_digest(locked_members(variants)) != bundle.lock_digest:
            raise VerificationError("its members are not the ones its lock covers.")
        if bundle.manifest() != envelope.payload:
            raise VerificationError("its manifest is not written as this project writes it.")
    return bundle


def followed_keys(data: bytes, keys: KeyList, *, max_bytes: int = MAX_BYTES) -> KeyList:
    """Return the key list that a bundle's chain leads to, whatever the rest of the bundle is.

    The chain is signed for itself, so that a revocation counts once it was delivered, even in a
    bundle that is refused.

    Raises:
        SignatureError: If a list of the chain is not signed by enough keys.
        VerificationError: If the file or the chain is corrupt.
    """
    entries = _unpack(data, max_bytes)
    with _refusing("corrupt"):
        key_lists = _read_chain(entries)
    with _refusing("not to be trusted"):
        return keys.follow(key_lists)


def _unpack(data: bytes, max_bytes: int) -> dict[str, Entry]:
    if len(data) > max_bytes:
        raise VerificationError(f"The bundle has {len(data)} bytes, allowed: {max_bytes}.")
    with _refusing("corrupt"):
        return unpack(data, ENVELOPE, _FILE)


def _read_chain(entries: Mapping[str, Entry]) -> tuple[Envelope, ...]:
    chain = [name for name in entries if name.startswith("keys/")]
    return tuple(_read_entry(entries, name, KEYS_TYPE) for name in chain)


def _check_release(bundle: Bundle, min_sequence: int, at: str | None, registry: str | None) -> None:
    what = f"Release {bundle.name}@{bundle.sequence}"
    if registry is not None and bundle.registry != registry:
        raise VerificationError(
            f"{what} is of registry '{bundle.registry or 'none'}', '{registry}' is expected. Take "
            "it from there, or forget the registry seen before."
        )
    if bundle.sequence < min_sequence:
        raise RollbackError(
            f"{what} is older than release {min_sequence}, which was seen before. Publish the old "
            "content as a new release."
        )
    if at is not None and bundle.expired_at(at):
        raise ExpiredError(f"{what} expired at {bundle.expires}. Release it again.")


def _read_entry(entries: Mapping[str, Entry], name: str, payload_type: str) -> Envelope:
    entries[name].check(name)
    return read_envelope(entries[name].data, payload_type)


def _check_files(listed: Any, entries: Mapping[str, Entry]) -> dict[str, memoryview]:
    names = set(entries) - {ENVELOPE}
    if not isinstance(listed, dict) or set(listed) != names:
        raise VerificationError("its files are not the ones the manifest lists.")
    for name in names:
        entry = entries[name]
        entry.check(name)
        digest = sha256(entry.data)
        if listed[name] != {"sha256": digest, "size": len(entry.data)}:
            raise VerificationError(f"the file '{name}' does not have the listed digest.")
        if name.startswith("anchors/") and digest not in name:
            raise VerificationError(f"the file '{name}' is not named after its digest.")
    return {name: entries[name].data for name in names}


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Turn whatever broken bytes raise into one error that says what is wrong with the bundle."""
    try:
        yield
    except SignatureError as error:
        raise SignatureError(f"The bundle is {what}: {error}") from error
    except VerificationError as error:
        raise VerificationError(f"The bundle is {what}: {error}") from error
    except _BROKEN as error:
        raise VerificationError(f"The bundle is {what}: {error}.") from error


# What the parsers and the dataclasses raise for bytes that are not what they should be.
_BROKEN = (
    struct.error, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError,
    ValueError,
)  # fmt: skip


def _read_file(path: Path, max_bytes: int) -> bytes:
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                raise VerificationError(f"The bundle has {size} bytes, allowed: {max_bytes}.")
            # One byte more than it has, so that a file that grows meanwhile is not cut silently.
            return file.read(size + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"No bundle file at '{path}'.") from error
    except OSError as error:
        raise VerificationError(f"'{path}' cannot be read: {error.strerror}.") from error
