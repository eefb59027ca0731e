"""A pipeline under a regulator: look, regulate, check, act.

1. A call of the pipeline draws; the attachment regulates it.
2. The check examines every picture. What it finds of enforced concepts is *residual*.
3. A picture with residual is passed, flagged, blocked or drawn again, and so is that picture alone:
   the others of the batch stay as they were, to the bit.
4. Each picture gets a ``Verdict`` on the call's report, and whoever listens the ``Decision``.

What a picture is drawn again from says ``uvr.engine.redraw``.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import torch

from concepts.bundle import BundleVariant
from concepts.errors import UVRError
from concepts.instant import now
from uvr.engine.attachment import Assign, Attachment
from uvr.engine.check import Checks, Examined, look_at_picture
from uvr.engine.generation import Generation, Regulation
from uvr.engine.pictures import Pictures
from uvr.engine.redraw import Redraw, Redraws
from uvr.engine.request import CannotRedrawError, Request
from uvr.engine.rerun import action_of
from uvr.engine.telling import decisions_of, tell
from uvr.engine.timing import timed
from uvr.engine.verdicts import Course, residual_of, verdict_of
from uvr.families.family import Family
from uvr.judges.judge import ask
from uvr.method.rewind import Call
from uvr.profiles import ModelProfile
from uvr.verdict import Verdict

log = logging.getLogger("uvr.regulator")


class RegulatedPipeline(Attachment):
    """An attachment that is called like its pipeline, and checks what comes out.

    ``regulated("a prompt", ...)`` is ``pipe("a prompt", ...)``: within the ``with`` block a call of
    either is looked at, regulated and checked.
    """

    def __init__(
        self,
        pipe: Any,
        family: Family,
        profile: ModelProfile,
        variant: BundleVariant | None,
        start: Callable[[], Assign],
        checks: Checks,
    ) -> None:
        super().__init__(pipe, family, profile, variant, start)
        self._checks = checks
        self._redraw: Redraw | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the pipeline; a call of the pipeline itself is the same.

        Args:
            args: The pipeline's own.
            kwargs: The pipeline's own. A callback is called again where a picture is drawn again.

        Returns:
            What the pipeline returned, with the pictures that were drawn again or blocked in it.

        Raises:
            InputError: There is a check, and the call asks for latents.
            UVRError: The check cannot judge a picture; none is returned.
        """
        return self._pipe(*args, **kwargs)

    def _pipeline_call(self, run: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        begun, request = time.perf_counter(), Request.of(run, args, kwargs)
        if self._checks:
            request.require_pictures()
        result, generation = self._generate(run, *args, **kwargs)
        if generation is None:
            if self._checks:
                raise UVRError("The pipeline returned without a call of its transformer.")
            return result
        report = generation.report
        if self._checks:
            with timed(report.seconds, "check"):
                self._check(request, generation, Pictures(result))
        else:
            report.verdicts = self._looked(generation)
        report.request, report.time = request.name, now()
        report.seconds["call"] = time.perf_counter() - begun
        if self._checks.listeners:
            tell(self._checks.listeners, decisions_of(report, request, result))
        return result

    def _begin(self, assign: Assign, step: int, call: Call) -> Generation:
        generation, redraw = super()._begin(assign, step, call), self._redraw
        if redraw is None:
            return generation
        if not torch.equal(generation.first_latents, redraw.latents):
            raise CannotRedrawError("the pipeline does not begin with the latents it is given")
        if redraw.afresh and generation.variant is not None:
            generation.known = redraw.mask
        else:
            generation.regulation = Regulation(action_of(generation, self._width, redraw.mask))
        return generation

    def _looked(self, generation: Generation) -> list[Verdict]:
        """The verdicts where nothing is checked."""
        report = generation.report
        return [verdict_of(report, Course(place)) for place in range(len(report.images))]

    def _check(self, request: Request, generation: Generation, pictures: Pictures) -> None:
        report = generation.report
        if len(pictures) != generation.rows.pictures:
            raise UVRError(
                f"The pipeline drew {generation.rows.pictures} pictures and returned "
                f"{len(pictures)}: they cannot be told apart, and so none is returned."
            )
        examined = self._examine(generation, pictures)
        report.checks = [item.findings for item in examined]
        report.verdicts = [
            self._act(request, generation, pictures, Course(place, [found]))
            for place, found in enumerate(examined)
        ]
        for verdict in report.verdicts:
            if verdict.outcome in ("flagged", "blocked"):
                log.warning("picture %d was %s: %s", verdict.picture, verdict.outcome,
                            verdict.reason)  # fmt: skip

    def _examine(self, generation: Generation, pictures: Pictures) -> list[Examined]:
        """Have every picture seen by the check of features and by all judges."""
        assignment, seen = generation.assignment, []
        images = [pictures.to_pil(place) for place in range(len(pictures))]
        for image in images:
            findings = []
            if assignment.late is not None:
                generation.report.extra_passes += 1
                findings = look_at_picture(
                    self._pipe, self._family, self._state, self._run, self.profile,
                    assignment.late, image, step=len(generation.sigmas) - 1,
                    mode_of=assignment.mode_of,
                ).images[0]  # fmt: skip
            seen.append(Examined(findings, []))
        for judge in self._checks.judges:
            for one, judgements in zip(seen, ask(judge, images), strict=True):
                one.judgements.extend(judgements)
        getattr(self._pipe, "maybe_free_model_hooks", lambda: None)()
        return seen

    def _act(
        self,
        request: Request,
        generation: Generation,
        pictures: Pictures,
        course: Course,
    ) -> Verdict:
        """Do what is to be done with one picture, and say so."""
        wanted = self._checks.on_residual
        if wanted.startswith("retry"):
            self._retry(request, generation, pictures, course)
        if residual_of(generation.assignment, course.last):
            course.ending = "block" if wanted.endswith("block") else wanted
            if course.ending == "block":
                pictures.block(course.picture)
        return verdict_of(generation.report, course, generation.assignment)

    def _retry(
        self,
        request: Request,
        generation: Generation,
        pictures: Pictures,
        course: Course,
    ) -> None:
        """Draw a picture again until the check finds nothing in it, or all was tried."""
        redraws = Redraws(generation, course.picture)
        while residual := residual_of(generation.assignment, course.last):
            try:
                redraw = redraws.next({item.concept for item in residual}, course.last)
                if redraw is None:
                    return
                again = self._draw_again(request, generation, course.picture, redraw)
            except CannotRedrawError as error:
                course.hindrance = str(error)
                return
            course.examined.append(self._examine(generation, again)[0])
            course.other_noise = redraw.afresh
            pictures.replace(course.picture, again)

    def _draw_again(
        self,
        request: Request,
        generation: Generation,
        place: int,
        redraw: Redraw,
    ) -> Pictures:
        """Draw one picture again."""
        arguments = request.of_picture(
            place,
            generation.rows.pictures,
            self._family.latents_argument(redraw.latents, generation.layout),
            self._family.shared,
        )
        kept, self.reports = self.reports, deque(maxlen=1)
        self._redraw = redraw
        try:
            result, again = self._generate(request.run, **arguments)
            if again is not None:
                generation.report.extra_passes += again.report.passes
            return Pictures(result)
        finally:
            self._redraw, self.reports = None, kept
