"""Which versions are live: those in the release that a channel points to now."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from sqlalchemy import Select, Subquery, func, select
from sqlalchemy.orm import Session

from registry.answers import ConceptStanding, LivePlace
from registry.store.models import (
    BundleRow,
    Channel,
    ChannelMove,
    Concept,
    ConceptVersion,
    Release,
    ReleaseMember,
)
from registry.versions.reading import StoredAnchors, list_concepts, stored_anchors_of


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
        select(Channel.name, BundleRow.name, Release.sequence, ReleaseMember, ConceptVersion)
        .join(moves, moves.c.channel_id == Channel.id)
        .join(Release, Release.id == moves.c.release_id)
        .join(BundleRow, BundleRow.id == Release.bundle_id)
        .join(ReleaseMember, ReleaseMember.release_id == Release.id)
        .join(ConceptVersion, ConceptVersion.id == ReleaseMember.version_id)
    )
    if concept is not None:
        query = query.where(ReleaseMember.concept_id == concept.id)
    rows = sorted(session.execute(query), key=lambda row: str(row[0]))  # Databases collate apart.
    held = stored_anchors_of(session, list({row[4].id: row[4] for row in rows}.values()))
    places: dict[int, list[LivePlace]] = {}
    for channel, bundle, sequence, member, version in rows:
        place = LivePlace(
            channel=channel, bundle=bundle, sequence=sequence,
            version=version.number, state=version.state, mode=member.mode,
            thresholds=seed_thresholds(held[version.id], json.loads(member.thresholds)),
            disabled_until=member.disabled_until,
        )  # fmt: skip
        places.setdefault(member.concept_id, []).append(place)
    return places


def standings(session: Session) -> list[ConceptStanding]:
    """Return all concepts, sorted by slug, each with its newest version and where it is live."""
    infos = {info.slug: info for info in list_concepts(session)}
    newest = _newest_versions(session)
    held = stored_anchors_of(session, list(newest.values()))
    places = live_places(session)
    concepts = {concept.slug: concept.id for concept in session.scalars(select(Concept))}
    found = []
    for slug, info in infos.items():
        version = newest.get(concepts[slug])
        found.append(
            ConceptStanding(
                **vars(info),
                state=version.state if version else None,
                thresholds=seed_thresholds(held[version.id]) if version else {},
                live=tuple(places.get(concepts[slug], ())),
            )
        )
    return found


def seed_thresholds(
    entries: Sequence[StoredAnchors], moved: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Return a version's seed thresholds by "MODEL/TASK".

    Args:
        entries: Its anchors.
        moved: Those that a release sets, by the digest of their space.
    """
    return {
        f"{entry.space.model}/{entry.space.task}": (moved or {}).get(
            entry.space.digest, json.loads(entry.row.scorer)["seed_threshold"]
        )
        for entry in entries
    }


def _newest_versions(session: Session) -> dict[int, ConceptVersion]:
    """Return each concept's newest version, by the concept's id."""
    last = (
        select(ConceptVersion.concept_id, func.max(ConceptVersion.number).label("number"))
        .group_by(ConceptVersion.concept_id)
        .subquery()
    )
    query = select(ConceptVersion).join(
        last,
        (last.c.concept_id == ConceptVersion.concept_id) & (last.c.number == ConceptVersion.number),
    )
    return {version.concept_id: version for version in session.scalars(query)}


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
