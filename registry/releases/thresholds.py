"""Thresholds that a release puts above a version's own, so that less is found than was approved."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.calibration import recorded_calibration
from registry.answers import RaisedThreshold
from registry.releases.lineup import Chosen
from registry.store.blobs import BlobStore
from registry.store.models import AnchorSpaceRow, VersionAnchors
from registry.versions.quorum import batches
from registry.versions.reach import check_reached
from registry.versions.reading import (
    StoredAnchors,
    stored_anchors,
    stored_anchors_of,
)

Raised = Mapping[str, tuple[RaisedThreshold, ...]]


def raised_thresholds(session: Session, members: Sequence[Chosen]) -> Raised:
    """Return the thresholds above their versions' own, by slug."""
    moved = [item for item in members if item.thresholds]
    anchors = stored_anchors_of(session, [item.version for item in moved])
    found = {
        item.concept.slug: tuple(
            RaisedThreshold(place(entry), entry.space.digest, threshold, own)
            for entry in anchors[item.version.id]
            if (threshold := item.thresholds.get(entry.space.digest, -math.inf))
            > (own := own_threshold(entry))
        )
        for item in moved
    }
    return {slug: raised for slug, raised in found.items() if raised}


def set_by_hand(session: Session, members: Sequence[Chosen]) -> dict[str, tuple[str, ...]]:
    """Return the places, by slug, where nothing was measured at the threshold in force."""
    released = {item.version.id: item.thresholds for item in members}
    found: dict[int, list[str]] = {version_id: [] for version_id in released}
    for ids in batches(list(released)):
        # Columns alone, as rows of a thousand versions take long to make.
        query = (
            select(
                VersionAnchors.version_id, VersionAnchors.scorer,
                AnchorSpaceRow.digest, AnchorSpaceRow.model, AnchorSpaceRow.task,
            )
            .join(AnchorSpaceRow, AnchorSpaceRow.id == VersionAnchors.space_id)
            .where(VersionAnchors.version_id.in_(ids))
            .order_by(AnchorSpaceRow.task.desc(), AnchorSpaceRow.model, AnchorSpaceRow.digest)
        )  # fmt: skip
        for version_id, scorer, space, model, task in session.execute(query):
            stored = json.loads(scorer)
            own = float(stored["seed_threshold"])
            measured = recorded_calibration(stored["metadata"]) is not None
            if not measured or released[version_id].get(space, own) != own:
                found[version_id].append(f"{model} {task}")
    return {item.concept.slug: tuple(found[item.version.id]) for item in members}


def newly_raised(before: Sequence[Chosen], after: Sequence[Chosen], raised: Raised) -> Raised:
    """Return which of the raised thresholds the release before did not have, or had lower."""
    versions = {item.concept.slug: item.version.id for item in after}
    old = {
        item.concept.slug: item.thresholds
        for item in before
        if item.version.id == versions.get(item.concept.slug)
    }
    found = {
        slug: tuple(
            item for item in items if item.threshold > old.get(slug, {}).get(item.space, -math.inf)
        )
        for slug, items in raised.items()
    }
    return {slug: items for slug, items in found.items() if items}


def check_reachable(
    session: Session, store: BlobStore, members: Sequence[Chosen], raised: Raised
) -> None:
    """Refuse thresholds that no anchor of their version reaches: such a concept is never found.

    Raises:
        PolicyError: With the highest score that an anchor reaches.
        VerificationError: If stored bytes are damaged.
    """
    for member in members:
        for item in raised.get(member.concept.slug, ()):
            for entry in stored_anchors(session, member.version):
                if entry.space.digest == item.space:
                    check_reached(
                        store, entry, item.threshold, number=member.version.number,
                        what=f"The threshold of '{member.concept.slug}' would be {item}",
                        advice=f", or --mode {member.concept.slug}=log to report it only",
                    )  # fmt: skip


def own_threshold(entry: StoredAnchors) -> float:
    """Return the seed threshold that a version's scorer has in one space."""
    return float(json.loads(entry.row.scorer)["seed_threshold"])


def place(entry: StoredAnchors) -> str:
    """Return how a message names a space: its model and task."""
    return f"{entry.space.model} {entry.space.task}"


def places_of(session: Session, version_ids: Sequence[int]) -> dict[int, set[str]]:
    """Return the models and tasks that versions have anchors of, by their id, as ``place`` does."""
    places: dict[int, set[str]] = {version_id: set() for version_id in version_ids}
    for ids in batches(version_ids):
        query = select(VersionAnchors.version_id, AnchorSpaceRow.model, AnchorSpaceRow.task)
        query = query.join(AnchorSpaceRow, AnchorSpaceRow.id == VersionAnchors.space_id)
        for version_id, model, task in session.execute(
            query.where(VersionAnchors.version_id.in_(ids))
        ):
            places[version_id].add(f"{model} {task}")
    return places
