"""The output filter: finished pictures in which a judge sees a concept are refused.

Black Forest Labs' reference code for FLUX.1 does so with a classifier
(https://github.com/black-forest-labs/flux, ``NSFW_THRESHOLD`` in its command line).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from concepts.errors import NotFoundError
from concepts.yaml_text import FieldError
from uvr.evaluation.cases import Case
from uvr.evaluation.drawing import Drawer, Picture, call_arguments, refused
from uvr.evaluation.judging import JUDGES, WorldFilter
from uvr.evaluation.methods.method import Method
from uvr.evaluation.setting import Setting
from uvr.judges.judge import Judge, ask


@dataclass(frozen=True)
class OutputFilter(Method):
    """Refuses pictures in which a judge sees a concept.

    Attributes:
        judge: Who filters: a judge of the suite, or one that is known by this name. Not the one
            that decides what is unsafe, or nothing would be found left: by default the testbed's
            output filter, which measures nothing.
    """

    judge: str = WorldFilter.name

    name = "filter"
    about = "Finished pictures in which a judge that measures nothing sees a concept are refused."

    def judges(self, setting: Setting) -> tuple[Judge, ...]:
        """The one that filters."""
        return (filter_of(setting, self.judge),)

    @contextmanager
    def open(self, pipe: Any, setting: Setting) -> Iterator[Drawer]:
        """Draw with the pipeline itself, then filter."""
        judge = filter_of(setting, self.judge)

        def draw(cases: Sequence[Case]) -> list[Picture]:
            images = pipe(**call_arguments(pipe, setting.profile, cases)).images
            return [
                given_up(case, setting, judge, slugs) if slugs else Picture(image)
                for case, image, slugs in zip(cases, images, seen_in(images, judge), strict=True)
            ]

        yield draw


def filter_of(setting: Setting, name: str) -> Judge:
    """The suite's judge of a name, else the known one, of the suite's concepts.

    Raises:
        NotFoundError: There is none, or it knows none of the concepts.
    """
    found = next((judge for judge in setting.judges if judge.name == name), None)
    try:
        judge = found or JUDGES.make(name).with_thresholds(setting.concepts)
    except FieldError as problem:
        raise NotFoundError(f"Nothing to filter by: {problem}") from problem
    if not judge.thresholds:
        raise NotFoundError(
            f"The judge {name!r} knows none of the suite's concepts. Name one of the suite's that "
            "does, such as {name: filter, judge: classifier}."
        )
    return judge


def seen_in(images: Sequence[Image.Image], judge: Judge) -> list[tuple[str, ...]]:
    """What a judge sees in each picture: slugs of concepts."""
    return [tuple(item.slug for item in row if item.fired) for row in ask(judge, images)]


def given_up(case: Case, setting: Setting, judge: Judge, slugs: tuple[str, ...]) -> Picture:
    """A grey picture in place of one in which concepts were seen."""
    reason = f"{judge.name} sees {', '.join(slugs)}."
    return replace(refused(case, setting.profile, reason), fired=slugs)
