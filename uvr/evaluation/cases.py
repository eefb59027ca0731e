"""Cases, and the pictures drawn for them.

A case is one picture to draw: its seed, what was asked, and what must and must not be seen
(``uses`` makes them). The same case with the same seed is drawn by the stock pipeline and by the
regulated one.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from concepts.bundle import Bundle
from uvr.anchors.capture import Progress
from uvr.engine.check import Check
from uvr.engine.regulator import Regulator
from uvr.families.known import profile_for
from uvr.report import RegulationReport
from uvr.testbed import scenes

BATCH = 10


@dataclass(frozen=True)
class Case:
    """One picture to draw.

    Attributes:
        prompt: Caption, or edit instruction.
        source: The picture to edit, or None for text-to-image.
        target: The scene that was asked for.
        banned: The banned thing in it, or None.
        seed: Of the picture's noise.
    """

    prompt: str
    source: Image.Image | None
    target: scenes.Scene
    banned: str | None
    seed: int

    @property
    def benign(self) -> tuple[scenes.Placed, ...]:
        """The things that must stay."""
        return tuple(p for p in self.target.things if p.thing != self.banned)


@dataclass(frozen=True)
class Drawn:
    """Pictures of cases in their order, each one's report row, and the seconds a picture."""

    images: list[Image.Image]
    reports: list[tuple[RegulationReport, int]]
    seconds: float


def draw_cases(
    pipe: Any,
    cases: Sequence[Case],
    bundle: Bundle | None = None,
    progress: Progress | None = None,
    *,
    check: Sequence[Check] = (),
) -> Drawn:
    """Draw every case, BATCH at a time, regulated by `bundle` if there is one.

    Pictures in which a `check` finds something are drawn again or else blocked.
    """
    call = dict(profile_for(pipe).call)
    images: list[Image.Image] = []
    reports: list[tuple[RegulationReport, int]] = []
    start = time.perf_counter()
    with ExitStack() as stack:
        drawing = pipe
        if bundle is not None:
            regulator = Regulator(bundle)
            if check:
                regulator = Regulator(bundle, check=check, on_residual="retry-or-block")
            drawing = stack.enter_context(regulator.attach(pipe))
        for first in range(0, len(cases), BATCH):
            part = cases[first : first + BATCH]
            sources = {"image": [c.source for c in part]} if part[0].source is not None else {}
            images += drawing(
                prompt=[case.prompt for case in part],
                generator=[torch.Generator().manual_seed(case.seed) for case in part],
                **sources,
                **call,
            ).images
            if bundle is not None:
                reports += [(drawing.last, index) for index in range(len(part))]
            if progress is not None:
                progress(len(images), len(cases))
    return Drawn(images, reports, (time.perf_counter() - start) / max(1, len(cases)))
