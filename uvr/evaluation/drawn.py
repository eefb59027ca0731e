"""Pictures of many cases at once, stock or regulated, with the reports of the calls."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from PIL import Image

from concepts.bundle import Bundle
from uvr.anchors.capture import Progress
from uvr.engine.check import Check
from uvr.engine.regulator import Regulator
from uvr.evaluation.cases import Case, batches_of
from uvr.evaluation.drawing import call_arguments
from uvr.families.known import profile_for
from uvr.report import RegulationReport

BATCH = 10


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
    """Draw cases with equal arguments, BATCH at a time, regulated by `bundle` if there is one.

    Pictures in which a `check` finds something are drawn again or else blocked.
    """
    profile = profile_for(pipe)
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
        for part in batches_of(cases, BATCH):
            images += drawing(**call_arguments(pipe, profile, part)).images
            if bundle is not None:
                reports += [(drawing.last, index) for index in range(len(part))]
            if progress is not None:
                progress(len(images), len(cases))
    return Drawn(images, reports, (time.perf_counter() - start) / max(1, len(cases)))
