"""From a call that ended to the decisions that listeners are told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from PIL import Image

from concepts.errors import UVRError
from uvr.decisions.decision import Decision
from uvr.engine.pictures import Pictures
from uvr.engine.request import Request
from uvr.report import RegulationReport

log = logging.getLogger("uvr.regulator")


def tell(listeners: Iterable[Callable[[Decision], object]], decisions: Iterable[Decision]) -> None:
    """Tell listeners each decision; one that fails stops neither the call nor the others."""
    for decision in decisions:
        for listener in listeners:
            try:
                listener(decision)
            except Exception:
                log.exception("a decision was not taken by on_decision; the call goes on")


def decisions_of(report: RegulationReport, request: Request, result: Any) -> Iterator[Decision]:
    """Yield the decision on each picture of a call.

    Args:
        report: The call's, complete.
        request: Its arguments.
        result: What the pipeline returned.
    """
    images = list(_images(request, result))
    for verdict in report.verdicts:
        place = verdict.picture
        image = images[place] if place < len(images) else None
        yield Decision.of(report, verdict, prompt=request.prompt_of(place), picture=image)


def _images(request: Request, result: Any) -> Iterator[Image.Image]:
    """The pictures that were returned; none where the call asked for latents."""
    if request.arguments.get("output_type") == "latent":
        return
    try:
        pictures = Pictures(result)
    except UVRError:
        return
    for place in range(len(pictures)):
        yield pictures.to_pil(place)
