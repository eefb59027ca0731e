"""Bundles: what an engine needs to regulate, in one deterministic file with a strict reader.

The file is a ZIP archive without compression: ``manifest.json`` (canonical JSON) and one
safetensors file for each scorer, ``anchors/<sha256>.safetensors``. The reader

1. refuses a file above the size cap,
2. checks the archive's names, sizes and that nothing is compressed,
3. reads the manifest strictly and checks the file list against it,
4. checks each file's digest, then its tensors,
5. writes the bundle again and compares every byte, so that nothing else can hide in the file.
"""

from __future__ import annotations

import re
import struct
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concepts.anchors import AnchorSpace, Scorer
from concepts.archive import pack, unpack
from concepts.digest import (
    canonical_json,
    is_digest,
    json_digest,
    read_tensors,
    sha256,
    strict_json,
    write_tensors,
)
from concepts.errors import MismatchError, NotFoundError, VerificationError
from concepts.fields import CATEGORIES, MAX_SLUG, SLUG

FORMAT = "uvr-bundle/1"
MODES = ("enforce", "observe")
MANIFEST = "manifest.json"
MAX_BYTES = 1 << 30
MAX_MANIFEST_BYTES = 64 << 20
_FILE = re.compile(r"anchors/[0-9a-f]{64}\.safetensors")


@dataclass(frozen=True)
class Member:
    """One concept of a bundle: which version, and what scores it.

    Attributes:
        slug: The concept.
        name: Name to display.
        category: Category of its definition.
        version: Version number in the registry, from 1.
        content_digest: Digest of that version's content.
        scorer: What scores a patch.
        mode: "enforce", or "observe" to report without regulating.
    """

    slug: str
    name: str
    category: str
    version: int
    content_digest: str
    scorer: Scorer
    mode: str = "enforce"

    def __post_init__(self) -> None:
        _check_name(self.slug)
        if not isinstance(self.name, str) or not self.name:
            raise ValueError("a member needs a name")
        if self.category not in CATEGORIES:
            raise ValueError(f"category is {self.category!r}, allowed: {', '.join(CATEGORIES)}")
        _check_count("version", self.version)
        if not is_digest(self.content_digest):
            raise ValueError("content_digest must be 64 hex digits")
        if self.mode not in MODES:
            raise ValueError(f"mode is {self.mode!r}, allowed: {', '.join(MODES)}")


@dataclass(frozen=True)
class BundleVariant:
    """The members of a bundle for one anchor space, sorted by slug."""

    space: AnchorSpace
    members: tuple[Member, ...]

    def __post_init__(self) -> None:
        members = tuple(sorted(self.members, key=lambda member: member.slug))
        object.__setattr__(self, "members", members)
        if not members:
            raise ValueError("a bundle variant needs at least one member")
        if len({member.slug for member in members}) != len(members):
            raise ValueError("a concept occurs twice in one bundle variant")
        for member in members:
            if member.scorer.dim != self.space.dim:
                raise ValueError(
                    f"the scorer of '{member.slug}' has {member.scorer.dim} dimensions, "
                    f"its space {self.space.dim}"
                )


@dataclass(frozen=True)
class Bundle:
    """A release, ready for an engine.

    Attributes:
        name: Name of the bundle.
        sequence: Release number, from 1.
        lock_digest: Digest of the locked members; see ``lock_digest``.
        variants: One for each anchor space, sorted by task, model and digest.
        digest: SHA-256 of the manifest, which covers every file; worked out when left empty.
    """

    name: str
    sequence: int
    lock_digest: str
    variants: tuple[BundleVariant, ...]
    digest: str = ""

    def __post_init__(self) -> None:
        _check_name(self.name)
        _check_count("sequence", self.sequence)
        if not is_digest(self.lock_digest):
            raise ValueError("lock_digest must be 64 hex digits")
        variants = tuple(sorted(self.variants, key=_variant_order))
        object.__setattr__(self, "variants", variants)
        if not variants:
            raise ValueError("a bundle needs at least one variant")
        if len({variant.space.digest for variant in variants}) != len(variants):
            raise ValueError("an anchor space occurs twice in the bundle")
        models = [(v.space.model, v.space.task, v.space.revision) for v in variants]
        if len(set(models)) != len(models):
            raise ValueError("two variants are for the same model, task and revision")
        digest = sha256(_manifest(self, _files(self)))
        if self.digest not in ("", digest):
            raise ValueError("the digest is not that of the bundle; leave it empty")
        object.__setattr__(self, "digest", digest)

    def variant_for(self, model: str, task: str, revision: str | None = None) -> BundleVariant:
        """Return the variant for a model and task.

        Args:
            model: Name of the model profile.
            task: "t2i" or "edit".
            revision: Digest of the model's weights, None for any. A variant whose space names
                no revision fits every one.

        Raises:
            MismatchError: Says what the bundle holds and what was asked for.
        """
        same = [v for v in self.variants if (v.space.model, v.space.task) == (model, task)]
        fits = [v for v in same if not revision or v.space.revision in ("", revision)]
        if len(fits) == 1:
            return fits[0]
        wanted = f"model '{model}', task '{task}'"
        if same:
            found = ", ".join(f"'{v.space.revision or 'any'}'" for v in same)
            raise MismatchError(
                f"Bundle '{self.name}' release {self.sequence} has anchors for {wanted} of "
                f"revision {found}, not for '{revision or 'any'}'. "
                "Collect anchors on these weights, or name the revision."
            )
        found = ", ".join(sorted(f"'{v.space.model}' {v.space.task}" for v in self.variants))
        raise MismatchError(
            f"Bundle '{self.name}' release {self.sequence} has no anchors for {wanted}; "
            f"it has {found}. Collect anchors for this model and release again."
        )


