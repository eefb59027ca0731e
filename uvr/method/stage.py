"""Which steps of a schedule are looked at and regulated, from the scheduler's own sigmas.

UVR (arXiv 2606.06875), start-up stage: unsafe semantics appear in the first steps and are regulated
there; the later stages are left alone. The reference release regulates while timestep >= 850 of
1000. Here that number belongs to the model's profile, since small models decide later, and it is a
share of the noise level at which the generation starts, since not every one starts from pure noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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
