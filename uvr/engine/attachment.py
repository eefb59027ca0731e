"""One regulator on one pipeline: what happens at each transformer call of each generation."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor

from concepts.bundle import BundleVariant
from concepts.errors import NotFoundError, UVRError
from uvr.conditions import Conditions, far_notes, recorded_conditions
from uvr.engine.generation import Assignment, Detour, Generation, Regulation
from uvr.engine.look import look_at
from uvr.engine.schedule import after_set_timesteps, current_step, is_plain_euler, noise_levels
from uvr.families.attention import Action, AttentionState
from uvr.families.family import Family, named_arguments
from uvr.method.masks import dilate
from uvr.method.modulation import seeded_noise
from uvr.method.rewind import (
    Call,
    StepRecord,
    Trajectory,
    carried_velocity,
    plan_replay,
    where_fired,
)
from uvr.method.stage import plan_stage
from uvr.method.tokens import TokenLayout
from uvr.profiles import ModelProfile
from uvr.report import RegulationReport

log = logging.getLogger("uvr.regulator")

KEPT_REPORTS = 16
"""Reports that an attachment keeps: each has score maps of every picture, (``uvr.engine.look``)."""

_OUTSIDE = (
    "The transformer of a regulated pipeline was called outside of that pipeline's call, or its "
    "scheduler was replaced. Leave the `with` block first."
)


class Attachment:
    """One regulator on one pipeline: what its hooks do, and what they found.

    Attributes:
        profile: The model profile in use.
        variant: The bundle's variant in use by the latest call; None when the bundle is empty.
        reports: One report for each pipeline call, in order; the latest ``KEPT_REPORTS`` only, so
            that a server may stay attached for ever.
    """

    def __init__(
        self,
        pipe: Any,
        family: Family,
        profile: ModelProfile,
        variant: BundleVariant | None,
        assign: Callable[[], Assignment],
    ) -> None:
        self.profile = profile
        self.variant = variant
        self.reports: deque[RegulationReport] = deque(maxlen=KEPT_REPORTS)
        self._assign = assign
        self._pipe = pipe
        self._family = family
        self._transformer = pipe.transformer
        self._scheduler = pipe.scheduler
        self._state = AttentionState(taps=_taps(variant))
        self._width = max(family.layers(pipe.transformer).values())
        self._collected: tuple[BundleVariant | None, list[Any]] = (None, [])
        self._warned: set[str] = set()
        self._assignment: Assignment | None = None
        self._generation: Generation | None = None

    @property
    def last(self) -> RegulationReport:
        """Report of the latest call.

        Raises:
            NotFoundError: The pipeline has not been called yet.
        """
        if not self.reports:
            raise NotFoundError("The pipeline has not been called since it was attached.")
        return self.reports[-1]

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Regulate the pipeline within the context; leave it as it was found."""
        before = self._transformer.register_forward_pre_hook
        after = self._transformer.register_forward_hook
        with ExitStack() as stack:
            stack.enter_context(self._family.regulated_attention(self._transformer, self._state))
            stack.callback(before(self._before_forward, with_kwargs=True).remove)
            stack.callback(after(self._after_forward, with_kwargs=True).remove)
            stack.enter_context(after_set_timesteps(self._scheduler, self._start_generation))
            yield

    def _start_generation(self) -> None:
        """Forget the previous call and take the present bundle; there is a new schedule.

        Raises:
            MismatchError: The bundle or the weights of now do not fit; nothing is drawn.
            UVRError: There is no bundle to use now; nothing is drawn.
        """
        self._assignment = self._generation = None
        self._assignment = assignment = self._assign()
        self.variant = assignment.variant
        self._state.taps = _taps(assignment.variant)

    def _before_forward(
        self, transformer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[()], Call]:
        """Prepare the attention layers for one transformer call."""
        call = named_arguments(transformer, args, kwargs)
        assignment = self._current_assignment(transformer)
        step = current_step(self._scheduler, self._family.sigma(call))
        if self._generation is None:
            self._generation = self._begin(assignment, step, call)
        generation = self._generation
        if not step < len(generation.sigmas) - 1:
            raise UVRError(_OUTSIDE)
        generation.count_call(step)
        self._state.layout = generation.layout_of(call)
        self._state.features = {}
        self._state.capture = generation.looks
        self._state.action = generation.action
        if generation.detour is not None:
            call = generation.with_latents(call, generation.detour.latents)
        return (), call

    def _after_forward(
        self, transformer: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> Any:
        """Record, look, or carry a later call of the look step over to the regulated trajectory."""
        self._state.action, self._state.capture = None, False
        self._current_assignment(transformer)
        generation = self._generation
        if generation is None:
            raise UVRError(_OUTSIDE)
        if generation.variant is None:
            generation.report.looked |= generation.step >= generation.stage.look
            return None
        if generation.step < generation.stage.look:
            generation.record(kwargs, self._family.velocity(output, generation.layout))
            return None
        if generation.looks:
            return self._look(generation, generation.variant, kwargs, output)
        if generation.regulation is None or generation.detour is None:
            return None
        velocity = self._family.velocity(output, generation.layout)
        return _carried(generation, generation.regulation, velocity, output)

    def _current_assignment(self, transformer: Any) -> Assignment:
        if self._assignment is None or self._pipe.scheduler is not self._scheduler:
            raise UVRError(_OUTSIDE)
        if getattr(transformer, "is_cache_enabled", False):
            raise UVRError(
                "A diffusers cache skips layers that must be regulated; call "
                "pipe.transformer.disable_cache() first."
            )
        return self._assignment

    def _begin(self, assignment: Assignment, step: int, call: Call) -> Generation:
        variant, family = assignment.variant, self._family
        sigmas, layout = noise_levels(self._scheduler), family.layout(call)
        rows = family.rows(self._pipe, call)
        stage = plan_stage(
            sigmas[:-1],
            first=step,
            look_sigma=variant.space.sigma if variant else self.profile.sigma,
            stage_end=self.profile.stage_end,
        )
        first = rows.of_prompt(family.latents(call, layout))
        report = assignment.report
        report.images = [[] for _ in range(rows.pictures)]
        report.shadow = [[] for _ in range(rows.pictures)]
        self._note_far_conditions(assignment, layout, len(sigmas) - 1)
        self.reports.append(report)
        return Generation(assignment, family, sigmas, stage, layout, rows, first, step)

    def _note_far_conditions(self, assignment: Assignment, layout: TokenLayout, steps: int) -> None:
        """Say where a call is far from what anchors were collected under; warn of it once."""
        variant = assignment.variant
        if variant is not None and self._collected[0] is not variant:
            self._collected = (variant, [
                (item.slug, tuple(recorded_conditions(item.scorer.metadata.get("conditions"))))
                for item in variant.members
            ])  # fmt: skip
        patch = self._family.patch_size(self._pipe)
        height, width = (patch * side for side in layout.grid)
        call = Conditions(height, width, steps, layout.num_text)
        for note in far_notes(self._collected[1] if variant else (), call):
            assignment.report.notes.append(note)
            if note not in self._warned:
                self._warned.add(note)
                log.warning("%s", note)

    def _look(self, generation: Generation, variant: BundleVariant, call: Call, output: Any) -> Any:
        """Score the features of the plain call; regulate what fired and is to be enforced."""
        records, report = generation.take_records(), generation.report
        look = look_at(
            generation.rows.of_prompt(self._state.take_features(variant.space.taps)),
            variant.members,
            generation.assignment.scorers,
            grid=generation.layout.grid,
            profile=self.profile,
            step=generation.step,
            sigma=generation.sigma,
            mode_of=generation.assignment.mode_of,
        )
        report.images, report.shadow, report.looked = look.images, look.shadow, True
        if not bool(look.mask.any()):
            return None
        action, latents = self._action(generation, look.mask), generation.latents(call)
        detour = self._detour(generation, action, records, latents)
        velocity = self._forward(generation, action, call, detour.latents if detour else latents)
        generation.regulation = Regulation(action, detour)
        return _carried(generation, generation.regulation, velocity, output)

    def _action(self, generation: Generation, mask: Tensor) -> Action:
        spread, noise = generation.rows.spread, None
        if self.profile.restrict is not None:
            noise = spread(seeded_noise(generation.first_latents, self._width).to(mask.device))
        return Action(spread(mask), noise, self.profile.restrict, self.profile.modulate)

    def _detour(
        self,
        generation: Generation,
        action: Action,
        records: Sequence[StepRecord],
        latents: Tensor,
    ) -> Detour | None:
        """Run the steps before the look again, regulated, for the pictures that fired."""
        if generation.step == generation.stage.first:
            return None
        plan = self._replay_plan(generation, records, latents)
        if isinstance(plan, str):
            generation.report.notes.append(f"not rewound, regulated from the look on: {plan}")
            return None
        split = generation.rows.split
        replayed = plan.replay(
            lambda call, at: split(self._forward(generation, action, call, at)),
            _kept(generation, action),
        )
        fired = generation.rows.of_prompt(action.fired)
        regulated = where_fired(fired, replayed.to(latents.dtype), latents)
        generation.report.rewound = True
        return Detour(regulated, (regulated.float() - latents.float()) / generation.dt)

    def _replay_plan(
        self, generation: Generation, records: Sequence[StepRecord], latents: Tensor
    ) -> Trajectory | str:
        if not is_plain_euler(self._scheduler):
            return "the scheduler is not a deterministic flow-matching Euler scheduler"
        for call in records[0].calls if records else ():
            if reason := self._family.fixed_to_its_step(call):
                return reason
        return plan_replay(records, generation.sigmas, latents)

    def _forward(
        self, generation: Generation, action: Action, call: Call, latents: Tensor
    ) -> Tensor:
        """Velocity of one regulated call with other latents, (rows, tokens, channels).

        ``forward`` is called directly, so that the hooks do not run.
        """
        call = generation.with_latents(call, latents)
        self._state.layout = generation.layout_of(call)
        self._state.action = action
        try:
            output = self._transformer.forward(**call)
        finally:
            self._state.action = None
        return self._family.velocity(output, generation.layout)


def _carried(generation: Generation, regulation: Regulation, velocity: Tensor, output: Any) -> Any:
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
    mask = generation.rows.of_prompt(action.mask)
    return ~dilate(mask, generation.layout.grid, action.restrict.keep_ring)


def _taps(variant: BundleVariant | None) -> frozenset[str]:
    return frozenset() if variant is None else frozenset(variant.space.taps)
