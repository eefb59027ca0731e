"""One generation: what it looks for, where its tokens lie, how it ran so far, what is regulated.

A bundle is taken when the schedule is set. The first transformer call says the rest, such as task
and size: the ``Assignment`` and the ``Generation`` are made then, complete from then on, and
whatever the look found is one value, a ``Regulation``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from concepts.bundle import BundleVariant, Member
from concepts.errors import UVRError
from uvr.engine.check import LateScorers
from uvr.families.attention import Action
from uvr.families.family import Family, Rows
from uvr.method.rewind import Call, StepRecord
from uvr.method.scores import LookScorers
from uvr.method.stage import Stage
from uvr.method.tokens import TokenLayout
from uvr.profiles import ModelProfile
from uvr.report import RegulationReport


@dataclass(frozen=True)
class Assignment:
    """What one generation looks for; a later release does not reach it.

    Attributes:
        profile: The model profile for its task.
        variant: The bundle's variant in use, None when the bundle is empty.
        scorers: The scorers of the variant's members, in their order.
        mode_of: What to do with a concept: "enforce", "log" or "shadow".
        report: Receives what is found.
        late: What finished pictures are checked for, None without such a check.
    """

    profile: ModelProfile
    variant: BundleVariant | None
    scorers: LookScorers
    mode_of: Callable[[Member], str]
    report: RegulationReport
    late: LateScorers | None = None

    def member(self, slug: str) -> Member | None:
        """The bundle's member of a concept, None when it is not looked for."""
        variants = (self.variant, self.late.variant if self.late else None)
        members = [member for variant in variants if variant for member in variant.members]
        return next((member for member in members if member.slug == slug), None)


@dataclass(frozen=True)
class Detour:
    """The regulated trajectory at the look step, where the plain one ends.

    Attributes:
        latents: Where it stands, (pictures, tokens, channels); those that did not fire are plain.
        correction: ``(latents - plain latents) / dt``, float32: added to the look step's velocity
            it takes the scheduler there.
    """

    latents: Tensor
    correction: Tensor


@dataclass(frozen=True)
class Regulation:
    """What is done about what the look found.

    Attributes:
        action: For the attention layers, with a row for each row of a call.
        detour: None when the steps before the look did not run again.
    """

    action: Action
    detour: Detour | None = None


@dataclass
class Generation:
    """One call of the pipeline, from its first transformer call on.

    Attributes:
        assignment: What it looks for.
        family: How to read its calls.
        sigmas: Noise level of each step, with the final one.
        stage: Which steps are looked at and regulated.
        layout: Where the tokens lie in the first call.
        rows: Which pictures and passes the rows of a call are.
        first_latents: What it began with, (pictures, tokens, channels).
        step: Number of the step that runs.
        calls: Calls of this step before the present one; -1 until the first one begins.
        passes: Calls that the first step made; None while it runs.
        records: Steps before the look, as they ran; empty after it.
        regulation: Set by the look when a concept to enforce fired.
        known: Patches to regulate whatever the look finds, (pictures, patches), bool; set where a
            picture is drawn again from other noise.
    """

    assignment: Assignment
    family: Family
    sigmas: list[float]
    stage: Stage
    layout: TokenLayout
    rows: Rows
    first_latents: Tensor
    step: int
    calls: int = -1
    passes: int | None = None
    records: list[StepRecord] = field(default_factory=list)
    regulation: Regulation | None = None
    known: Tensor | None = None

    @property
    def variant(self) -> BundleVariant | None:
        """The bundle's variant in use, None when the bundle is empty."""
        return self.assignment.variant

    @property
    def report(self) -> RegulationReport:
        """Receives what is found."""
        return self.assignment.report

    @property
    def sigma(self) -> float:
        """Noise level of the step that runs."""
        return self.sigmas[self.step]

    @property
    def dt(self) -> float:
        """How far the step that runs goes, as a difference of noise levels, below zero."""
        return self.sigmas[self.step + 1] - self.sigmas[self.step]

    @property
    def at_look(self) -> bool:
        """Whether the step that runs is the look step."""
        return self.step == self.stage.look

    @property
    def looks(self) -> bool:
        """Whether the present call is the one whose features are scored."""
        first = self.at_look and self.calls == 0 and self.variant is not None
        return first and self.regulation is None  # a picture that is drawn again is not looked at

    @property
    def action(self) -> Action | None:
        """What to change in the present call."""
        if self.regulation is None or not self.stage.regulates(self.step):
            return None
        return self.regulation.action

    @property
    def detour(self) -> Detour | None:
        """The trajectory that the present call is to join, at the look step only."""
        return self.regulation.detour if self.regulation and self.at_look else None

    @property
    def at_last_step(self) -> bool:
        """Whether the step that runs is the last of the schedule."""
        return self.step == len(self.sigmas) - 2

    def count_call(self, step: int) -> None:
        """Note that a call of a step begins.

        Raises:
            UVRError: The schedule has no such step, or the step made its calls already: some other
                call of the transformer ran within this one.
        """
        if step != self.step and self.passes is None:
            self.passes = self.calls + 1
        self.calls = self.calls + 1 if step == self.step else 0
        self.step = step
        too_many = self.passes is not None and self.calls >= self.passes
        if too_many or step > len(self.sigmas) - 2:
            raise UVRError(
                f"The transformer was called more often in step {step} than in the first step, as "
                "when a callback calls another pipeline that shares it. Call that one after this "
                "call."
            )

    def layout_of(self, call: Call) -> TokenLayout:
        """Layout of a call: a negative prompt may have another length than the prompt."""
        return self.layout.with_text(self.family.num_text(call))

    def latents(self, call: Call) -> Tensor:
        """Latents of a call, (pictures, tokens, channels)."""
        return self.rows.of_prompt(self.family.latents(call, self.layout))

    def with_latents(self, call: Call, latents: Tensor) -> Call:
        """The same call with other latents, (pictures, tokens, channels)."""
        return self.family.with_latents(call, self.rows.spread(latents))

    def record(self, call: Call, velocity: Tensor) -> None:
        """Keep a call before the look and its velocity, (rows, tokens, channels)."""
        if self.calls == 0:
            self.records.append(StepRecord(self.step, self.latents(call)))
        self.records[-1].calls.append(call)
        self.records[-1].velocities.extend(self.rows.split(velocity))

    def take_records(self) -> list[StepRecord]:
        """Return the recorded steps and forget them: they hold tensors of every call."""
        records, self.records = self.records, []
        return records
