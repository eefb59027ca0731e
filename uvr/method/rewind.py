"""Run the first steps of a generation again, regulated, from a record of how they ran.

Text-to-image decides *where* things are only after a few steps, yet regulation works best from the
first one. So the first steps run as they would anyway, are recorded, and only when something is
found are they run again with the mask. The scheduler never notices: the velocity handed to it at
the look step carries the plain trajectory over to the regulated one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Forward = Callable[[Mapping[str, Any]], Tensor]


@dataclass
class StepRecord:
    """One step as it ran: the keyword arguments and the velocity of each pass.

    True CFG makes two passes a step, conditional first.
    """

    step: int
    calls: list[Mapping[str, Any]] = field(default_factory=list)
    velocities: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class Trajectory:
    """Recorded steps and what is needed to run them again.

    Attributes:
        records: Consecutive steps, at least one.
        dts: ``sigma[i + 1] - sigma[i]`` of each.
        guidance: True-CFG scale, or None with one pass a step.
        num_output: Number of output tokens.
    """

    records: Sequence[StepRecord]
    dts: Sequence[float]
    guidance: float | None
    num_output: int

    def replay(self, forward: Forward) -> Tensor:
        """Run the steps again from the first input.

        Args:
            forward: One transformer pass ``(keyword arguments) -> velocity``; the caller has it
                regulated.

        Returns:
            Latents at the step after the last record, (batch, output tokens, channels).
        """
        latents = output_latents(self.records[0].calls[0], self.num_output)
        for record, dt in zip(self.records, self.dts, strict=True):
            velocities = [
                forward(with_latents(call, latents))[:, : self.num_output] for call in record.calls
            ]
            latents = euler_step(latents, guided(velocities, self.guidance), dt)
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
    num_output = latents.shape[1]
    if not records:
        return "no step was recorded before the look"
    passes = {len(record.calls) for record in records}
    if passes not in ({1}, {2}):
        return f"steps made {sorted(passes)} transformer passes, expected 1 or 2 throughout"
    if any(call.get("controlnet_block_samples") is not None for call in records[0].calls):
        return "ControlNet residuals belong to the steps as they ran"
    points = [output_latents(record.calls[0], num_output) for record in records] + [latents]
    if records[0].velocities[0].shape[-1] != latents.shape[-1]:
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
    return Trajectory(tuple(records), dts, guidance, num_output)


def guided(velocities: Sequence[Tensor], guidance: float | None) -> Tensor:
    """Combine the passes of a step as FLUX pipelines do."""
    if guidance is None or len(velocities) == 1:
        return velocities[0]
    conditional, unconditional = velocities
    return unconditional + guidance * (conditional - unconditional)


def euler_step(latents: Tensor, velocity: Tensor, dt: float) -> Tensor:
    """Step as ``FlowMatchEulerDiscreteScheduler`` does: in float32, back to the model's dtype."""
    return (latents.float() + dt * velocity).to(velocity.dtype)


def output_latents(call: Mapping[str, Any], num_output: int) -> Tensor:
    """Latents of the output tokens in a transformer call; references come after them."""
    hidden_states: Tensor = call["hidden_states"]
    return hidden_states[:, :num_output]


def with_latents(call: Mapping[str, Any], latents: Tensor) -> dict[str, Any]:
    """Return the same call with other output latents and the same references."""
    hidden_states: Tensor = call["hidden_states"]
    references = hidden_states[:, latents.shape[1] :]
    joined = torch.cat([latents.to(hidden_states.dtype), references], dim=1)
    return {**call, "hidden_states": joined}


def _guidance(records: Sequence[StepRecord], moves: Sequence[Tensor]) -> float:
    above = below = 0.0
    for record, move in zip(records, moves, strict=True):
        conditional, unconditional = (velocity.double() for velocity in record.velocities)
        direction = conditional - unconditional
        above += float(((move - unconditional) * direction).sum())
        below += float((direction * direction).sum())
    return above / below if below > 0 else 1.0
