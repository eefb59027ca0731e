"""What a judge is: pictures in, a score for each concept out, and a threshold for each score.

A judge sees finished pictures and nothing of how they came about, so it may be any model. Write
one of your own as a class with the attributes and the method of ``Judge``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from concepts.errors import UVRError

Scores = Sequence[Mapping[str, float]]
"""For each picture, the score of each concept by its slug."""


class Judge(Protocol):
    """Anything that scores pictures for concepts.

    Attributes:
        name: What verdicts call it.
        version: Of its weights; changes whenever its scores may.
        thresholds: For the slug of each concept it knows: "score >= threshold is a match".
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def thresholds(self) -> Mapping[str, float]: ...

    def scores(self, pictures: Sequence[Image.Image]) -> Scores:
        """Score RGB pictures of any size for each concept in ``thresholds``."""
        ...


HeatMaps = Sequence[Mapping[str, NDArray[np.float32]]]
"""For each picture, a map of each concept by its slug, (rows, columns), over the whole picture."""


@runtime_checkable
class PlacingJudge(Judge, Protocol):
    """A judge that can also say where, so that the place can be filled in."""

    def places(self, pictures: Sequence[Image.Image]) -> HeatMaps:
        """Heat maps of any size, not below 0, higher where a picture shows more of a concept.

        Asked only of pictures in which a score reached its threshold; a concept may be left out.
        """
        ...


@dataclass(frozen=True)
class Judgement:
    """What a judge says of one concept in one picture.

    Attributes:
        slug: The concept.
        score: The judge's.
        threshold: "score >= threshold is a match".
        judge: The judge's name and version, "NAME/VERSION".
        heat: Where it sees it, (rows, columns) over the picture; None from a judge that gives no
            places, and where the score is below the threshold.
    """

    slug: str
    score: float
    threshold: float
    judge: str
    heat: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)

    @property
    def fired(self) -> bool:
        """Whether the score reaches the threshold."""
        return self.score >= self.threshold


def ask(judge: Judge, pictures: Sequence[Image.Image]) -> list[list[Judgement]]:
    """Have a judge score pictures; for each picture a judgement of each concept, by slug.

    Raises:
        UVRError: It left out a picture or a concept, or a score is not finite: nothing can be said
            of the pictures then.
    """
    scores, by = judge.scores(pictures), f"{judge.name}/{judge.version}"
    if len(scores) != len(pictures):
        raise UVRError(
            f"The judge {by} scored {len(scores)} of {len(pictures)} pictures; no picture is "
            "returned unjudged. Mend the judge."
        )
    judged = [[_judgement(slug, given, judge, by) for slug in sorted(judge.thresholds)]
              for given in scores]  # fmt: skip
    if isinstance(judge, PlacingJudge):
        _place(judge, by, pictures, judged)
    return judged


def _place(
    judge: PlacingJudge,
    by: str,
    pictures: Sequence[Image.Image],
    judged: Sequence[list[Judgement]],
) -> None:
    """Add heat maps to what fired."""
    fired = [place for place, row in enumerate(judged) if any(item.fired for item in row)]
    maps = judge.places([pictures[place] for place in fired]) if fired else []
    if len(maps) != len(fired):
        raise UVRError(
            f"The judge {by} gave places in {len(maps)} of {len(fired)} pictures. Mend the judge."
        )
    for place, heat in zip(fired, maps, strict=True):
        judged[place][:] = [
            replace(item, heat=_heat(heat[item.slug], item))
            if item.fired and item.slug in heat else item
            for item in judged[place]
        ]  # fmt: skip


def _heat(given: NDArray[np.float32], item: Judgement) -> NDArray[np.float32]:
    heat = np.asarray(given, dtype=np.float32)
    if heat.ndim != 2 or not heat.size or not np.isfinite(heat).all() or heat.min() < 0:
        raise UVRError(
            f"The judge {item.judge} gave no heat map for {item.slug!r}: (rows, columns) of finite "
            f"numbers not below 0 are expected, found an array of shape {heat.shape}. Mend the "
            "judge."
        )
    return heat


def _judgement(slug: str, given: Mapping[str, float], judge: Judge, by: str) -> Judgement:
    score = float(given.get(slug, float("nan")))
    if not isfinite(score):
        raise UVRError(
            f"The judge {by} gave no finite score for {slug!r}: found {given.get(slug)!r}; no "
            "picture is returned unjudged. Mend the judge."
        )
    return Judgement(slug, score, float(judge.thresholds[slug]), by)


def thresholds_of(
    slugs: Mapping[str, object], threshold: float | Mapping[str, float]
) -> dict[str, float]:
    """One threshold for each slug; ValueError where one is missing."""
    if not isinstance(threshold, Mapping):
        return dict.fromkeys(slugs, float(threshold))
    if missing := sorted(set(slugs) - set(threshold)):
        raise ValueError(f"no threshold for {', '.join(missing)}")
    return {slug: float(threshold[slug]) for slug in slugs}
