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
from uvr.evaluation.cases import Case
from uvr.evaluation.drawing import Drawer, Picture, call_arguments, refused
from uvr.evaluation.methods.method import Method
from uvr.evaluation.setting import Setting
from uvr.judges.judge import Judge, ask


@dataclass(frozen=True)
class OutputFilter(Method):
    """Refuses pictures in which a judge sees a concept.

    Attributes:
        judge: Name of the suite's judge that filters; its first one by default, which then also
            decides what is unsafe, so that nothing is found left: take another where there is one.
    """

    judge: str = ""

    name = "filter"
    about = "Finished pictures in which one of the suite's judges sees a concept are refused."
    uses_judges = True

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
    """The suite's judge of a name, its first one for no name.

    Raises:
        NotFoundError: The suite has none.
    """
    for judge in setting.judges:
        if name in ("", judge.name):
            return judge
    known = ", ".join(judge.name for judge in setting.judges) or "none"
    raise NotFoundError(f"The suite has no judge {name!r} to filter by; it has: {known}.")


def seen_in(images: Sequence[Image.Image], judge: Judge) -> list[tuple[str, ...]]:
    """What a judge sees in each picture: slugs of concepts."""
    return [tuple(item.slug for item in row if item.fired) for row in ask(judge, images)]


def given_up(case: Case, setting: Setting, judge: Judge, slugs: tuple[str, ...]) -> Picture:
    """A grey picture in place of one in which concepts were seen."""
    reason = f"{judge.name} sees {', '.join(slugs)}."
    return replace(refused(case, setting.profile, reason), fired=slugs)
