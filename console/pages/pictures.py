"""Example pictures as pages show them, as far as the cache has them; blurred ones on request."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from console.call import Call
from console.evidence.page import Panel, panel_of
from console.evidence.pictures import Pictured, Place, drawn, pictured, places_of
from console.evidence.sheet import VEILED
from registry.answers import VersionDetail, VersionInfo
from uvr.examples.wanted import USUAL_COUNT

NOT_DRAWN = (
    "Its example pictures were not drawn yet. A worker draws them, or `uvr-registry report {name} "
    "--out FILE`, and they are here from then on."
)
FEW = (
    "{count} example pictures of each kind are needed, {drawn} are drawn. A worker draws the "
    "others, or `uvr-registry report {name} --out FILE`."
)
GIVEN = (
    "It was collected from given pictures, which pages do not have. To see them, give them "
    "again: `uvr-registry report {name} --images FOLDER --benign FOLDER --out FILE`."
)
logger = logging.getLogger("uvr.console")


@dataclass(frozen=True)
class Pictures:
    """A version's example pictures.

    Attributes:
        panels: What a page shows of each use of a model.
        veiled: Whether somebody must ask to see them, as they show nudity.
        before: The version that they are compared with.
        model: What draws those that are lacking; "" where none is, or nobody can.
        given: Digests of the anchor spaces that it was collected for from given pictures.
    """

    panels: list[Panel]
    veiled: bool
    before: int | None = None
    model: str = ""
    given: frozenset[str] = frozenset()


def pictures_of(
    call: Call, detail: VersionDetail, before: int | None = None, *, unveiled: bool = False
) -> Pictures:
    """Read a version's example pictures.

    Args:
        call: The request.
        detail: The version.
        before: Number of the version of the same concept that it is compared with.
        unveiled: Whether somebody asked to see blurred ones, which is logged.
    """
    version, home = detail.version, call.registry.home
    veiled = detail.definition.category in VEILED
    if veiled and unveiled:
        # The trail tells of changes alone, and this is none.
        logger.info("%r looked at pictures of %s@%d", call.actor, version.slug, version.number)
    recorded = {item.anchor_set for item in call.registry.exemplars.list(version.slug)}
    given, panels = set(), []
    for place in places_of(call.registry, detail, before=before):
        note = _lacking(home, place, version)
        if place.is_given or place.space.anchor_set in recorded:
            given.add(place.space.digest)
        try:
            panels.append(panel_of(pictured(home, place, note=note), before))
        except OSError:  # The cache may be deleted, or damaged, at any time.
            panels.append(panel_of(Pictured(place, note=note), before))
    lacking = [
        panel.item.place.space.space.model
        for panel in panels
        if panel.item.examples is None and panel.item.place.origin is not None
    ]
    model = next(iter(lacking), "")
    return Pictures(panels, veiled and not unveiled, before, model, frozenset(given))


def _lacking(home: Path, place: Place, version: VersionInfo) -> str:
    """Say why a place has no pictures, if it has none, and what to do."""
    name = f"{version.slug}@{version.number}"
    if place.origin is None:
        return GIVEN.format(name=name)
    there = drawn(home, place)
    if 0 < there < USUAL_COUNT:  # All of them may be there, and damaged.
        return FEW.format(name=name, count=USUAL_COUNT, drawn=there)
    return NOT_DRAWN.format(name=name)
