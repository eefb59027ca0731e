"""Which versions are live: those in the release that a channel points to now."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, Subquery, func, select
from sqlalchemy.orm import Session

from registry.answers import ConceptStanding, LivePlace
from registry.store.models import (
    AnchorSpaceRow,
    BundleRow,
    Channel,
    ChannelMove,
    Concept,
    ConceptVersion,
    Release,
    ReleaseMember,
    VersionAnchors,
)
from registry.versions.quorum import batches
from registry.versions.reading import list_concepts


def live_members() -> Select[int]:
    """Return the query for the versions, by id, that some channel's release holds now."""
    moves = _last_moves()
    return select(ReleaseMember.version_id).join(
        moves, moves.c.release_id == ReleaseMember.release_id
    )


def live_places(session: Session, concept: Concept | None = None) -> dict[int, list[LivePlace]]:
    """Return where versions are live by their concept's id, each list by channel.

    Args:
        session: Of a transaction.
        concept: Only this one's.
    """
    moves = _last_moves()
    query = (
        select(
            Channel.name, BundleRow.name, Release.sequence, ReleaseMember.concept_id,
            ReleaseMember.mode, ReleaseMember.thresholds, ReleaseMember.disabled_until,
            ConceptVersion.id, ConceptVersion.number, ConceptVersion.state,
        )
        .join(moves, moves.c.channel_id == Channel.id)
        .join(Release, Release.id == moves.c.release_id)
        .join(BundleRow, BundleRow.id == Release.bundle_id)
        .join(ReleaseMember, ReleaseMember.release_id == Release.id)
        .join(ConceptVersion, ConceptVersion.id == ReleaseMember.version_id)
    )  # fmt: skip
    if concept is not None:
        query = query.where(ReleaseMember.concept_id == concept.id)
    rows = sorted(session.execute(query), key=lambda row: str(row[0]))  # Databases collate apart.
    held = own_thresholds(session, list({row.id for row in rows}))
    places: dict[int, list[LivePlace]] = {}
    for channel, bundle, sequence, held_by, mode, moved, until, version_id, number, state in rows:
        place = LivePlace(
            channel=channel, bundle=bundle, sequence=sequence, version=number, state=state,
            mode=mode, thresholds=seed_thresholds(held[version_id], json.loads(moved)),
            disabled_until=until,
        )  # fmt: skip
        places.setdefault(held_by, []).append(place)
    return places


def standings(session: Session) -> list[ConceptStanding]:
    """Return all concepts, sorted by slug, each with its newest version and where it is live."""
    infos = {info.slug: info for info in list_concepts(session)}
    newest = _newest_versions(session)
    held = own_thresholds(session, [version_id for version_id, _ in newest.values()])
    places = live_places(session)
    found = []
    for concept_id, slug in session.execute(select(Concept.id, Concept.slug)):
        version_id, state = newest.get(concept_id, (None, None))
        found.append(
            ConceptStanding(
                **vars(infos[slug]),
                state=state,
                thresholds={} if version_id is None else seed_thresholds(held[version_id]),
                live=tuple(places.get(concept_id, ())),
            )
        )
    return sorted(found, key=lambda item: item.slug)


@dataclass(frozen=True)
class OwnThreshold:
    """What a version's scorer starts a region from in one space: its digest, and where that is."""

    space: str
    place: str
    threshold: float


def own_thresholds(session: Session, version_ids: Sequence[int]) -> dict[int, list[OwnThreshold]]:
    """Return the seed thresholds of versions by their id, as ``stored_anchors`` sorts spaces."""
    found: dict[int, list[OwnThreshold]] = {version_id: [] for version_id in version_ids}
    for ids in batches(list(found)):
        query = (
            select(
                VersionAnchors.version_id, VersionAnchors.scorer, AnchorSpaceRow.digest,
                AnchorSpaceRow.model, AnchorSpaceRow.task,
            )
            .join(AnchorSpaceRow, AnchorSpaceRow.id == VersionAnchors.space_id)
            .where(VersionAnchors.version_id.in_(ids))
            .order_by(AnchorSpaceRow.task.desc(), AnchorSpaceRow.model, AnchorSpaceRow.digest)
        )  # fmt: skip
        for version_id, scorer, digest, model, task in session.execute(query):
            threshold = json.loads(scorer)["seed_threshold"]
            found[version_id].append(OwnThreshold(digest, f"{model}/{task}", threshold))
    return found


def seed_thresholds(
    own: Sequence[OwnThreshold], moved: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Return a version's seed thresholds by "MODEL/TASK".

    Args:
        own: Its scorers'.
        moved: Those that a release sets, by the digest of their space.
    """
    return {item.place: (moved or {}).get(item.space, item.threshold) for item in own}


def _newest_versions(session: Session) -> dict[int, tuple[int, str]]:
    """Return id and state of each concept's newest version, by the concept's id."""
    last = (
        select(ConceptVersion.concept_id, func.max(ConceptVersion.number).label("number"))
        .group_by(ConceptVersion.concept_id)
        .subquery()
    )
    query = select(ConceptVersion.concept_id, ConceptVersion.id, ConceptVersion.state).join(
        last,
        (last.c.concept_id == ConceptVersion.concept_id) & (last.c.number == ConceptVersion.number),
    )
    return {
        concept_id: (version_id, state) for concept_id, version_id, state in session.execute(query)
    }


def _last_moves() -> Subquery:
    """Return the newest move of each channel, as a subquery: channel and release."""
    last = (
        select(ChannelMove.channel_id, func.max(ChannelMove.number).label("number"))
        .group_by(ChannelMove.channel_id)
        .subquery()
    )
    return (
        select(ChannelMove.channel_id, ChannelMove.release_id)
        .join(
            last,
            (last.c.channel_id == ChannelMove.channel_id) & (last.c.number == ChannelMove.number),
        )
        .subquery()
    )
