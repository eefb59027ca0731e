"""What a release changes of its members: modes, thresholds and pauses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from concepts.errors import InputError, NotFoundError, did_you_mean
from concepts.instant import parse_instant
from concepts.plain import finite_number
from concepts.words import MODES
from registry.releases.lineup import Chosen
from registry.versions.reading import stored_anchors


@dataclass(frozen=True)
class Changes:
    """What a release changes of its members, by slug; see ``Releases.add``."""

    modes: Mapping[str, str]
    thresholds: Mapping[str, Any]
    disabled: Mapping[str, str | None]


def change(session: Session, chosen: Sequence[Chosen], changes: Changes, at: str) -> list[Chosen]:
    """Return the members with other modes, thresholds and pauses.

    Raises:
        NotFoundError: For a concept that is not a member, a mode or a space that there is not.
        InputError: For a value that is not allowed.
    """
    slugs = [item.concept.slug for item in chosen]
    for slug in {**changes.modes, **changes.thresholds, **changes.disabled}:
        if slug not in slugs:
            raise NotFoundError(
                f"'{slug}' is not a member of this release.{did_you_mean(slug, slugs)}"
            )
    return [_changed(session, item, changes, at) for item in chosen]


def _changed(session: Session, item: Chosen, changes: Changes, at: str) -> Chosen:
    slug = item.concept.slug
    if slug in changes.modes:
        item = replace(item, mode=_mode(changes.modes[slug]))
    if slug in changes.thresholds:
        item = replace(item, thresholds=_thresholds(session, item, changes.thresholds[slug]))
    if slug in changes.disabled:
        until = changes.disabled[slug]
        item = replace(
            item, disabled_until=None if until is None else future("disabled until", until, at)
        )
    return item


def _mode(mode: str) -> str:
    if mode not in MODES:
        close = did_you_mean(mode, MODES)
        raise NotFoundError(f"No mode '{mode}'.{close} Modes: {', '.join(MODES)}.")
    return mode


def _thresholds(session: Session, item: Chosen, asked: Any) -> Mapping[str, float]:
    """Return a member's thresholds by space: None for the scorers' own, else old ones updated."""
    if asked is None:
        return {}
    spaces = [entry.space for entry in stored_anchors(session, item.version)]
    where = ", ".join(sorted({f"{space.model} {space.task}" for space in spaces}))
    if not isinstance(asked, Mapping):
        if len(spaces) != 1:
            raise InputError(
                f"'{item.concept.slug}' has anchors of {where}: give one threshold for each task."
            )
        asked = {spaces[0].digest: asked}
    thresholds = dict(item.thresholds)
    for name, value in asked.items():
        fits = [space.digest for space in spaces if name in (space.task, space.digest)]
        if not fits:
            raise NotFoundError(f"'{item.concept.slug}' has no anchors of '{name}', only {where}.")
        if len(fits) > 1:
            raise InputError(
                f"'{item.concept.slug}' has anchors of {where}: name a space by its digest."
            )
        thresholds.pop(fits[0], None)
        if value is not None:
            thresholds[fits[0]] = _threshold(item, value)
    return thresholds


def _threshold(item: Chosen, value: object) -> float:
    try:
        return finite_number("a threshold", value)
    except ValueError as error:
        raise InputError(f"'{item.concept.slug}': {error}.") from error


def future(what: str, text: str, at: str) -> str:
    """Return an instant that must lie ahead; InputError otherwise."""
    try:
        instant = parse_instant(text, now=at)
    except ValueError as error:
        raise InputError(f"{what.capitalize()}: {error}.") from error
    if instant <= at:
        raise InputError(f"{what.capitalize()} {instant} lies in the past. Name a later time.")
    return instant
