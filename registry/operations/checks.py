"""What must be true of a registry's rows and blobs: one function for each part, listing problems.

Each takes a session and the blobs and returns what is wrong, nothing when all is well; stored bytes
that cannot be read raise, and whoever calls reports that as a problem too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from concepts.anchors import AnchorSet
from concepts.bundle.member import lock_digest
from concepts.digest import json_digest
from concepts.errors import UVRError
from concepts.signing.envelope import BUNDLE_TYPE, pae
from registry.audit.chain import check_chain
from registry.audit.comparison import row_differences
from registry.audit.trail import check_checkpoints
from registry.change.event import AuditEvent
from registry.keys.lists import current_keys
from registry.operations.gc import named_blobs
from registry.releases.assemble import FORMAT, read_bundle_of, released_members
from registry.releases.signatures import signatures_of
from registry.store.blobs import BlobStore
from registry.store.models import (
    AnchorSetRow,
    AnchorSpaceRow,
    AuditEventRow,
    Base,
    BundleRow,
    ChangeRequest,
    Channel,
    ChannelMove,
    Concept,
    ConceptVersion,
    Release,
    Review,
    SigningKey,
    VersionAnchors,
)
from registry.versions.adding import content_digest
from registry.versions.quorum import Approval, approvals_of, approving_events, open_request
from registry.versions.reading import read_anchor_set, read_scorer, read_space, stored_anchors

TIMES = ("created_at", "at", "opened_at", "closed_at")
Problems = Iterator[str]


def blobs(session: Session, store: BlobStore) -> Problems:
    """Every blob that a row names is there."""
    for digest in sorted(named_blobs(session)):
        if digest not in store:
            yield f"Blob {digest[:12]} is missing. Restore it from a backup, or collect again."


def anchors(session: Session, store: BlobStore) -> Problems:
    """Anchor sets have their digest, their space and their number of anchors."""
    query = select(AnchorSetRow, AnchorSpaceRow).join(
        AnchorSpaceRow, AnchorSpaceRow.id == AnchorSetRow.space_id
    )
    for row, space in session.execute(query):
        anchor_set, problem = _read_anchors(store, row)
        if anchor_set is None:
            yield problem
        elif anchor_set.space.digest != space.digest:
            yield f"Anchor set {row.digest[:12]} is of another anchor space than its row says."
        elif _counts(anchor_set) != (row.anchors, row.counter_anchors):
            yield f"Anchor set {row.digest[:12]} does not have as many anchors as its row says."


def scorers(session: Session, store: BlobStore) -> Problems:
    """Scorers have their digest."""
    seen = set()
    for row in session.scalars(select(VersionAnchors)):
        if (row.scorer_blob, row.scorer_digest) in seen:
            continue
        seen.add((row.scorer_blob, row.scorer_digest))
        try:
            read_scorer(store, row)
        except (UVRError, ValueError) as error:
            yield _sentence(error)


def spaces(session: Session, _store: BlobStore) -> Problems:
    """Anchor spaces have their digest, and an anchor set is used in its own space only."""
    for row in session.scalars(select(AnchorSpaceRow)):
        try:
            read_space(row)
        except (UVRError, ValueError) as error:
            yield _sentence(error)
    query = (
        select(AnchorSetRow.digest)
        .join(VersionAnchors, VersionAnchors.anchor_set_id == AnchorSetRow.id)
        .where(VersionAnchors.space_id != AnchorSetRow.space_id)
    )
    for digest in session.scalars(query):
        yield f"Anchor set {digest[:12]} is used outside its own anchor space."


def versions(session: Session, _store: BlobStore) -> Problems:
    """Definitions and versions have their digest, and version numbers have no gap."""
    for concept in session.scalars(select(Concept).order_by(Concept.slug)):
        definition = json.loads(concept.definition)
        if json_digest(definition) != concept.definition_digest:
            yield f"The definition of '{concept.slug}' does not match its digest."
        if (concept.name, concept.category) != (definition.get("name"), definition.get("category")):
            yield f"The name or category of '{concept.slug}' is not that of its definition."
        rows = _versions_of(session, concept)
        if [row.number for row in rows] != list(range(1, len(rows) + 1)):
            yield f"The version numbers of '{concept.slug}' have a gap."
        for row in rows:
            content = [entry.content for entry in stored_anchors(session, row)]
            if not content:
                yield f"Version {row.number} of '{concept.slug}' has no anchors."
            elif content_digest(row.definition, content) != row.content_digest:
                yield f"Version {row.number} of '{concept.slug}' does not match its content digest."


def reviews(session: Session, _store: BlobStore) -> Problems:
    """What is approved was approved, and what is in review has an open request for its content."""
    approvals = approvals_of(session, session.scalars(select(ConceptVersion)).all())
    events, unreviewed = approving_events(session), _unreviewed(session)
    for concept in session.scalars(select(Concept).order_by(Concept.slug)):
        for row in _versions_of(session, concept):
            name = f"{concept.slug}@{row.number}"
            request = open_request(session, row)
            if (row.state == "in_review") != (request is not None):
                about = "without an open request" if request is None else "with an open request"
                yield f"Version {name} is {row.state} {about}."
            elif request is not None and request.content_digest != row.content_digest:
                yield f"The request to review {name} is for other content."
            approval = approvals.get(row.id)
            if row.state not in ("approved", "deprecated"):
                continue
            if approval is not None:
                yield from _approved(session, name, row, approval, events[name, approval.at])
            elif row.id not in unreviewed:
                yield f"Version {name} is {row.state}, but nobody approved it: no event says so."


def releases(session: Session, store: BlobStore, *, quick: bool = False) -> Problems:
    """Releases have their lock, their bundle's digest, their predecessor's, and good signatures."""
    for bundle in session.scalars(select(BundleRow).order_by(BundleRow.name)):
        query = select(Release).where(Release.bundle_id == bundle.id).order_by(Release.sequence)
        previous: str | None = None
        for number, row in enumerate(session.scalars(query).all(), 1):
            name = f"{bundle.name}@{row.sequence}"
            if row.sequence != number:
                yield f"The releases of '{bundle.name}' have a gap before {row.sequence}."
            if row.format == FORMAT:
                if row.previous_digest != previous:
                    yield f"Release {name} does not follow the one before it."
                yield from _release(session, store, bundle, row, name, quick=quick)
            previous = row.bundle_digest


def keys(session: Session, _store: BlobStore) -> Problems:
    """Each key list follows the one before, and each key has its id."""
    current_keys(session)
    yield from ()
    from concepts.signing.ed25519 import PublicKey  # noqa: PLC0415 (cryptography)

    for row in session.scalars(select(SigningKey)):
        if PublicKey.from_pem(row.pem).key_id != row.key_id:
            yield f"The key '{row.name}' does not match its id."


def channels(session: Session, _store: BlobStore) -> Problems:
    """Channels were moved in order, to releases of their own bundle."""
    for channel in session.scalars(select(Channel).order_by(Channel.name)):
        moves = _moves(session, channel)
        if [move.number for move, _ in moves] != list(range(1, len(moves) + 1)):
            yield f"The moves of channel '{channel.name}' have a gap."
        times = [move.at for move, _ in moves]
        if times != sorted(times):
            yield f"The moves of channel '{channel.name}' are not in the order of their times."
        if any(release.bundle_id != channel.bundle_id for _, release in moves):
            yield f"Channel '{channel.name}' was moved to a release of another bundle."


def trail(session: Session, _store: BlobStore) -> Problems:
    """The audit chain holds, its checkpoints fit, and no row is younger than its last event."""
    head = check_chain(session)
    check_checkpoints(session, head)
    for table in Base.metadata.sorted_tables:
        for column in (table.columns[name] for name in TIMES if name in table.columns):
            newest = session.scalar(select(func.max(column)))
            if newest is not None and newest > head.at:
                yield (
                    f"Table '{table.name}' has a row of {newest}, later than the last event: the "
                    "audit trail was truncated, or the row written past it."
                )


def rows(session: Session, _store: BlobStore) -> Problems:
    """Rows are what the events of the audit trail leave behind."""
    return row_differences(session)


def live_revoked(session: Session, _store: BlobStore) -> Problems:
    """Revoked versions that a channel still points to: no fault of the registry, but urgent."""
    for channel in session.scalars(select(Channel).order_by(Channel.name)):
        for _, release in _moves(session, channel)[-1:]:
            name = f"{session.get_one(BundleRow, release.bundle_id).name}@{release.sequence}"
            for item in released_members(session, release):
                if item.version.state == "revoked":
                    yield (
                        f"Channel '{channel.name}' points to {name}, which "
                        f"holds {item.concept.slug}@{item.version.number}, revoked since. Release "
                        "again and move the channel."
                    )


def _read_anchors(store: BlobStore, row: AnchorSetRow) -> tuple[AnchorSet | None, str]:
    try:
        return read_anchor_set(store, row), ""
    except (UVRError, ValueError) as error:
        return None, _sentence(error)


def _counts(anchor_set: AnchorSet) -> tuple[int, int]:
    return len(anchor_set.anchors), len(anchor_set.counter_anchors)


def _versions_of(session: Session, concept: Concept) -> Sequence[ConceptVersion]:
    query = select(ConceptVersion).where(ConceptVersion.concept_id == concept.id)
    return session.scalars(query.order_by(ConceptVersion.number)).all()


def _moves(session: Session, channel: Channel) -> list[tuple[ChannelMove, Release]]:
    query = (
        select(ChannelMove, Release)
        .join(Release, Release.id == ChannelMove.release_id)
        .where(ChannelMove.channel_id == channel.id)
        .order_by(ChannelMove.number)
    )
    return [(move, release) for move, release in session.execute(query)]


def _approved(
    session: Session, name: str, row: ConceptVersion, approval: Approval, event: AuditEvent
) -> Problems:
    needed = event.details.get("needed", 0) if approval.how == "review" else 0
    if len(approval.by) < needed:
        yield f"Version {name} has {len(approval.by)} of the {needed} approvals it needed."
    query = select(Review.content_digest).where(
        Review.decision == "approve", Review.at == approval.at, Review.reviewer.in_(approval.by)
    )
    reviewed = event.action in ("version.approve", "version.break_glass")
    if reviewed and row.content_digest not in set(session.scalars(query)):
        yield f"The approval of version {name} is for other content."


def _unreviewed(session: Session) -> set[int]:
    """Return the ids of the versions that were released before there were reviews."""
    query = select(func.max(AuditEventRow.at)).where(AuditEventRow.action == "schema.migrate")
    migrated = session.scalar(query) or ""
    requested = select(ChangeRequest.version_id).where(ChangeRequest.state == "approved")
    old = select(ConceptVersion.id).where(
        ConceptVersion.created_at <= migrated, ConceptVersion.id.not_in(requested)
    )
    return set(session.scalars(old))


def _release(
    session: Session, store: BlobStore, bundle: BundleRow, row: Release, name: str, *, quick: bool
) -> Problems:
    members = released_members(session, row)
    if lock_digest(item.locked for item in members) != row.lock_digest:
        yield f"Release {name} does not match its lock digest."
    for item in members:
        if item.version.state in ("draft", "in_review"):
            yield f"Release {name} holds {item.concept.slug}@{item.version.number}, not approved."
    if quick:
        return
    try:
        manifest = read_bundle_of(session, store, bundle, row).manifest()
    except (UVRError, ValueError) as error:
        yield _sentence(error)
        return
    yield from _signatures(session, row, name, manifest)


def _signatures(session: Session, row: Release, name: str, manifest: bytes) -> Problems:
    for item in signatures_of(session, row):
        from concepts.signing.ed25519 import PublicKey  # noqa: PLC0415 (cryptography)

        pem = session.scalar(select(SigningKey.pem).where(SigningKey.key_id == item.key_id))
        if pem is None:
            yield f"Release {name} is signed by {item.key_id[:16]}, a key that is not registered."
        elif not PublicKey.from_pem(pem).verify(pae(BUNDLE_TYPE, manifest), item.value):
            yield f"Release {name} has an invalid signature of key {item.key_id[:16]}."


def _sentence(error: Exception) -> str:
    text = str(error)
    return text if text.endswith(".") else f"{text}."
