"""The rows of a registry, in the shape in which a replay of its trail tells them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.digest import sha256
from concepts.errors import VerificationError
from concepts.signing.envelope import KEYS_TYPE, read_envelope
from registry.audit.told import KINDS, Fields, Rows, evaluation_name, request_name, review_name
from registry.store.models import (
    Actor,
    AuditCheckpoint,
    BundleRow,
    ChangeRequest,
    Channel,
    ChannelMove,
    Concept,
    ConceptVersion,
    EvaluationRow,
    KeyListRow,
    PolicyRow,
    Release,
    ReleaseMember,
    Review,
    SignatureRow,
    SigningKey,
)

Named = Iterator[tuple[str, Fields]]


def read_rows(session: Session) -> Rows:
    """Return what the database holds of what events tell."""
    kinds = {
        "policy": _policy, "actor": _actors, "concept": _concepts, "version": _versions,
        "evaluation": _evaluations,
        "request": _requests, "review": _reviews, "key": _keys, "key list": _key_lists,
        "bundle": _bundles, "release": _releases, "signature": _signatures,
        "channel": _channels, "channel move": _moves, "checkpoint": _checkpoints,
    }  # fmt: skip
    rows: Rows = {}
    for kind in KINDS:
        found = rows[kind] = {}
        for name, fields in kinds[kind](session):
            # Where a constraint is gone, two rows may have one name; both are told.
            found[name if name not in found else f"{name} (another)"] = fields
    return rows


def _fields(row: Any, *names: str) -> Fields:
    return {name: getattr(row, name) for name in names}


def _made(row: Any, *names: str) -> Fields:
    return _fields(row, *names, "created_at", "created_by")


def _names(text: str) -> Any:
    """Return the names in a column of JSON; the text itself where it is none."""
    found = _read(text)
    return tuple(found) if isinstance(found, list) else text


def _read(text: str) -> Any:
    """Return what a column of JSON holds; the text itself where it is none."""
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return text


def _policy(session: Session) -> Named:
    for row in session.scalars(select(PolicyRow)):
        fields = _fields(row, "approvals", "self_approval", "signatures", "max_shrink")
        yield "policy", {**fields, "gate": row.gate and _read(row.gate)}


def _actors(session: Session) -> Named:
    for row in session.scalars(select(Actor)):
        yield row.name, {**_made(row, "active"), "roles": tuple(row.roles.split())}


def _concepts(session: Session) -> Named:
    for row in session.scalars(select(Concept)):
        yield row.slug, {**_made(row, "definition_digest"), "defined_by": _names(row.defined_by)}


def _version_names(session: Session) -> dict[int, str]:
    query = select(ConceptVersion.id, Concept.slug, ConceptVersion.number).join(
        Concept, Concept.id == ConceptVersion.concept_id
    )
    return {row_id: f"{slug}@{number}" for row_id, slug, number in session.execute(query)}


def _versions(session: Session) -> Named:
    names = _version_names(session)
    for row in session.scalars(select(ConceptVersion)):
        yield (
            names.get(row.id, f"row {row.id}"),
            {**_made(row, "state", "content_digest"), "authors": _names(row.authors)},
        )


def _request_names(session: Session) -> dict[int, str]:
    versions, counts, names = _version_names(session), dict[int, int](), {}
    query = select(ChangeRequest.id, ChangeRequest.version_id).order_by(ChangeRequest.id)
    for row_id, version_id in session.execute(query):
        number = counts[version_id] = counts.get(version_id, 0) + 1
        names[row_id] = request_name(versions.get(version_id, f"row {version_id}"), number)
    return names


def _evaluations(session: Session) -> Named:
    query = select(EvaluationRow, Concept.slug).join(
        Concept, Concept.id == EvaluationRow.concept_id
    )
    for row, slug in session.execute(query):
        yield evaluation_name(slug, row.content_digest, row.digest), _made(row, "digest")


def _requests(session: Session) -> Named:
    names = _request_names(session)
    for row in session.scalars(select(ChangeRequest)):
        yield (
            names[row.id],
            _fields(
                row, "content_digest", "state", "note", "opened_at", "opened_by", "closed_at",
                "closed_by",
            ),
        )  # fmt: skip


def _reviews(session: Session) -> Named:
    requests = _request_names(session)
    for row in session.scalars(select(Review)):
        request = requests.get(row.change_request_id, f"request {row.change_request_id}")
        name = review_name(request, row.reviewer, break_glass=row.break_glass)
        yield name, _fields(row, "decision", "reason", "content_digest", "at", "evaluation")


def _keys(session: Session) -> Named:
    for row in session.scalars(select(SigningKey)):
        yield row.name, _made(row, "key_id")


def _key_lists(session: Session) -> Named:
    for row in session.scalars(select(KeyListRow)):
        try:
            digest = sha256(read_envelope(row.envelope.encode(), KEYS_TYPE).payload)
        except VerificationError:
            digest = "unreadable"
        yield f"keys@{row.version}", {**_made(row), "digest": digest}


def _bundles(session: Session) -> Named:
    for row in session.scalars(select(BundleRow)):
        yield row.name, _made(row)


def _release_names(session: Session) -> dict[int, str]:
    query = select(Release.id, BundleRow.name, Release.sequence).join(
        BundleRow, BundleRow.id == Release.bundle_id
    )
    return {row_id: f"{name}#{sequence}" for row_id, name, sequence in session.execute(query)}


def _releases(session: Session) -> Named:
    names, versions = _release_names(session), _version_names(session)
    members: dict[int, list[str]] = {}
    query = select(ReleaseMember.release_id, ReleaseMember.version_id)
    for release_id, version_id in session.execute(query):
        name = versions.get(version_id, f"row {version_id}")
        members.setdefault(release_id, []).append(name)
    for row in session.scalars(select(Release)):
        fields = _made(
            row, "lock_digest", "bundle_digest", "previous_digest", "expires_at", "key_list",
            "rollback_of", "note",
        )  # fmt: skip
        fields["members"] = tuple(sorted(members.get(row.id, [])))
        yield names.get(row.id, f"row {row.id}"), fields


def _signatures(session: Session) -> Named:
    names = _release_names(session)
    for row in session.scalars(select(SignatureRow)):
        release = names.get(row.release_id, f"row {row.release_id}")
        yield f"{release}, key {row.key_id}", _fields(row, "at", "by")


def _channels(session: Session) -> Named:
    query = select(Channel, BundleRow.name).join(BundleRow, BundleRow.id == Channel.bundle_id)
    for row, bundle in session.execute(query):
        yield row.name, {**_made(row), "bundle": bundle}


def _moves(session: Session) -> Named:
    names = _release_names(session)
    query = select(ChannelMove, Channel.name).join(Channel, Channel.id == ChannelMove.channel_id)
    for row, channel in session.execute(query):
        fields = _fields(row, "reason", "at", "by")
        fields["release"] = names.get(row.release_id, f"row {row.release_id}")
        yield f"{channel}, move {row.number}", fields


def _checkpoints(session: Session) -> Named:
    for row in session.scalars(select(AuditCheckpoint)):
        yield f"event {row.event_number}", {**_made(row), "digest": row.event_digest}
