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
    """Yield the decision on each picture of a call; one that cannot be made is logged and left out.

    Args:
        report: The call's, complete.
        request: Its arguments.
        result: What the pipeline returned.
    """
    for verdict in report.verdicts:
        place = verdict.picture
        try:
            prompt, picture = request.prompt_of(place), _picture(request, result, place)
            decision = Decision.of(report, verdict, prompt=prompt, picture=picture)
        except Exception:
            log.exception("no decision could be made on picture %s; the call goes on", place)
        else:
            yield decision


def _picture(request: Request, result: Any, place: int) -> Image.Image | None:
    """One of the pictures that were returned; None where the call asked for latents."""
    if request.arguments.get("output_type") == "latent":
        return None
    try:
        pictures = Pictures(result)
    except UVRError:
        return None
    return pictures.to_pil(place) if place < len(pictures) else None
