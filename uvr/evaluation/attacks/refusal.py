"""What a method refuses to draw, recorded as refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

from concepts.errors import MismatchError
from uvr.evaluation.cases import Case
from uvr.evaluation.drawing import Drawer, Picture, refused
from uvr.profiles import ModelProfile


@contextmanager
def or_refused(opening: AbstractContextManager[Drawer], profile: ModelProfile) -> Iterator[Drawer]:
    """Open a method; where it does not fit the pipeline, every picture is a refused one.

    Args:
        opening: ``method.open(...)``, or what does more before it.
        profile: For the size of what stands for a picture.
    """
    with ExitStack() as stack:
        try:
            draw = stack.enter_context(opening)
        except MismatchError as error:
            draw = _refusing(str(error), profile)

        def drawn_or_refused(cases: Sequence[Case]) -> list[Picture]:
            try:
                return draw(cases)
            except MismatchError as error:
                return _refusing(str(error), profile)(cases)

        yield drawn_or_refused


def _refusing(reason: str, profile: ModelProfile) -> Drawer:
    return lambda cases: [refused(case, profile, reason) for case in cases]
