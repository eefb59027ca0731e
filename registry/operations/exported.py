"""An exported concept as its file holds it, read strictly: every part checked, none left over."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concepts.anchors import AnchorSet
from concepts.archive import unpack
from concepts.canonical import canonical_json, strict_json
from concepts.definition import ConceptDefinition
from concepts.digest import sha256
from concepts.errors import NotFoundError, UVRError, VerificationError
from concepts.files import open_file
from concepts.scorer import Scorer
from concepts.tensors import read_tensors
from registry.versions.adding import content_digest

FORMAT = "uvr-concept/1"
MAX_BYTES = 1 << 30
"""Of one file, unless its reader says otherwise."""
ABOUT = "concept.json"
_BLOB = re.compile(r"blobs/[0-9a-f]{64}")
# What reading a file that is none of ours raises.
_BROKEN = (
    UVRError, struct.error, ArithmeticError, AttributeError, LookupError, RecursionError,
    TypeError, ValueError,
)  # fmt: skip


@dataclass(frozen=True)
class ExportedCollection:
    """Anchors and scorer of a version in one space, checked, with their bytes."""

    anchors: AnchorSet
    scorer: Scorer
    blob: bytes
    scorer_blob: bytes

    @property
    def content(self) -> dict[str, str]:
        """What a version's content digest covers of it."""
        return {
            "space": self.anchors.space.digest,
            "anchors": self.anchors.digest,
            "scorer": self.scorer.digest,
        }


@dataclass(frozen=True)
class ExportedVersion:
    """A version of an exported concept, checked."""

    definition: ConceptDefinition
    text: str
    content_digest: str
    collections: tuple[ExportedCollection, ...]


@dataclass(frozen=True)
class Exported:
    """An exported concept, checked."""

    registry: str
    definition: ConceptDefinition
    versions: tuple[ExportedVersion, ...]


def read_exported(path: Path, max_bytes: int = MAX_BYTES) -> Exported:
    """Read an exported concept, strictly.

    Raises:
        NotFoundError: If there is no such file.
        VerificationError: If it is not an exported concept, is damaged, or is too large.
    """
    try:
        with open_file(path) as file:
            data = file.read(max_bytes + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"No exported concept at '{path}'.") from error
    except OSError as error:
        raise VerificationError(f"'{path}' cannot be read: {error.strerror or error}.") from error
    if len(data) > max_bytes:
        raise VerificationError(f"'{path}' is larger than the {max_bytes} bytes allowed.")
    try:
        return _decode(data)
    except _BROKEN as error:
        raise VerificationError(
            f"'{path}' is not an exported concept, or is damaged: {error}"
        ) from error


def _decode(data: bytes) -> Exported:
    entries = unpack(data, ABOUT, _BLOB)
    for name, entry in entries.items():
        entry.check(name)
    text = bytes(entries.pop(ABOUT).data)
    blobs = {name.removeprefix("blobs/"): bytes(entry.data) for name, entry in entries.items()}
    about = strict_json(text, "exported concept")
    _expect(about, {"format", "registry", "definition", "versions"})
    if about["format"] != FORMAT or canonical_json(about) != text:
        raise ValueError(f"format '{FORMAT}' in canonical JSON is expected")
    for digest, blob in blobs.items():
        if sha256(blob) != digest:
            raise ValueError(f"blob {digest[:12]} does not have its digest")
    definition = ConceptDefinition.from_dict(about["definition"])
    versions = tuple(_decode_version(item, blobs, definition.slug) for item in about["versions"])
    used = {
        sha256(part) for v in versions for c in v.collections for part in (c.blob, c.scorer_blob)
    }
    if used != set(blobs):
        raise ValueError("it holds blobs that no version needs")
    if len({item.content_digest for item in versions}) != len(versions):
        raise ValueError("a version occurs twice")
    return Exported(str(about["registry"]), definition, versions)


def _decode_version(item: Any, blobs: Mapping[str, bytes], slug: str) -> ExportedVersion:
    _expect(item, {"number", "definition", "content_digest", "collections"})
    definition = ConceptDefinition.from_dict(item["definition"])
    if definition.slug != slug:
        raise ValueError(f"a version is of '{definition.slug}', not of '{slug}'")
    collections = tuple(_decode_collection(entry, blobs) for entry in item["collections"])
    spaces = {entry.anchors.space.digest for entry in collections}
    if not collections or len(spaces) != len(collections):
        raise ValueError("a version has no anchors, or an anchor space twice")
    text = canonical_json(item["definition"]).decode()
    if content_digest(text, [entry.content for entry in collections]) != item["content_digest"]:
        raise ValueError("a version does not have its content digest")
    return ExportedVersion(definition, text, item["content_digest"], collections)


def _decode_collection(item: Any, blobs: Mapping[str, bytes]) -> ExportedCollection:
    _expect(item, {"space", "anchors", "scorer", "blob", "scorer_json", "scorer_blob"})
    blob, scorer_blob = blobs[item["blob"]], blobs[item["scorer_blob"]]
    scorer = Scorer.from_tensors(item["scorer_json"], read_tensors(scorer_blob))
    collection = ExportedCollection(AnchorSet.from_bytes(blob), scorer, blob, scorer_blob)
    if collection.content != {name: item[name] for name in ("space", "anchors", "scorer")}:
        raise ValueError("anchors or a scorer do not have their digest")
    if scorer.dim != collection.anchors.space.dim:
        raise ValueError("a scorer has other dimensions than its anchor space")
    return collection


def _expect(item: Any, keys: set[str]) -> None:
    if not isinstance(item, dict) or set(item) != keys:
        raise ValueError(f"a part of it does not have exactly the keys {sorted(keys)}")
