"""One regulator on one pipeline: what happens at each transformer pass of each generation."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from concepts.bundle import BundleVariant, Member
from concepts.errors import NotFoundError, UVRError
from uvr.engine.look import look_at
from uvr.engine.processor import Action, AttentionState
from uvr.method.modulation import seeded_noise
from uvr.method.rewind import StepRecord, output_latents, plan_replay, with_latents
from uvr.method.scores import ScorerStack
from uvr.method.stage import Stage, current_step, plan_stage
from uvr.method.tokens import TokenLayout
from uvr.profiles import ModelProfile
from uvr.report import RegulationReport

KEPT_REPORTS = 16
"""Reports that an attachment keeps: each has score maps of every picture, (``uvr.engine.look``)."""

_UNPLANNED = Stage(0, 0, 0)
_OUTSIDE = (
    "The transformer of a regulated pipeline was called outside of that pipeline's call, or its "
    "scheduler was replaced. Leave the `with` block first."
)


@dataclass(frozen=True)
class Assignment:
    """What one generation looks for; a later release does not reach it.

    Attributes:
        variant: The bundle's variant in use, None when the bundle is empty.
        scorers: The scorers of the variant's members, in their order.
        mode_of: What to do with a concept: "enforce", "log" or "shadow".
        report: Receives what is found.
    """

    variant: BundleVariant | None
    scorers: ScorerStack
    mode_of: Callable[[Member], str]
    report: RegulationReport


@dataclass
class _Generation:
    """State of one pipeline call."""

    assignment: Assignment
    sigmas: list[float] = field(default_factory=list)
    stage: Stage = _UNPLANNED
    layout: TokenLayout | None = None
    first_latents: Tensor | None = None
    step: int = -1
    passes: int = 0
    records: list[StepRecord] = field(default_factory=list)
    action: Action | None = None
    rewound_latents: Tensor | None = None
    correction: Tensor | None = None

    @property
    def report(self) -> RegulationReport:
        return self.assignment.report

    @property
    def variant(self) -> BundleVariant | None:
        return self.assignment.variant

    @property
    def started(self) -> bool:
        return self.layout is not None

    def count_pass(self, step: int) -> None:
        self.passes = self.passes + 1 if step == self.step else 0
        self.step = step


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
        profile: ModelProfile,
        variant: BundleVariant | None,
        assign: Callable[[], Assignment],
    ) -> None:
        self.profile = profile
        self.variant = variant
        self.reports: deque[RegulationReport] = deque(maxlen=KEPT_REPORTS)
        self.state = AttentionState(taps=_taps(variant))
        self._assign = assign
        self._pipe = pipe
        self._scheduler = pipe.scheduler
        self._generation: _Generation | None = None

    @property
    def last(self) -> RegulationReport:
        """Report of the latest call.

        Raises:
            NotFoundError: The pipeline has not been called yet.
        """
        if not self.reports:
            raise NotFoundError("The pipeline has not been called since it was attached.")
        return self.reports[-1]

    def start_generation(self) -> None:
        """Forget the previous call and take the present bundle; there is a new schedule.

        Raises:
            MismatchError: The bundle or the weights of now do not fit; nothing is drawn.
            UVRError: There is no bundle to use now; nothing is drawn.
        """
        self._generation = None
        assignment = self._assign()
        self.variant = assignment.variant
        self.state.taps = _taps(assignment.variant)
        self._generation = _Generation(assignment)

    def before_forward(
        self, transformer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[()], dict[str, Any]]:
        """Prepare the processors for one transformer pass."""
        kwargs = _by_name(transformer, args, kwargs)
        generation = self._current(transformer)
        step = current_step(self._scheduler, kwargs["timestep"])
        if not generation.started:
            self._begin(generation, step, kwargs)
        if not step < len(generation.sigmas) - 1:
            raise UVRError(_OUTSIDE)
        generation.count_pass(step)
        looks = step == generation.stage.look and generation.passes == 0
        looks = looks and generation.variant is not None
        self.state.layout = _layout_of(generation, kwargs)
        self.state.features = {}
        self.state.capture = looks
        self.state.action = generation.action if generation.stage.regulates(step) else None
        if step == generation.stage.look and generation.rewound_latents is not None:
            kwargs = with_latents(kwargs, generation.rewound_latents)
        return (), kwargs

    def after_forward(
        self, transformer: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> Any:
        """Record, look, or carry a later pass of the look step over to the regulated trajectory."""
        generation = self._current(transformer)
        self.state.action, self.state.capture = None, False
        if generation.variant is None:
            generation.report.looked |= generation.step >= generation.stage.look
            return None
        if generation.step < generation.stage.look:
            _record(generation, kwargs, output[0])
            return None
        if generation.step > generation.stage.look:
            return None
        if generation.passes == 0:
            return self._look(transformer, generation, kwargs, output)
        if generation.correction is None or generation.action is None:
            return None
        fired = generation.action.fired
        return _with_velocity(
            output, _corrected(output[0], output[0], fired, generation.correction)
        )

    def _current(self, transformer: Any) -> _Generation:
        if self._generation is None or self._pipe.scheduler is not self._scheduler:
            raise UVRError(_OUTSIDE)
        if getattr(transformer, "is_cache_enabled", False):
            raise UVRError(
                "A diffusers cache skips layers that must be regulated; call "
                "pipe.transformer.disable_cache() first."
            )
        return self._generation

    def _begin(self, generation: _Generation, step: int, kwargs: Mapping[str, Any]) -> None:
        generation.sigmas = [float(sigma) for sigma in self._scheduler.sigmas.tolist()]
        generation.stage = plan_stage(
            generation.sigmas[:-1],
            first=step,
            look_sigma=generation.variant.space.sigma if generation.variant else self.profile.sigma,
            stage_end=self.profile.stage_end,
        )
        layout = TokenLayout.from_call(kwargs["encoder_hidden_states"], kwargs["img_ids"])
        generation.layout = layout
        generation.first_latents = output_latents(kwargs, layout.num_output)
        batch = len(generation.first_latents)
        generation.report.images = [[] for _ in range(batch)]
        generation.report.shadow = [[] for _ in range(batch)]
        self.reports.append(generation.report)

    def _look(
        self, transformer: Any, generation: _Generation, kwargs: dict[str, Any], output: Any
    ) -> Any:
        records, generation.records = generation.records, []
        variant, report = _variant(generation), generation.report
        found = look_at(
            self.state.take_features(variant.space.taps),
            variant.members,
            generation.assignment.scorers,
            grid=_layout(generation).grid,
            profile=self.profile,
            step=generation.step,
            sigma=generation.sigmas[generation.step],
            mode_of=generation.assignment.mode_of,
        )
        report.images, report.shadow, mask = found.images, found.shadow, found.mask
        report.looked = True
        if not bool(mask.any()):
            return None
        generation.action = self._action(transformer, generation, mask)
        latents = output_latents(kwargs, mask.shape[1])
        regulated = self._rewind(transformer, generation, records, latents)
        velocity = self._forward(transformer, generation, with_latents(kwargs, regulated))
        fired = generation.action.fired
        return _with_velocity(output, _corrected(output[0], velocity, fired, generation.correction))

    def _action(self, transformer: Any, generation: _Generation, mask: Tensor) -> Action:
        noise = None
        if self.profile.restrict is not None and generation.first_latents is not None:
            noise = seeded_noise(generation.first_latents, transformer.inner_dim).to(mask.device)
        return Action(mask, noise, self.profile.restrict, self.profile.modulate)

    def _rewind(
        self,
        transformer: Any,
        generation: _Generation,
        records: Sequence[StepRecord],
        latents: Tensor,
    ) -> Tensor:
        """Latents at the look step on the regulated trajectory, for the pictures that fired."""
        if generation.step == generation.stage.first or generation.action is None:
            return latents
        plan = plan_replay(records, generation.sigmas, latents)
        if not _is_plain_euler(self._scheduler):
            plan = "the scheduler is not a deterministic flow-matching Euler scheduler"
        if isinstance(plan, str):
            generation.report.notes.append(f"not rewound, regulated from the look on: {plan}")
            return latents
        replayed = plan.replay(lambda call: self._forward(transformer, generation, call))
        fired = generation.action.fired[:, None, None]
        regulated = torch.where(fired, replayed.to(latents.dtype), latents)
        step = generation.step
        dt = generation.sigmas[step + 1] - generation.sigmas[step]
        generation.correction = (regulated.float() - latents.float()) / dt
        generation.rewound_latents = regulated
        generation.report.rewound = True
        return regulated

    def _forward(
        self, transformer: Any, generation: _Generation, call: Mapping[str, Any]
    ) -> Tensor:
        """One regulated pass. ``forward`` is called directly, so that the hooks do not run."""
        self.state.layout = _layout_of(generation, call)
        self.state.action = generation.action
        try:
            velocity: Tensor = transformer.forward(**{**call, "return_dict": False})[0]
        finally:
            self.state.action = None
        return velocity


def _by_name(transformer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    if not args:
        return dict(kwargs)
    names = list(inspect.signature(transformer.forward).parameters)
    return {**dict(zip(names, args, strict=False)), **kwargs}


def _is_plain_euler(scheduler: Any) -> bool:
    return isinstance(scheduler, FlowMatchEulerDiscreteScheduler) and not (
        scheduler.config.get("stochastic_sampling") or scheduler.config.get("invert_sigmas")
    )


def _taps(variant: BundleVariant | None) -> frozenset[str]:
    return frozenset() if variant is None else frozenset(variant.space.taps)


def _variant(generation: _Generation) -> BundleVariant:
    if generation.variant is None:
        raise ValueError("an empty bundle has nothing to look for")
    return generation.variant


def _layout(generation: _Generation) -> TokenLayout:
    if generation.layout is None:
        raise UVRError(_OUTSIDE)
    return generation.layout


def _layout_of(generation: _Generation, call: Mapping[str, Any]) -> TokenLayout:
    """Layout of this pass: a negative prompt may have another length than the prompt."""
    layout = _layout(generation)
    shift = call["encoder_hidden_states"].shape[1] - layout.text
    if shift == 0:
        return layout
    return replace(
        layout,
        text=layout.text + shift,
        output=_shifted(layout.output, shift),
        references=tuple(_shifted(span, shift) for span in layout.references),
    )


def _shifted(span: slice, shift: int) -> slice:
    return slice(span.start + shift, span.stop + shift)


def _record(generation: _Generation, kwargs: Mapping[str, Any], velocity: Tensor) -> None:
    if generation.passes == 0:
        generation.records.append(StepRecord(generation.step))
    record = generation.records[-1]
    record.calls.append(kwargs)
    record.velocities.append(velocity[:, : _layout(generation).num_output])


def _corrected(
    plain: Tensor, regulated: Tensor, fired: Tensor, correction: Tensor | None
) -> Tensor:
    """Velocity that takes the plain latents to where the regulated trajectory goes.

    The scheduler steps from the plain latents ``x``: ``x + dt (v + (x' - x) / dt) = x' + dt v``.
    Pictures in which nothing fired keep their velocity to the bit.
    """
    if correction is not None:
        output = regulated[:, : correction.shape[1]].float() + correction
        rest = regulated[:, correction.shape[1] :]
        regulated = torch.cat([output.to(regulated.dtype), rest], dim=1)
    return torch.where(fired[:, None, None], regulated, plain)


def _with_velocity(output: Any, velocity: Tensor) -> Any:
    if isinstance(output, tuple):
        return (velocity, *output[1:])
    return type(output)(sample=velocity)
