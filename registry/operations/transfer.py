"""Concepts between registries: one file with a concept's versions, digests intact.

The file is a plain archive (``concepts.archive``): ``blobs/<digest>`` for each blob and
``concept.json``, canonical JSON with the definitions, scorers and digests. Exemplars stay
behind, since a legal basis holds for one registry only; so do revoked versions, and evaluations,
which the registry that recorded them vouches for: another one measures again.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.anchors import AnchorSet
from concepts.archive import pack, unpack
from concepts.canonical import canonical_json, strict_json
from concepts.content_rules import refuse_minors
from concepts.definition import ConceptDefinition
from concepts.digest import sha256
from concepts.errors import ConflictError, NotFoundError, UVRError, VerificationError
from concepts.files import open_file, write_file
from concepts.scorer import Scorer
from concepts.tensors import read_tensors
from registry.change.policy import policy_row
from registry.change.work import Work
from registry.change.workspace import Workspace
from registry.store.models import Concept, ConceptVersion
from registry.versions.adding import (
    about_definition,
    add_collection,
    content_digest,
    insert_concept,
    join_authors,
    refuse_other_category,
    wrote_before,
)
from registry.versions.quorum import authors_of
from registry.versions.reading import find_concept, latest_version, stored_anchors

FORMAT = "uvr-concept/1"
MAX_BYTES = 1 << 30
ABOUT = "concept.json"
_BLOB = re.compile(r"blobs/[0-9a-f]{64}")
_BROKEN = (
    UVRError, struct.error, ArithmeticError, AttributeError, LookupError, RecursionError,
    TypeError, ValueError,
)  # fmt: skip


@dataclass(frozen=True)
class ImportInfo:
    """What an import brought.

    Attributes:
        slug: The concept.
        new: Whether the registry did not have it before.
        added: Numbers of the versions that were added, as drafts.
        skipped: Numbers of the versions that the registry had already, by content.
    """

    slug: str
    new: bool
    added: tuple[int, ...]
    skipped: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


@dataclass(frozen=True)
class _Collection:
    """Anchors and scorer of a version in one space, checked, with their bytes."""

    anchors: AnchorSet
    scorer: Scorer
    blob: bytes
    scorer_blob: bytes

    @property
    def content(self) -> dict[str, str]:
        return {
            "space": self.anchors.space.digest,
            "anchors": self.anchors.digest,
            "scorer": self.scorer.digest,
        }


@dataclass(frozen=True)
class _Version:
    """A version of an exported concept, checked."""

    definition: ConceptDefinition
    text: str
    content_digest: str
    collections: tuple[_Collection, ...]


@dataclass(frozen=True)
class _Exported:
    """An exported concept, checked."""

    registry: str
    definition: ConceptDefinition
    versions: tuple[_Version, ...]


def export_concept(workspace: Workspace, slug: str, path: Path) -> None:
    """Write a concept, with all versions that are not revoked, to a file.

    Raises:
        NotFoundError: If there is no such concept.
        VerificationError: If stored bytes are damaged.
        UVRError: If the file cannot be written.
    """
    with workspace.read() as session:
        concept = find_concept(session, slug)
        query = select(ConceptVersion).where(
            ConceptVersion.concept_id == concept.id, ConceptVersion.state != "revoked"
        )
        rows = session.scalars(query.order_by(ConceptVersion.number)).all()
        about = {
            "format": FORMAT,
            "registry": policy_row(session).registry_id,
            "definition": json.loads(concept.definition),
            "versions": [_describe(session, row) for row in rows],
        }
        blobs = {
            entry[name]
            for version in about["versions"]
            for entry in version["collections"]
            for name in ("blob", "scorer_blob")
        }
        files = {f"blobs/{digest}": workspace.store.get(digest) for digest in blobs}
    try:
        write_file(Path(path), pack({**files, ABOUT: canonical_json(about)}), durable=True)
    except OSError as error:
        raise UVRError(f"Cannot write '{path}': {error.strerror or error}.") from error


def import_concept(
    workspace: Workspace, path: Path, *, actor: str, max_bytes: int = MAX_BYTES
) -> ImportInfo:
    """Add a concept's versions from a file, as drafts with their content digests.

    A concept that exists keeps its own definition for its next version. The importing actor counts
    as an author of what comes in, beside those who wrote it in this registry.

    Raises:
        NotFoundError: If there is no such file.
        VerificationError: If it is not an exported concept, or is damaged.
        ContentError: If a definition in it names minors where it must not.
        ConflictError: If the concept exists with another category, or nothing in the file is new.
    """
    exported = _read(Path(path), max_bytes)
    for definition in (exported.definition, *(item.definition for item in exported.versions)):
        refuse_minors(definition)
    with workspace.work(actor, "curator") as unit:
        slug = exported.definition.slug
        concept = unit.session.scalars(select(Concept).filter_by(slug=slug)).first()
        new = concept is None
        if concept is None:
            concept = insert_concept(unit, exported.definition)
        refuse_other_category(concept, exported.definition)
        known = select(ConceptVersion).where(ConceptVersion.concept_id == concept.id)
        numbers = {row.content_digest: row.number for row in unit.session.scalars(known)}
        news = [item for item in exported.versions if item.content_digest not in numbers]
        skipped = sorted(
            numbers[item.content_digest]
            for item in exported.versions
            if item.content_digest in numbers
        )
        rows = [_add_version(unit, concept, item) for item in news]
        added = tuple(row.number for row in rows)
        if not (new or added):
            raise ConflictError(f"Concept '{slug}' has everything that is in '{path}' already.")
        unit.record(
            "concept.import", slug, source=exported.registry, added=added, skipped=skipped,
            digests=[item.content_digest for item in news],
            authors=[authors_of(row) for row in rows], **about_definition(concept),
        )  # fmt: skip
        return ImportInfo(slug, new, added, tuple(skipped))


def _describe(session: Session, row: ConceptVersion) -> dict[str, Any]:
    return {
        "number": row.number,
        "definition": json.loads(row.definition),
        "content_digest": row.content_digest,
        "collections": [
            {
                **entry.content,
                "blob": entry.anchor_set.blob,
                "scorer_json": json.loads(entry.row.scorer),
                "scorer_blob": entry.row.scorer_blob,
            }
            for entry in stored_anchors(session, row)
        ],
    }


def _read(path: Path, max_bytes: int) -> _Exported:
    """Read an exported concept, strictly."""
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


def _decode(data: bytes) -> _Exported:
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
    return _Exported(str(about["registry"]), definition, versions)


def _decode_version(item: Any, blobs: Mapping[str, bytes], slug: str) -> _Version:
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
    return _Version(definition, text, item["content_digest"], collections)


def _decode_collection(item: Any, blobs: Mapping[str, bytes]) -> _Collection:
    _expect(item, {"space", "anchors", "scorer", "blob", "scorer_json", "scorer_blob"})
    blob, scorer_blob = blobs[item["blob"]], blobs[item["scorer_blob"]]
    scorer = Scorer.from_tensors(item["scorer_json"], read_tensors(scorer_blob))
    collection = _Collection(AnchorSet.from_bytes(blob), scorer, blob, scorer_blob)
    if collection.content != {name: item[name] for name in ("space", "anchors", "scorer")}:
        raise ValueError("anchors or a scorer do not have their digest")
    if scorer.dim != collection.anchors.space.dim:
        raise ValueError("a scorer has other dimensions than its anchor space")
    return collection


def _expect(item: Any, keys: set[str]) -> None:
    if not isinstance(item, dict) or set(item) != keys:
        raise ValueError(f"a part of it does not have exactly the keys {sorted(keys)}")


def _authors(unit: Work, concept: Concept, item: _Version) -> str:
    """Return who wrote a version as far as this registry knows: words and anchors come back."""
    same = select(ConceptVersion).filter_by(concept_id=concept.id, definition=item.text)
    known = {name for version in unit.session.scalars(same) for name in authors_of(version)}
    if concept.definition == item.text:
        known |= set(json.loads(concept.defined_by))
    sets = [entry.anchors.digest for entry in item.collections]
    return join_authors(unit.actor, *known, *wrote_before(unit.session, sets))


def _add_version(unit: Work, concept: Concept, item: _Version) -> ConceptVersion:
    latest = latest_version(unit.session, concept)
    row = ConceptVersion(
        concept_id=concept.id, number=latest.number + 1 if latest else 1, state="draft",
        definition=item.text, content_digest=item.content_digest,
        authors=_authors(unit, concept, item), created_at=unit.at, created_by=unit.actor,
    )  # fmt: skip
    unit.session.add(row)
    unit.session.flush()
    for entry in item.collections:
        add_collection(unit, row, entry.anchors, entry.scorer)
    unit.session.flush()
    return row
