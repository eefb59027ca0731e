"""What a judge is: pictures in, a score for each concept out, and a threshold for each score.

A judge sees finished pictures and nothing of how they came about, so it may be any model. Write
one of your own as a class with the attributes and the method of ``Judge``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Protocol

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


@dataclass(frozen=True)
class Judgement:
    """What a judge says of one concept in one picture.

    Attributes:
        slug: The concept.
        score: The judge's.
        threshold: "score >= threshold is a match".
        judge: The judge's name and version, "NAME/VERSION".
    """

    slug: str
    score: float
    threshold: float
    judge: str

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
    return [[_judgement(slug, given, judge, by) for slug in sorted(judge.thresholds)]
            for given in scores]  # fmt: skip


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
