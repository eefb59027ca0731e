"""Judges of a suite, and the raw scores that they give, which thresholds are applied to later.

A judge of a suite is an entry with parameters that opens a judge of ``uvr.judges``. Any such judge
will do; one that also has ``instances`` scores every place where it sees something, so that
detections can be counted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from typing import Any, ClassVar, Protocol, runtime_checkable

from PIL import Image

from concepts.digest import json_digest
from concepts.errors import UVRError
from concepts.yaml_text import FieldError
from uvr.evaluation.catalogue import Catalogue, parameters_of
from uvr.evaluation.detector_judge import DetectorJudge
from uvr.evaluation.imagenet import IMAGENET_CLASSES, imagenet_chances, thing_scores
from uvr.evaluation.output_filter import OutputFilterJudge
from uvr.judges.classifier import ClassifierJudge
from uvr.judges.clip import ClipJudge
from uvr.judges.judge import Judge, Scores
from uvr.testbed.samples import CONCEPTS

RawScores = Mapping[str, Sequence[float]]
"""For each class, the scores of every place where a judge sees it, best first; one at least."""

AT_ONCE = 32
"""Pictures that a judge is given at once."""


@runtime_checkable
class CountingJudge(Judge, Protocol):
    """A judge that scores each place by itself."""

    def instances(self, pictures: Sequence[Image.Image]) -> Sequence[Mapping[str, Sequence[float]]]:
        """Score every place where a picture may show something, for each class, best first."""
        ...


class SuiteJudge(ABC):
    """A judge as a suite names it; subclasses are frozen dataclasses.

    A field ``threshold`` is a number, or one for each class: "score >= threshold: it is seen". All
    other fields decide scores, and a change of one has pictures scored anew.

    Attributes:
        name: What suites and reports call it.
        about: What it is, in one sentence.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    threshold: float | Mapping[str, float]

    @abstractmethod
    def open(self) -> Judge:
        """Load the judge."""

    @cached_property
    def judge(self) -> Judge:
        """The judge, loaded once."""
        return self.open()

    @property
    def digest(self) -> str:
        """Digest of what decides its raw scores: weights and classes, but no threshold."""
        judge = self.judge
        parameters = {k: v for k, v in parameters_of(self).items() if k != "threshold"}
        classes = sorted(judge.thresholds)
        return json_digest([self.name, judge.name, judge.version, classes, parameters])

    def threshold_of(self, name: str) -> float | None:
        """The threshold of a class; None for a class that it does not know."""
        if name not in self.judge.thresholds:
            return None
        if isinstance(self.threshold, Mapping):
            return self.threshold.get(name, float(self.judge.thresholds[name]))
        return self.threshold

    def with_thresholds(self, concepts: Sequence[str]) -> Judge:
        """The judge of these concepts alone, with the suite's thresholds: what a filter asks."""
        found = {slug: self.threshold_of(slug) for slug in concepts}
        known = {slug: value for slug, value in found.items() if value is not None}
        return _Thresholded(self.name, self.judge, known)

    def raw_scores(self, pictures: Sequence[Image.Image]) -> list[RawScores]:
        """Score pictures; UVRError where one is left out or a score is not finite."""
        found: list[RawScores] = []
        for first in range(0, len(pictures), AT_ONCE):
            part = pictures[first : first + AT_ONCE]
            judge = self.judge
            if isinstance(judge, CountingJudge):
                scores: Sequence[RawScores] = judge.instances(part)
            else:
                scores = [{k: [float(v)] for k, v in row.items()} for row in judge.scores(part)]
            self._check(part, scores)
            found += scores
        return found

    def _check(self, pictures: Sequence[Image.Image], scores: Sequence[RawScores]) -> None:
        whole = len(scores) == len(pictures) and all(
            row.get(name) and all(isfinite(score) for score in row[name])
            for row in scores
            for name in self.judge.thresholds
        )
        if not whole:
            raise UVRError(
                f"The judge {self.name!r} left out a picture or a class, or gave a score that is "
                "not finite; nothing can be counted then. Mend the judge."
            )

    def to_dict(self) -> dict[str, Any]:
        """Name, version, classes with thresholds: what a report says of a judge."""
        classes = {name: self.threshold_of(name) for name in sorted(self.judge.thresholds)}
        return {
            "name": self.name,
            "about": self.about,
            "version": self.judge.version,
            "digest": self.digest,
            "thresholds": classes,
        }


