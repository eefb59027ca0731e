"""Draw one picture with a pipeline, regulated by a bundle or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from PIL import Image

from concepts.bundle import Bundle
from uvr.anchors.capture import Progress
from uvr.delivery.source import BundleSource
from uvr.engine.check import Check, Listener
from uvr.engine.regulator import Regulator
from uvr.families.known import family_of
from uvr.method.presets import OWN
from uvr.profiles import ModelProfile
from uvr.report import RegulationReport


def draw(
    pipe: Any,
    profile: ModelProfile,
    request: Mapping[str, Any],
    *,
    seed: int = 0,
    bundle: Bundle | BundleSource | None = None,
    check: Sequence[Check] = (),
    on_residual: str = "flag",
    preset: str = OWN,
    strength: float = 1.0,
    on_decision: Listener | Sequence[Listener] = (),
    progress: Progress | None = None,
) -> tuple[Image.Image, RegulationReport | None]:
    """Call a pipeline once.

    Args:
        pipe: A pipeline of a known family.
        profile: Its profile; gives the arguments that ``request`` does not.
        request: Arguments of the call: ``prompt``, and ``image`` for editing. ``height`` and
            ``width`` hold for edits too.
        seed: Of the noise; the same with and without a bundle.
        bundle: What to keep out, or a started source of it; None for the stock pipeline.
        check: As ``Regulator`` takes it; needs a bundle.
        on_residual: The same.
        preset: How to regulate; see ``Regulator``.
        strength: How strongly.
        on_decision: As ``Regulator`` takes it; needs a bundle.
        progress: Called after each step with steps done and steps in all.

    Raises:
        MismatchError: The bundle was made for another model or task.
    """
    arguments = family_of(pipe).call_arguments(profile, request)
    generator = torch.Generator().manual_seed(seed)

    def after_step(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if progress is not None:
            progress(step + 1, pipe.num_timesteps)
        return tensors

    with ExitStack() as stack:
        drawing = pipe
        if bundle is not None:
            regulator = Regulator(
                bundle, profile=profile, preset=preset, strength=strength, check=check,
                on_residual=on_residual, on_decision=on_decision,
            )  # fmt: skip
            drawing = stack.enter_context(regulator.attach(pipe))
        images = drawing(**arguments, generator=generator, callback_on_step_end=after_step).images
    return images[0], drawing.last if bundle is not None else None
