"""The check: what is left in a finished picture, by its features and by judges.

1. A finished picture is encoded, noised to a late level and seen once more by the transformer,
   under a text that says nothing: what the features show then is the picture, not the prompt.
   Scorers that were fitted under the same conditions, the bundle's variant for the task "check",
   score them as a look does.
2. Judges score the picture itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image

from concepts.bundle import BundleVariant, Member
from concepts.words import RESIDUAL
from uvr.decisions.decision import Decision
from uvr.engine.look import Look, look_at
from uvr.families.attention import AttentionState
from uvr.families.family import Family
from uvr.judges.judge import Judge, Judgement
from uvr.method.rewind import Call
from uvr.method.scores import LookScorers
from uvr.profiles import CHECK, UNSAID, ModelProfile
from uvr.report import ConceptFinding
from uvr.sample import Sample

SEED = 0
"""Of the noise that is put over every finished picture, so that a score follows from it alone."""


@dataclass(frozen=True)
class FeatureCheck:
    """Asks for the check by features; the bundle needs anchors for the task "check"."""


Check = FeatureCheck | Judge

Listener = Callable[[Decision], object]
"""Told each decision."""


@dataclass(frozen=True)
class Checks:
    """What is done with finished pictures.

    Attributes:
        features: Whether their features are scored.
        judges: Who scores the pictures themselves.
        on_residual: One of ``words.RESIDUAL``: what happens to a picture that still shows what is
            banned.
        listeners: Told each decision; what they raise is logged and does not stop a call.
    """

    features: bool = False
    judges: tuple[Judge, ...] = ()
    on_residual: str = "flag"
    listeners: tuple[Listener, ...] = ()

    def __post_init__(self) -> None:
        if self.on_residual not in RESIDUAL:
            raise ValueError(f"on_residual is {self.on_residual!r}, allowed: {', '.join(RESIDUAL)}")
        if not self and self.on_residual != "flag":
            raise ValueError(
                f"on_residual={self.on_residual!r} says what to do with what a check finds, and "
                "there is no check: give check=..."
            )

    def __bool__(self) -> bool:
        return self.features or bool(self.judges)

    @classmethod
    def of(
        cls,
        check: Check | Sequence[Check] | None,
        on_residual: str,
        on_decision: Listener | Sequence[Listener] = (),
    ) -> Checks:
        """Sort what a caller asks for."""
        asked: Sequence[Check] = ()
        if check is not None:
            asked = check if isinstance(check, Sequence) else [check]
        judges = tuple(item for item in asked if not isinstance(item, FeatureCheck))
        listeners = (on_decision,) if callable(on_decision) else tuple(on_decision)
        return cls(len(judges) < len(asked), judges, on_residual, listeners)


@dataclass(frozen=True)
class LateScorers:
    """A bundle's variant for the task "check", and its scorers stacked."""

    variant: BundleVariant
    scorers: LookScorers


@dataclass(frozen=True)
class Examined:
    """What the check says of one picture.

    Attributes:
        findings: Of its features, without shadow concepts; empty without a check by features.
        judgements: Of its judges.
    """

    findings: list[ConceptFinding]
    judgements: list[Judgement]


@torch.no_grad()
def look_at_picture(
    pipe: Any,
    family: Family,
    state: AttentionState,
    run: Callable[[Call], Any],
    profile: ModelProfile,
    late: LateScorers,
    picture: Image.Image,
    *,
    step: int,
    mode_of: Callable[[Member], str],
) -> Look:
    """Score the features of one finished picture, by one transformer pass.

    Args:
        pipe: A pipeline whose attention layers share ``state``.
        family: The pipeline's.
        state: Free: no generation runs.
        run: Runs one call of the transformer, with these attention layers.
        profile: The pipeline's.
        late: What is scored; its space says at which taps and noise level.
        picture: RGB, of a size that the model draws.
        step: For the findings: the number of steps that drew the picture.
        mode_of: What to do with a concept.

    Raises:
        UVRError: A score is not finite.
    """
    space = late.variant.space
    checking = check_profile(profile, space.taps, space.sigma, picture.size)
    sample = Sample(picture, prompt=UNSAID)
    noise = torch.Generator().manual_seed(SEED)
    call = family.noised_call(pipe, checking, [sample], space.sigma, noise)
    state.layout, state.action = family.layout(call), None
    state.taps, state.capture = frozenset(space.taps), True
    try:
        run(call)
        features = state.take_features(space.taps)
    finally:
        state.capture = False
    return look_at(
        features,
        late.variant.members,
        late.scorers,
        layout=state.layout,
        profile=checking,
        step=step,
        sigma=space.sigma,
        mode_of=mode_of,
    )


def check_profile(
    profile: ModelProfile, taps: tuple[str, ...], sigma: float, size: tuple[int, int]
) -> ModelProfile:
    """The profile under which a picture of a size (width, height) is checked."""
    width, height = size
    call = {**profile.call, "height": height, "width": width}
    return replace(profile, task=CHECK, taps=taps, sigma=sigma, call=call)
