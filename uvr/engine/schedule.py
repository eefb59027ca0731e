"""What a scheduler says of a generation: its noise levels, and the step that runs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor


def noise_levels(scheduler: Any) -> list[float]:
    """Noise level of each step of the present schedule, with the final one."""
    return [float(sigma) for sigma in scheduler.sigmas.tolist()]


def current_step(scheduler: Any, sigma: Tensor) -> int:
    """Number of the step that a transformer call belongs to.

    Schedulers know it once they have stepped, or were told where to begin. The noise level that the
    call was given decides only as a last resort: it may be rounded, and reading it waits for the
    GPU.
    """
    for name in ("step_index", "begin_index"):
        step = getattr(scheduler, name, None)
        if step is not None:
            return int(step)
    level = float(sigma.flatten()[0])
    distances = [abs(known - level) for known in noise_levels(scheduler)[:-1]]
    return int(np.argmin(distances))


def is_plain_euler(scheduler: Any) -> bool:
    """Say whether a scheduler's steps are the Euler steps that ``uvr.method.rewind`` repeats."""
    return isinstance(scheduler, FlowMatchEulerDiscreteScheduler) and not (
        scheduler.config.get("stochastic_sampling") or scheduler.config.get("invert_sigmas")
    )


@contextmanager
def around_set_timesteps(
    scheduler: Any, check: Callable[[], None], start: Callable[[], None]
) -> Iterator[None]:
    """Call ``check`` before the scheduler gets a new schedule, and ``start`` once it has it."""
    original = scheduler.set_timesteps
    shadowed = scheduler.__dict__.get("set_timesteps")

    # Pipelines inspect the signature of set_timesteps, which ``wraps`` keeps.
    @functools.wraps(original)
    def set_timesteps(*args: Any, **kwargs: Any) -> Any:
        check()
        result = original(*args, **kwargs)
        start()
        return result

    scheduler.set_timesteps = set_timesteps
    try:
        yield
    finally:
        # Whoever wrapped it after us, on a shared scheduler, has yet to leave.
        if scheduler.__dict__.get("set_timesteps") is set_timesteps:
            del scheduler.set_timesteps
            if shadowed is not None:
                scheduler.set_timesteps = shadowed