def lock_digest(members: Iterable[tuple[str, int, str, str]]) -> str:
    """Return the digest of the locked members, in any order.

    Args:
        members: For each member its slug, version number, content digest and mode.
    """
    return json_digest(sorted([list(member) for member in set(members)]))


def write_bundle(bundle: Bundle) -> bytes:
    """Encode a bundle; the same bundle always gives the same bytes."""
    files = _files(bundle)
    entries = {MANIFEST: _manifest(bundle, files), **files}
    return pack(entries)


def read_bundle(source: bytes | Path | str, max_bytes: int = MAX_BYTES) -> Bundle:
    """Decode a bundle, strictly.

    Args:
        source: The bytes, or the path of a file.
        max_bytes: Larger files are refused unread.

    Raises:
        NotFoundError: If there is no such file.
        VerificationError: For everything else that is wrong with it.
    """
    data = source if isinstance(source, bytes) else _read_file(Path(source), max_bytes)
    if len(data) > max_bytes:
        raise VerificationError(f"The bundle has {len(data)} bytes, allowed: {max_bytes}.")
    try:
        bundle = _decode(unpack(data, MANIFEST, _FILE))
        same = write_bundle(bundle) == data
    except VerificationError as error:
        raise VerificationError(f"The bundle is corrupt: {error}") from error
    except _BROKEN as error:
        raise VerificationError(f"The bundle is corrupt: {error}.") from error
    if not same:
        raise VerificationError("The bundle is corrupt: it holds bytes its manifest does not list.")
    return bundle


# What zipfile and the dataclasses raise for bytes that are not what they should be.
_BROKEN = (
    zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, struct.error,
    ArithmeticError, AttributeError, LookupError, TypeError, ValueError,
)  # fmt: skip


def _read_file(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"No bundle file at '{path}'.") from error
    except OSError as error:
        raise VerificationError(f"'{path}' cannot be read: {error.strerror}.") from error


def _decode(entries: dict[str, bytes]) -> Bundle:
    text = entries.pop(MANIFEST)
    if len(text) > MAX_MANIFEST_BYTES:
        raise VerificationError("the manifest is too large.")
    manifest = strict_json(text, "manifest")
    _expect(manifest, {"format", "name", "sequence", "lock", "variants", "files"})
    if manifest["format"] != FORMAT:
        raise VerificationError(f"format {manifest['format']!r} found, '{FORMAT}' expected.")
    _check_files(manifest["files"], entries)
    variants = tuple(_decode_variant(item, entries) for item in manifest["variants"])
    bundle = Bundle(manifest["name"], manifest["sequence"], manifest["lock"], variants)
    members = [m for variant in bundle.variants for m in variant.members]
    locked = [(m.slug, m.version, m.content_digest, m.mode) for m in members]
    if lock_digest(locked) != bundle.lock_digest:
        raise VerificationError("its members are not the ones its lock covers.")
    return bundle


def _check_files(listed: Mapping[str, Mapping[str, Any]], entries: Mapping[str, bytes]) -> None:
    if set(listed) != set(entries):
        raise VerificationError("its files are not the ones the manifest lists.")
    for name, data in entries.items():
        if listed[name] != {"sha256": sha256(data), "size": len(data)}:
            raise VerificationError(f"the file '{name}' does not have the listed digest.")


def _decode_variant(item: Any, entries: Mapping[str, bytes]) -> BundleVariant:
    _expect(item, {"space", "members"})
    return BundleVariant(
        AnchorSpace.from_dict(item["space"]),
        tuple(_decode_member(member, entries) for member in item["members"]),
    )


def _decode_member(item: Any, entries: Mapping[str, bytes]) -> Member:
    _expect(
        item,
        {"slug", "name", "category", "version", "content_digest", "mode", "scorer", "file"},
    )
    tensors = read_tensors(entries[item.pop("file")])
    return Member(**{**item, "scorer": Scorer.from_tensors(item["scorer"], tensors)})


def _files(bundle: Bundle) -> dict[str, bytes]:
    members = (member for variant in bundle.variants for member in variant.members)
    payloads = (_payload(member) for member in members)
    return {_file_name(payload): payload for payload in payloads}


def _payload(member: Member) -> bytes:
    return write_tensors(member.scorer.to_tensors())


def _file_name(payload: bytes) -> str:
    return f"anchors/{sha256(payload)}.safetensors"


def _manifest(bundle: Bundle, files: Mapping[str, bytes]) -> bytes:
    listed = {n: {"sha256": sha256(data), "size": len(data)} for n, data in files.items()}
    variants = [
        {
            "space": variant.space.to_dict(),
            "members": [_encode_member(member) for member in variant.members],
        }
        for variant in bundle.variants
    ]
    return canonical_json(
        {
            "format": FORMAT,
            "name": bundle.name,
            "sequence": bundle.sequence,
            "lock": bundle.lock_digest,
            "variants": variants,
            "files": listed,
        }
    )


def _encode_member(member: Member) -> dict[str, Any]:
    names = ("slug", "name", "category", "version", "content_digest", "mode")
    return {
        **{name: getattr(member, name) for name in names},
        "scorer": member.scorer.to_dict(),
        "file": _file_name(_payload(member)),
    }


def _variant_order(variant: BundleVariant) -> tuple[str, str, str]:
    return (variant.space.task, variant.space.model, variant.space.digest)


def _expect(item: object, keys: set[str]) -> None:
    if not isinstance(item, dict) or set(item) != keys:
        raise VerificationError(f"a part of the manifest lacks or adds keys to {sorted(keys)}.")


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not SLUG.fullmatch(name) or len(name) > MAX_SLUG:
        raise ValueError(f"{name!r} is not a name of lower-case words joined by hyphens")


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1, not {value!r}")
