"""What runs again once a look found something: the steps before it, and its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from uvr.engine.generation import Detour, Generation, Regulation
from uvr.engine.schedule import is_plain_euler
from uvr.families.attention import Action, AttentionState
from uvr.method.masks import dilate, resize_mask
from uvr.method.modulation import seeded_noise
from uvr.method.rewind import (
    Call,
    StepRecord,
    Trajectory,
    carried_velocity,
    plan_replay,
    where_fired,
)


@dataclass(frozen=True)
class Rerun:
    """Runs calls of one generation again, regulated.

    Attributes:
        generation: The generation, at its look.
        scheduler: Of the pipeline.
        state: What the attention layers go by.
        run: Runs one transformer call.
    """

    generation: Generation
    scheduler: Any
    state: AttentionState
    run: Callable[[Call], Any]

    def regulate(
        self, action: Action, records: Sequence[StepRecord], call: Call, output: Any
    ) -> Any:
        """Run what ran before, and the look step, again; give what that step puts out instead.

        Args:
            action: What the attention layers do from now on.
            records: The steps before the look, as they ran.
            call: The look step's call.
            output: What it put out.
        """
        generation = self.generation
        latents = generation.latents(call)
        detour = self._detour(action, records, latents)
        velocity = self._forward(action, call, detour.latents if detour else latents)
        generation.regulation = Regulation(action, detour)
        return carried(generation, generation.regulation, velocity, output)

    def _detour(
        self, action: Action, records: Sequence[StepRecord], latents: Tensor
    ) -> Detour | None:
        """Run the steps before the look again, regulated, for the pictures that fired."""
        generation = self.generation
        if generation.step == generation.stage.first:
            return None
        plan = self._plan(records, latents)
        if isinstance(plan, str):
            generation.report.notes.append(f"not rewound, regulated from the look on: {plan}")
            return None
        split = generation.rows.split
        replayed = plan.replay(
            lambda call, at: split(self._forward(action, call, at)), _kept(generation, action)
        )
        fired = generation.rows.of_prompt(action.fired)
        regulated = where_fired(fired, replayed.to(latents.dtype), latents)
        generation.report.rewound = True
        return Detour(regulated, (regulated.float() - latents.float()) / generation.dt)

    def _plan(self, records: Sequence[StepRecord], latents: Tensor) -> Trajectory | str:
        if not is_plain_euler(self.scheduler):
            return "the scheduler is not a deterministic flow-matching Euler scheduler"
        for call in records[0].calls if records else ():
            if reason := self.generation.family.fixed_to_its_step(call):
                return reason
        return plan_replay(records, self.generation.sigmas, latents)

    def _forward(self, action: Action, call: Call, latents: Tensor) -> Tensor:
        """Velocity of one regulated call with other latents, (rows, tokens, channels)."""
        generation = self.generation
        generation.report.extra_passes += 1
        call = generation.with_latents(call, latents)
        self.state.layout = generation.layout_of(call)
        self.state.action = action
        try:
            output = self.run(call)
        finally:
            self.state.action = None
        return generation.family.velocity(output, generation.layout)


def action_of(
    generation: Generation, width: int, mask: Tensor, sources: Sequence[Tensor] = ()
) -> Action:
    """What the attention layers do where something fired.

    Args:
        generation: Says how, by its profile.
        width: Of the widest attention output, for the noise.
        mask: Patches of the output, (pictures, patches), bool.
        sources: The same of each given picture.
    """
    profile, spread, noise = generation.assignment.profile, generation.rows.spread, None
    if profile.restrict is not None:
        noise = spread(seeded_noise(generation.first_latents, width).to(mask.device))
    return Action(
        spread(mask), noise, profile.restrict, profile.modulate,
        tuple(spread(source) for source in sources),
    )  # fmt: skip


def carried(generation: Generation, regulation: Regulation, velocity: Tensor, output: Any) -> Any:
    """The look step's output with the regulated velocity where something fired.

    Pictures in which nothing fired keep their velocity to the bit.
    """
    if regulation.detour is not None:
        correction = generation.rows.spread(regulation.detour.correction)
        velocity = carried_velocity(velocity, correction)
    plain = generation.family.velocity(output, generation.layout)
    velocity = where_fired(regulation.action.fired, velocity, plain)
    return generation.family.with_velocity(output, velocity)


def _kept(generation: Generation, action: Action) -> Tensor | None:
    """Patches to hold on the plain trajectory up to the look, (pictures, patches), bool."""
    if action.restrict is None or action.restrict.keep_ring is None:
        return None
    layout, of_prompt = generation.layout, generation.rows.of_prompt
    place = of_prompt(action.mask)
    for source, grid in zip(action.sources, layout.reference_grids, strict=False):
        place = place | resize_mask(of_prompt(source), grid, layout.grid)
    return ~dilate(place, layout.grid, action.restrict.keep_ring)
