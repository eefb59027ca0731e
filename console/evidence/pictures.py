"""The example pictures of a version, task by task, read from the cache of a registry's home.

Reading needs no model and no torch; ``console.evidence.drawing`` draws what is lacking.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concepts.anchors import AnchorSpace
from concepts.scorer import Scorer
from registry.answers import VersionDetail, VersionSpace
from registry.registry import Registry
from uvr.examples.examples import Example, Examples
from uvr.examples.kept import FOLDER, Kept
from uvr.examples.learned import Learned, learned_of
from uvr.examples.wanted import USUAL_COUNT, Origin, Wanted, origin_of
from uvr.testbed.samples import CONCEPTS

TESTBED = "testbed"


@dataclass(frozen=True, eq=False)
class Place:
    """One model and task of a version: what scores its pictures, and how they come about.

    Attributes:
        space: Anchors, thresholds and calibration there.
        scorer: The version's.
        before: That of the version it is compared with, of the same anchor space; None for none.
        provenance: How the anchors were collected.
        origin: How example pictures are drawn; None where they must be given.
    """

    space: VersionSpace
    scorer: Scorer
    before: Scorer | None
    provenance: dict[str, Any]
    origin: Origin | Learned | None

    @property
    def task(self) -> str:
        """Of "t2i", "edit" and "check"."""
        return self.space.space.task

    @property
    def scorers(self) -> list[Scorer]:
        """All that score its pictures."""
        return [self.scorer] if self.before is None else [self.scorer, self.before]


@dataclass(frozen=True)
class Changed:
    """A picture whose verdict is another than by the version before."""

    example: Example
    was_caught: bool
    score_before: float


@dataclass(frozen=True, eq=False)
class Pictured:
    """A place with its pictures.

    Attributes:
        place: The place.
        examples: Its pictures, None where there are none to show.
        before: The same pictures by the version that it is compared with.
        note: Why there are none, or what is to be known of them; "" for nothing.
    """

    place: Place
    examples: Examples | None = None
    before: Examples | None = None
    note: str = ""

    @property
    def changed(self) -> list[Changed]:
        """Pictures whose verdict differs, those that are caught no more first."""
        if self.examples is None or self.before is None:
            return []
        found = [
            Changed(now, then.caught(self.before.threshold), then.score)
            for now, then in zip(self.examples.all, self.before.all, strict=True)
            if now.caught(self.examples.threshold) != then.caught(self.before.threshold)
        ]
        return sorted(found, key=lambda one: (not one.was_caught, one.example.key))


def places_of(
    registry: Registry,
    detail: VersionDetail,
    *,
    tasks: Sequence[str] = (),
    before: int | None = None,
    learned: bool = False,
) -> list[Place]:
    """Return the models and tasks of a version, as it lists them.

    Args:
        registry: The registry.
        detail: The version.
        tasks: Only these; all by default.
        before: Number of the version of the same concept that it is compared with.
        learned: Show the pictures that the version learned from, which flatter it.
    """
    older = registry.versions.get(detail.version.slug, before).spaces if before is not None else ()
    comparable = {item.digest for item in older}
    return [
        _place(registry, detail, item, before if item.digest in comparable else None, learned)
        for item in detail.version.spaces
        if not tasks or item.space.task in tasks
    ]


def _place(
    registry: Registry,
    detail: VersionDetail,
    item: VersionSpace,
    before: int | None,
    learned: bool,
) -> Place:
    slug, number, versions = detail.version.slug, detail.version.number, registry.versions
    provenance = versions.provenance(slug, item.digest, number)
    return Place(
        space=item,
        scorer=versions.scorer(slug, item.digest, number),
        before=None if before is None else versions.scorer(slug, item.digest, before),
        provenance=provenance,
        origin=(
            learned_of(slug, item.space, provenance, _scenes(item.space))
            if learned
            else origin_of(detail.definition, item.space, provenance, _scenes(item.space))
        ),
    )


def _scenes(space: AnchorSpace) -> tuple[str, ...]:
    """Concepts that a model brings labelled scenes of."""
    return tuple(CONCEPTS) if space.model == TESTBED else ()


def cache_of(home: Path) -> Kept:
    """The cache in a registry's home; deleting its folder loses nothing."""
    return Kept(home / FOLDER)


def lacks(home: Path, place: Place, count: int = USUAL_COUNT) -> bool:
    """Whether some of a place's pictures have to be drawn first."""
    if place.origin is None:
        return False
    return bool(cache_of(home).lacking(place.origin.wanted(count), place.scorers))


def pictures_of(
    home: Path,
    places: Sequence[Place],
    count: int = USUAL_COUNT,
    draw: Callable[[list[Place]], Mapping[str, str]] | None = None,
) -> list[Pictured]:
    """Read the pictures of some places.

    Args:
        home: The registry's.
        places: Models and tasks of a version.
        count: Pictures of each kind.
        draw: Called with the places whose pictures are not there, if there are any; returns why a
            place was not drawn, by the digest of its space (``evidence.drawing.draw_lacking``).
    """
    lacking = [place for place in places if lacks(home, place, count)]
    notes = dict.fromkeys((place.space.digest for place in lacking), NOT_DRAWN)
    if draw is not None and lacking:
        notes = dict(draw(lacking))
    return [pictured(home, place, count, notes.get(place.space.digest, "")) for place in places]


def pictured(home: Path, place: Place, count: int = USUAL_COUNT, note: str = "") -> Pictured:
    """Read a place's pictures; without all of them it has none."""
    origin = place.origin
    if origin is None:
        return Pictured(place, note=note or NOT_STORED)
    about = {"seed": origin.seed, "seen": origin.seen}
    found = read(cache_of(home), place, origin.wanted(count), **about)
    return Pictured(place, *found, note=note if found[0] is None else "")


def read(
    kept: Kept, place: Place, wanted: Sequence[Wanted], **about: Any
) -> tuple[Examples | None, Examples | None]:
    """Read pictures by a place's scorer, and by the one that it is compared with."""
    space = place.space.space
    about = {**about, "model": space.model, "task": space.task}
    found = kept.examples(wanted, place.scorer, **about)
    if found is None or place.before is None:
        return found, None
    return found, kept.examples(wanted, place.before, **about)


NOT_DRAWN = "Its pictures were not drawn yet."
NOT_STORED = (
    "Its anchors were collected from pictures that were given, which are not in this cache. "
    "Give them again (--images, --benign) to see them here."
)