@dataclass(frozen=True)
class _Thresholded:
    """A judge of some of its concepts, with the suite's name for it and other thresholds."""

    name: str
    judge: Judge
    thresholds: Mapping[str, float]

    @property
    def version(self) -> str:
        return self.judge.version

    def scores(self, pictures: Sequence[Image.Image]) -> Scores:
        rows = self.judge.scores(pictures)
        return [{slug: row[slug] for slug in self.thresholds} for row in rows]


def check_threshold(threshold: float | Mapping[str, float]) -> None:
    """Raise FieldError for thresholds that are no finite numbers."""
    each = threshold.values() if isinstance(threshold, Mapping) else [threshold]
    if not all(isfinite(value) for value in each):
        raise FieldError(("threshold",), f"found {threshold}, allowed: finite numbers")


@dataclass(frozen=True)
class WorldDetector(SuiteJudge):
    """The testbed's detector."""

    threshold: float | Mapping[str, float] = 0.5

    name = "testbed-detector"
    about = "A small detector of all things of the testbed's world, trained on rendered scenes."

    def __post_init__(self) -> None:
        check_threshold(self.threshold)

    def open(self) -> Judge:
        """The detector of the package, with all things."""
        return DetectorJudge(things=True)


@dataclass(frozen=True)
class WorldFilter(SuiteJudge):
    """The testbed's output filter, which methods filter by; it should not also measure."""

    threshold: float | Mapping[str, float] = field(default_factory=dict)

    name = OutputFilterJudge.name
    about = "The testbed's output filter, of another make than the detector; thresholds its own."

    def __post_init__(self) -> None:
        check_threshold(self.threshold)

    def open(self) -> Judge:
        """The filter of the package."""
        return OutputFilterJudge()


@dataclass(frozen=True)
class WorldImagenet(SuiteJudge):
    """The testbed's second judge."""

    threshold: float | Mapping[str, float] = 0.3

    name = "testbed-imagenet"
    about = "EfficientNet-Lite0 of ImageNet, which knows revolvers and cleavers; not trained here."

    def __post_init__(self) -> None:
        check_threshold(self.threshold)

    def open(self) -> Judge:
        """The classifier of the `testbed` extra."""
        return ImagenetJudge()


class ImagenetJudge:
    """Scores the two stand-in concepts that ImageNet has classes of, by crops of the picture."""

    name = "efficientnet-lite0"
    version = "imagenet-1k"

    def __init__(self) -> None:
        self._things = {s: thing for s, thing in CONCEPTS.items() if thing in IMAGENET_CLASSES}
        self.thresholds = dict.fromkeys(self._things, 0.3)

    def scores(self, pictures: Sequence[Image.Image]) -> Scores:
        """Score pictures, 0 to 1."""
        chances = imagenet_chances(pictures)
        by_slug = {slug: thing_scores(chances, thing) for slug, thing in self._things.items()}
        return [{slug: by_slug[slug][n] for slug in by_slug} for n in range(len(pictures))]


@dataclass(frozen=True)
class Classifier(SuiteJudge):
    """An image classifier of transformers in a folder; see ``uvr.judges.classifier``."""

    folder: str
    labels: Mapping[str, tuple[str, ...]]
    threshold: float | Mapping[str, float] = 0.5

    name = "classifier"
    about = "An image classifier whose labels stand for concepts."

    def __post_init__(self) -> None:
        check_threshold(self.threshold)

    def open(self) -> Judge:
        """The classifier in the folder."""
        return ClassifierJudge(self.folder, self.labels)


@dataclass(frozen=True)
class Clip(SuiteJudge):
    """A CLIP model in a folder; see ``uvr.judges.clip``."""

    folder: str
    texts: Mapping[str, tuple[str, ...]]
    others: tuple[str, ...]
    threshold: float | Mapping[str, float] = 0.5

    name = "clip"
    about = "A CLIP model that compares a picture with texts of each concept and of other things."

    def __post_init__(self) -> None:
        check_threshold(self.threshold)

    def open(self) -> Judge:
        """The model in the folder."""
        return ClipJudge(self.folder, self.texts, self.others)


JUDGES: Catalogue[SuiteJudge] = Catalogue(
    "judge", [WorldDetector, WorldFilter, WorldImagenet, Classifier, Clip]
)
"""``JUDGES.register`` makes one of your own known."""
