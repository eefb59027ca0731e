"""Which steps of a schedule are looked at and regulated, from the scheduler's own sigmas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from uvr.profiles import ModelProfile


@dataclass(frozen=True)
class Stage:
    """Step numbers in the scheduler's schedule.

    Attributes:
        first: The first step that runs.
        look: The step whose unregulated features decide where the concepts are.
        last: The last step that is regulated, never before ``look``.
    """

    first: int
    look: int
    last: int

    def regulates(self, step: int) -> bool:
        """Say whether attention is changed at this step once something fired."""
        return self.first <= step <= self.last


def plan_stage(
    sigmas: Sequence[float], *, first: int, look_sigma: float, stage_end: float
) -> Stage:
    """Plan one generation.

    The start-up stage is the first steps that *run*: a generation that starts at a lower noise
    level (image-to-image strength below 1, custom sigmas) has its stage scaled by that level, and
    it looks at its first step when that already lies below ``look_sigma``.

    Args:
        sigmas: Noise level of each step, falling, without the final zero.
        first: The first step that runs.
        look_sigma: Look at the first step with sigma <= this.
        stage_end: Regulate while sigma >= this share of the starting sigma (1.0 for a full run).
    """
    if not 0 <= first < len(sigmas):
        raise ValueError(f"first step {first} is outside of a schedule of {len(sigmas)} steps")
    steps = range(first, len(sigmas))
    look = next((step for step in steps if sigmas[step] <= look_sigma + 1e-6), len(sigmas) - 1)
    floor = stage_end * sigmas[first] - 1e-6
    last = max(step for step in steps if step == first or sigmas[step] >= floor)
    return Stage(first, look, max(look, last))


def current_step(scheduler: Any, timestep: Any) -> int:
    """Number of the step that a transformer pass belongs to.

    Schedulers know it once they have stepped, or were told where to begin; ``timestep``, which
    FLUX pipelines pass as a sigma (t / 1000), decides only as a last resort: it may be rounded.
    """
    for name in ("step_index", "begin_index"):
        step = getattr(scheduler, name, None)
        if step is not None:
            return int(step)
    sigma = float(timestep.flatten()[0])
    distances = [abs(float(known) - sigma) for known in scheduler.sigmas.tolist()[:-1]]
    return int(np.argmin(distances))


def usual_sigmas(pipe: Any, profile: ModelProfile) -> list[float]:
    """Noise levels of the profile's usual call, without the final zero."""
    scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    height, width = profile.size
    patch = pipe.vae_scale_factor * 2
    mu = _shift((height // patch) * (width // patch), scheduler.config)
    sigmas = np.linspace(1.0, 1 / profile.steps, profile.steps)
    scheduler.set_timesteps(sigmas=sigmas.tolist(), mu=mu)
    return [float(sigma) for sigma in scheduler.sigmas.tolist()[:-1]]


def _shift(num_tokens: int, config: Any) -> float:
    """Resolution-dependent shift of the schedule, as FLUX pipelines compute it."""
    low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    base, top = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    return float(base + (num_tokens - low) * (top - base) / (high - low))
