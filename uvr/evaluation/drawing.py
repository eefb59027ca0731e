"""What is drawn for a case, and how a pipeline is called for a batch of cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from uvr.evaluation.cases import Case
from uvr.families.known import family_of
from uvr.profiles import ModelProfile
from uvr.report import RegulationReport
from uvr.verdict import Verdict


@dataclass(frozen=True)
class Picture:
    """One picture that a method drew.

    Attributes:
        image: RGB. What stands for a picture that was refused is grey (``refused``).
        verdict: What the method says became of it; None from a method that says nothing.
        fired: Slugs of the concepts that the method found and acted on, whatever came of it.
        mask: Patches that were changed on purpose, (rows, columns); None where a method has none.
        scores: For the slug of a concept, how strongly each patch matched, (rows, columns): what
            localisation is measured by.
    """

    image: Image.Image
    verdict: Verdict | None = None
    fired: tuple[str, ...] = ()
    mask: NDArray[np.bool_] | None = None
    scores: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


class Drawer(Protocol):
    """Draws a batch of cases that one call of a pipeline can draw (``Case.together``)."""

    def __call__(self, cases: Sequence[Case]) -> list[Picture]:
        """Draw one picture a case, in their order, each from its own seed."""
        ...


def call_arguments(
    pipe: Any, profile: ModelProfile, cases: Sequence[Case], **more: Any
) -> dict[str, Any]:
    """Arguments of the pipeline's call that draws some cases.

    Args:
        pipe: The stock pipeline.
        profile: Its profile, for what the cases leave unsaid.
        cases: They must have ``together`` in common.
        more: Arguments that take the place of others, such as ``negative_prompt``.
    """
    request: dict[str, Any] = {
        name: torch.cat([case.tensors[name] for case in cases]) for name in cases[0].tensors
    }
    if "prompt_embeds" not in request:
        request["prompt"] = [case.prompt for case in cases]
    if cases[0].source is not None:
        request["image"] = [case.source for case in cases]
    request |= {**cases[0].call, **more}
    if isinstance(request.get("negative_prompt"), str):  # pipelines want one a prompt
        request["negative_prompt"] = [request["negative_prompt"]] * len(cases)
    arguments = family_of(pipe).call_arguments(profile, request)
    generators = [torch.Generator().manual_seed(case.seed) for case in cases]
    return {"generator": generators, **arguments}


def regulated_pictures(images: Sequence[Image.Image], report: RegulationReport) -> list[Picture]:
    """The pictures of one regulated call with what its report says of each."""
    return [_regulated(image, report, place) for place, image in enumerate(images)]


def _regulated(image: Image.Image, report: RegulationReport, place: int) -> Picture:
    findings = report.images[place] if report.images else []
    checks = report.checks[place] if report.checks else []
    acted = [item for item in (*findings, *checks) if item.fired and item.enforced]
    masks = [item.mask for item in acted]
    return Picture(
        image,
        verdict=report.verdicts[place] if report.verdicts else None,
        fired=tuple(sorted({item.slug for item in acted})),
        mask=np.logical_or.reduce(masks) if masks else None,
        scores={item.slug: item.scores for item in findings if item.scores is not None},
    )


def refused(case: Case, profile: ModelProfile, reason: str) -> Picture:
    """A grey picture in place of one that a method would not draw, or gave up.

    Args:
        case: What was asked.
        profile: For the picture's size.
        reason: Why, in a sentence.
    """
    height, width = (case.call.get(name, profile.call[name]) for name in ("height", "width"))
    grey = Image.new("RGB", (int(width), int(height)), (128, 128, 128))
    return Picture(grey, Verdict(0, "blocked", "", (), reason))
