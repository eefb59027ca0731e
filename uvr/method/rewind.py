"""Run the first steps of a generation again, regulated, from a record of how they ran.

UVR (arXiv 2606.06875) regulates from the first step of the start-up stage. Text-to-image decides
*where* things are only some steps later, and a look taken from regulated features would match its
own noise. So the first steps run as they would anyway, are recorded, and only when something is
found do they run again with the mask. The reference release has nothing like it.

What lies away from the mask can be held on the recorded trajectory meanwhile (``kept``), so that
the rest of the picture is laid out as it was.

Identity: the scheduler steps from the plain latents ``x`` and never notices. The velocity that it
gets, plus ``(x' - x) / dt``, takes it to where the regulated latents ``x'`` go:
``x + dt (v + (x' - x) / dt) = x' + dt v`` (``carried_velocity``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Call = Mapping[str, Any]
"""Arguments of one transformer call, by name."""

Forward = Callable[[Call, Tensor], Sequence[Tensor]]
"""One call with other latents: the velocity of each of its passes, conditional first."""


@dataclass
class StepRecord:
    """One step as it ran.

    True CFG makes two passes a step: in two calls, conditional first, or in one call that holds
    both.

    Attributes:
        step: Its number in the schedule.
        latents: What it began with, (pictures, tokens, channels).
        calls: Its transformer calls.
        velocities: What each pass predicted, conditional first, shaped like ``latents``.
    """

    step: int
    latents: Tensor
    calls: list[Call] = field(default_factory=list)
    velocities: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class Trajectory:
    """Recorded steps and what is needed to run them again.

    Attributes:
        records: Consecutive steps, at least one.
        dts: ``sigma[i + 1] - sigma[i]`` of each.
        guidance: True-CFG scale, or None with one pass a step.
        end: Where they led, (pictures, tokens, channels).
    """

    records: Sequence[StepRecord]
    dts: Sequence[float]
    guidance: float | None
    end: Tensor

    def replay(self, forward: Forward, kept: Tensor | None = None) -> Tensor:
        """Run the steps again from the first latents.

        Args:
            forward: One transformer call; the caller has it regulated.
            kept: Tokens that go where they went before, (pictures, tokens), bool; None for none.

        Returns:
            Latents at the step after the last record, (pictures, tokens, channels).
        """
        latents = self.records[0].latents
        before = [*(record.latents for record in self.records[1:]), self.end]
        for record, dt, plain in zip(self.records, self.dts, before, strict=True):
            velocities = [v for call in record.calls for v in forward(call, latents)]
            latents = euler_step(latents, guided(velocities, self.guidance), dt)
            if kept is not None:
                latents = torch.where(kept[:, :, None], plain.to(latents.dtype), latents)
        return latents


def plan_replay(
    records: Sequence[StepRecord], sigmas: Sequence[float], latents: Tensor
) -> Trajectory | str:
    """Check that recorded steps were plain Euler steps that lead to ``latents``.

    Under true CFG the scale is not passed to the transformer; it is read from the trajectory by
    least squares. A pipeline that changes the latents between steps (an inpainting blend, a
    callback) fails the check and is not rewound.

    Args:
        records: Steps from the first one on.
        sigmas: The schedule with its final value.
        latents: Output latents at the step after the last record.

    Returns:
        A trajectory, or the reason why there is none.
    """
    if not records:
        return "no step was recorded before the look"
    passes = {len(record.velocities) for record in records}
    if passes not in ({1}, {2}):
        return f"steps made {sorted(passes)} transformer passes, expected 1 or 2 throughout"
    points = [record.latents for record in records] + [latents]
    if records[0].velocities[0].shape != latents.shape:
        return "the transformer sees more channels than it predicts"
    dts = [sigmas[record.step + 1] - sigmas[record.step] for record in records]
    moves = [(points[i + 1].double() - points[i].double()) / dt for i, dt in enumerate(dts)]
    guidance = _guidance(records, moves) if passes == {2} else None
    share = 1e-3 if latents.dtype == torch.float32 else 0.02
    # Latents are stored rounded to their dtype, by 0.3 eps in the mean square; a short step divides
    # that error by its small dt.
    rounding = 0.3 * torch.finfo(latents.dtype).eps
    for i, (record, move) in enumerate(zip(records, moves, strict=True)):
        predicted = guided([v.double() for v in record.velocities], guidance)
        stored = rounding * points[i + 1].double().norm() / abs(dts[i])
        if (predicted - move).norm() > share * move.norm() + stored:
            return "latents did not follow plain Euler steps"
    return Trajectory(tuple(records), dts, guidance, latents)


def guided(velocities: Sequence[Tensor], guidance: float | None) -> Tensor:
    """Combine the passes of a step by true CFG, conditional first."""
    if guidance is None or len(velocities) == 1:
        return velocities[0]
    conditional, unconditional = velocities
    return unconditional + guidance * (conditional - unconditional)


def euler_step(latents: Tensor, velocity: Tensor, dt: float) -> Tensor:
    """Step as ``FlowMatchEulerDiscreteScheduler`` does: in float32, back to the model's dtype."""
    return (latents.float() + dt * velocity).to(velocity.dtype)


def where_fired(fired: Tensor, changed: Tensor, plain: Tensor) -> Tensor:
    """Take ``changed`` where something fired, and the bits of ``plain`` elsewhere.

    Args:
        fired: (rows,), bool.
        changed: (rows, ...).
        plain: Like ``changed``.
    """
    return torch.where(fired.view(-1, *[1] * (plain.ndim - 1)), changed, plain)


def carried_velocity(velocity: Tensor, correction: Tensor) -> Tensor:
    """Velocity that takes the plain latents to where the regulated trajectory goes.

    Args:
        velocity: At the regulated latents.
        correction: ``(regulated - plain) / dt`` of the latents, float32, shaped like ``velocity``.
    """
    return (velocity.float() + correction).to(velocity.dtype)


def _guidance(records: Sequence[StepRecord], moves: Sequence[Tensor]) -> float:
    above = below = 0.0
    for record, move in zip(records, moves, strict=True):
        conditional, unconditional = (velocity.double() for velocity in record.velocities)
        direction = conditional - unconditional
        above += float(((move - unconditional) * direction).sum())
        below += float((direction * direction).sum())
    return above / below if below > 0 else 1.0
