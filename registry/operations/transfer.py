"""Concepts between registries: one file with a concept's versions, digests intact.

The file is a plain archive (``concepts.archive``): ``blobs/<digest>`` for each blob and
``concept.json``, canonical JSON with the definitions, scorers and digests. Exemplars stay
behind, since a legal basis holds for one registry only; so do revoked versions, and evaluations,
which the registry that recorded them vouches for: another one measures again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.archive import pack
from concepts.canonical import canonical_json
from concepts.content_rules import refuse_minors
from concepts.errors import ConflictError, UVRError
from concepts.files import write_file
from registry.change.policy import policy_row
from registry.change.work import Work
from registry.change.workspace import Workspace
from registry.operations.exported import ABOUT, FORMAT, MAX_BYTES, ExportedVersion, read_exported
from registry.store.models import Concept, ConceptVersion
from registry.versions.adding import (
    about_definition,
    add_collection,
    insert_concept,
    join_authors,
    refuse_other_category,
    wrote_before,
)
from registry.versions.quorum import authors_of
from registry.versions.reading import find_concept, latest_version, stored_anchors


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
    exported = read_exported(Path(path), max_bytes)
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


def _authors(unit: Work, concept: Concept, item: ExportedVersion) -> str:
    """Return who wrote a version as far as this registry knows: words and anchors come back."""
    same = select(ConceptVersion).filter_by(concept_id=concept.id, definition=item.text)
    known = {name for version in unit.session.scalars(same) for name in authors_of(version)}
    if concept.definition == item.text:
        known |= set(json.loads(concept.defined_by))
    sets = [entry.anchors.digest for entry in item.collections]
    return join_authors(unit.actor, *known, *wrote_before(unit.session, sets))


def _add_version(unit: Work, concept: Concept, item: ExportedVersion) -> ConceptVersion:
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
