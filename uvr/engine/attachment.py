"""One regulator on one pipeline: what happens at each transformer call of each generation."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from diffusers.utils.torch_utils import unwrap_module

from concepts.bundle import BundleVariant
from concepts.errors import MismatchError, NotFoundError, UVRError
from uvr.conditions import Conditions
from uvr.engine.caches import check_no_caches
from uvr.engine.calls import PipelineCalls
from uvr.engine.condition_notes import ConditionNotes
from uvr.engine.generation import Assignment, Generation
from uvr.engine.look import look_at
from uvr.engine.rerun import Rerun, action_of, carried
from uvr.engine.schedule import current_step, noise_levels
from uvr.engine.timing import timed
from uvr.families.attention import AttentionState
from uvr.families.family import Family, named_arguments
from uvr.method.rewind import (
    Call,
)
from uvr.method.stage import plan_stage
from uvr.method.tokens import TokenLayout
from uvr.profiles import ModelProfile
from uvr.report import RegulationReport

log = logging.getLogger("uvr.regulator")

Assign = Callable[[str | None], Assignment]
"""What a generation looks for, by its task; None where the pipeline has only one."""

KEPT_REPORTS = 16
"""Reports that an attachment keeps: each has score maps of every picture, (``uvr.engine.look``)."""

_UNSCHEDULED = (
    "The pipeline called its transformer before it set the timesteps of its scheduler; such a "
    "pipeline cannot be regulated."
)
_MIDDLE = (
    "The scheduler of a regulated pipeline got new timesteps in the middle of a call, as by "
    "another pipeline that shares it. Give each pipeline a scheduler of its own."
)


class Attachment:
    """One regulator on one pipeline: what its hooks do, and what they found.

    Attributes:
        profile: The model profile in use by the latest call.
        variant: The bundle's variant in use by it; None when the bundle is empty.
        reports: One report for each pipeline call, in order; the latest ``KEPT_REPORTS`` only, so
            that a server may stay attached for ever.
    """

    def __init__(
        self,
        pipe: Any,
        family: Family,
        profile: ModelProfile,
        variant: BundleVariant | None,
        start: Callable[[], Assign],
    ) -> None:
        self.profile = profile
        self.variant = variant
        self.reports: deque[RegulationReport] = deque(maxlen=KEPT_REPORTS)
        self._start = start
        self._pipe = pipe
        self._family = family
        self._transformer = pipe.transformer
        self._scheduler = pipe.scheduler
        self._state = AttentionState(taps=_taps(variant), ready=False)
        self._width = max(family.layers(unwrap_module(pipe.transformer)).values())
        self._notes = ConditionNotes()
        self._assign: Assign | None = None
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
        module = unwrap_module(self._transformer)
        check_no_caches(module)
        calls = PipelineCalls(
            self._pipe, self._start_generation, self._transformer_call, self._pipeline_call
        )
        with (
            self._family.regulated_attention(module, self._state),
            calls.watched() as self._run_transformer,
        ):
            yield

    def _start_generation(self) -> None:
        """Forget the previous call and take the present bundle; there is a new schedule.

        Raises:
            MismatchError: The bundle or the weights of now do not fit, or a cache would skip
                layers; nothing is drawn.
            UVRError: There is no bundle to use now; nothing is drawn.
        """
        if self._generation is not None and not self._generation.at_last_step:
            raise UVRError(_MIDDLE)
        self._assign = self._generation = None
        self._scheduler = self._pipe.scheduler
        check_no_caches(unwrap_module(self._transformer))
        self._assign = self._start()

    def _pipeline_call(self, run: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Take the place of a call of the pipeline, within its turn; ``run`` is its own call."""
        return self._generate(run, *args, **kwargs)[0]

    def _generate(
        self, run: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> tuple[Any, Generation | None]:
        """Run one call of the pipeline to its end; give its result and its generation."""
        finished = False
        try:
            result = run(*args, **kwargs)
            finished = True
            return result, self._generation
        finally:
            self._end_call(finished)

    def _end_call(self, finished: bool) -> None:
        """Forget a call, however it ended; say so where it ended before its look."""
        generation, self._assign, self._generation = self._generation, None, None
        if not finished or generation is None or generation.report.looked:
            return
        if generation.regulation is None:  # A picture that is drawn again is not looked at.
            note = "the call ended before its look step: nothing was looked for"
            generation.report.notes.append(note)
            log.warning("%s", note)

    def _transformer_call(self, *args: Any, **kwargs: Any) -> Any:
        """Run one transformer call, with what it takes before and after."""
        call = self._before_forward(named_arguments(self._transformer, args, kwargs))
        try:
            output = self._run(call)
        finally:
            self._state.action, self._state.capture = None, False
        return self._after_forward(call, output)

    def _run(self, call: Call) -> Any:
        with self._state.forward_pass():
            return self._run_transformer(**call)

    def _before_forward(self, call: Call) -> Call:
        """Prepare the attention layers for one transformer call."""
        assign = self._current_assign()
        step = current_step(self._scheduler, self._family.sigma(call))
        if self._generation is None:
            self._generation = self._begin(assign, step, call)
        generation = self._generation
        generation.count_call(step)
        generation.report.passes += 1
        self._state.layout = generation.layout_of(call)
        self._state.capture = generation.looks
        self._state.action = generation.action
        if generation.detour is not None:
            call = generation.with_latents(call, generation.detour.latents)
        return call

    def _after_forward(self, call: Call, output: Any) -> Any:
        """Record, look, or carry a later call of the look step over to the regulated trajectory."""
        generation = self._generation
        if generation is None:
            raise UVRError(_UNSCHEDULED)
        if generation.variant is None:
            generation.report.looked |= generation.step >= generation.stage.look
            return output
        if generation.step < generation.stage.look and generation.regulation is None:
            generation.record(call, self._family.velocity(output, generation.layout))
            return output
        if generation.looks:
            return self._look(generation, generation.variant, call, output)
        if generation.regulation is None or generation.detour is None:
            return output
        velocity = self._family.velocity(output, generation.layout)
        return carried(generation, generation.regulation, velocity, output)

    def _current_assign(self) -> Assign:
        if self._assign is None:
            raise UVRError(_UNSCHEDULED)
        return self._assign

    def _begin(self, assign: Assign, step: int, call: Call) -> Generation:
        family = self._family
        sigmas, layout = noise_levels(self._scheduler), family.layout(call)
        assignment = assign(family.task(layout))
        self.profile, self.variant = profile, variant = assignment.profile, assignment.variant
        self._state.taps = _taps(variant)
        self._check_weights(variant, call)
        rows = family.rows(self._pipe, call)
        stage = plan_stage(
            sigmas[:-1],
            first=step,
            look_sigma=variant.space.sigma if variant else profile.sigma,
            stage_end=profile.stage_end,
        )
        first = rows.of_prompt(family.latents(call, layout))
        report = assignment.report
        report.images = [[] for _ in range(rows.pictures)]
        report.shadow = [[] for _ in range(rows.pictures)]
        report.notes += self._notes.of(variant, self._conditions(layout, len(sigmas) - 1))
        self.reports.append(report)
        return Generation(assignment, family, sigmas, stage, layout, rows, first, step)

    def _check_weights(self, variant: BundleVariant | None, call: Call) -> None:
        """Refuse a call that changes the weights for which the bundle was made."""
        change = self._family.changes_weights(self._transformer, call)
        if change and variant is not None and variant.space.revision:
            raise MismatchError(
                f"{change} in this call, and the bundle names the weights it was made for. Scale "
                "with set_adapters(), and collect anchors on what you serve."
            )

    def _conditions(self, layout: TokenLayout, steps: int) -> Conditions:
        patch = self._family.patch_size(self._pipe)
        height, width = (patch * side for side in layout.grid)
        return Conditions(height, width, steps, layout.num_text)

    def _look(self, generation: Generation, variant: BundleVariant, call: Call, output: Any) -> Any:
        """Score the features of the plain call; regulate what fired and is to be enforced."""
        records, report = generation.take_records(), generation.report
        features = self._state.take_features(variant.space.taps).map(generation.rows.of_prompt)
        # Scores are float32 always.
        device = features.output.device
        with timed(report.seconds, "look", device), torch.autocast(device.type, enabled=False):
            look = look_at(
                features,
                variant.members,
                generation.assignment.scorers,
                layout=generation.layout,
                profile=self.profile,
                step=generation.step,
                sigma=generation.sigma,
                mode_of=generation.assignment.mode_of,
            )
        report.images, report.shadow, report.looked = look.images, look.shadow, True
        if generation.known is not None:
            look = replace(look, mask=look.mask | generation.known)
        if not look.regulates:
            return output
        with timed(report.seconds, "rewind", device):
            action = action_of(generation, self._width, look.mask, look.sources)
            again = Rerun(generation, self._scheduler, self._state, self._run)
            return again.regulate(action, records, call, output)


def _taps(variant: BundleVariant | None) -> frozenset[str]:
    return frozenset() if variant is None else frozenset(variant.space.taps)
