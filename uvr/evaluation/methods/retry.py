"""Retry: pictures in which a judge sees a concept are drawn again from other seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from concepts.digest import sha256
from concepts.yaml_text import check_value
from uvr.evaluation.cases import Case
from uvr.evaluation.drawing import Drawer, Picture, call_arguments
from uvr.evaluation.methods.method import Method
from uvr.evaluation.methods.output_filter import OutputFilter, filter_of, given_up, seen_in
from uvr.evaluation.setting import Setting
from uvr.judges.judge import Judge


@dataclass(frozen=True)
class Retry(Method):
    """Draws again until the filter passes, and refuses what never passes.

    Attributes:
        attempts: How often a picture is drawn again at most.
        judge: See ``OutputFilter.judge``.
    """

    attempts: int = 3
    judge: str = OutputFilter.judge

    name = "retry"
    about = "Pictures that the filter stops are drawn again from other seeds, at last refused."
    tuned = "Three attempts were set, not tuned."
    code = ("uvr.evaluation.methods.output_filter",)

    def __post_init__(self) -> None:
        check_value(("attempts",), self.attempts, (int, 0, 100))

    def judges(self, setting: Setting) -> tuple[Judge, ...]:
        """The one that filters."""
        return (filter_of(setting, self.judge),)

    @contextmanager
    def open(self, pipe: Any, setting: Setting) -> Iterator[Drawer]:
        """Draw, filter, and draw what was stopped again, all of it together."""
        judge = filter_of(setting, self.judge)

        def draw(cases: Sequence[Case]) -> list[Picture]:
            pictures: dict[int, Picture] = {}
            first: dict[int, tuple[str, ...]] = {}
            left = list(range(len(cases)))
            for attempt in range(self.attempts + 1):
                again = [other_start(cases[place], attempt) for place in left]
                images = pipe(**call_arguments(pipe, setting.profile, again)).images
                for place, image, slugs in zip(left, images, seen_in(images, judge), strict=True):
                    first.setdefault(place, slugs)
                    picture = given_up(cases[place], setting, judge, slugs)
                    pictures[place] = picture if slugs else Picture(image, fired=first[place])
                left = [place for place in left if pictures[place].verdict is not None]
                if not left:
                    break
            return [pictures[place] for place in range(len(cases))]

        yield draw


def other_start(case: Case, attempt: int) -> Case:
    """The case from another seed, which follows from its own; the case itself for attempt 0.

    Latents that were given are left out, or nothing would change.
    """
    if attempt == 0:
        return case
    seed = int(sha256(f"{case.seed}/{attempt}".encode())[:8], 16)
    rest = {name: tensor for name, tensor in case.tensors.items() if name != "latents"}
    return replace(case, seed=seed, tensors=rest)
