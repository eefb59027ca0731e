"""Capture features at the taps: of noised pictures in one pass, or along real generations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from uvr.engine.schedule import current_step, noise_levels
from uvr.families.attention import AttentionState
from uvr.families.family import Family, named_arguments, tap_width
from uvr.families.known import family_of
from uvr.method.features import Features
from uvr.method.rewind import Call
from uvr.method.stage import Stage, plan_stage
from uvr.method.tokens import TokenLayout
from uvr.profiles import CHECK, ModelProfile
from uvr.sample import Sample

Progress = Callable[[int, int], None]
FeatureArray = NDArray[np.float32]
"""Features of patches, (pictures, patches, dim)."""


def capture_noised(
    pipe: Any,
    profile: ModelProfile,
    samples: Sequence[Sample],
    sigma: float,
    generator: torch.Generator,
) -> FeatureArray:
    """Features of pictures noised to a level, in one transformer pass, (samples, patches, dim).

    Args:
        pipe: The pipeline.
        profile: Its profile.
        samples: All with a given picture, or none.
        sigma: The noise level.
        generator: Of the noise.

    Raises:
        ValueError: The family draws other noise than its ``noise_size`` says.
    """
    family = family_of(pipe)
    expected = torch.Generator().set_state(generator.get_state())
    torch.randn(len(samples) * family.noise_size(pipe, profile), generator=expected)
    with torch.no_grad(), _capturing(family, pipe.transformer, profile) as state:
        call = family.noised_call(pipe, profile, samples, sigma, generator)
        if not torch.equal(generator.get_state(), expected.get_state()):
            raise ValueError(f"the family {family.name} draws other noise than its noise_size says")
        state.layout = family.layout(call)
        state.capture = True
        pipe.transformer(**call)
        return _joined(family, pipe, profile, state.take_features(profile.taps), state.layout)


def capture_drawn(
    pipe: Any, profile: ModelProfile, prompts: Sequence[str], seeds: Sequence[int], steps: int
) -> tuple[FeatureArray, FeatureArray]:
    """Draw a picture for each prompt; features at the look step and at the last step.

    Returns:
        Two arrays, (prompts, patches, dim).
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    request = {"prompt": list(prompts), "num_inference_steps": steps}
    arguments = family_of(pipe).call_arguments(profile, request)
    with _quiet(pipe), recorded_features(pipe, profile) as recorded:
        pipe(generator=generators, output_type="latent", **arguments)
    return recorded["look"], recorded["late"]


@contextmanager
def recorded_features(pipe: Any, profile: ModelProfile) -> Iterator[dict[str, FeatureArray]]:
    """Record features of one pipeline call: ``look`` and ``late``, (batch, patches, dim)."""
    family, transformer = family_of(pipe), pipe.transformer
    with ExitStack() as stack:
        state = stack.enter_context(_capturing(family, transformer, profile))
        recorder = _Recorder(family, pipe, profile, state)
        before = transformer.register_forward_pre_hook(recorder.before, with_kwargs=True)
        stack.callback(before.remove)
        after = transformer.register_forward_hook(recorder.after, with_kwargs=True)
        stack.callback(after.remove)
        yield recorder.features


class _Recorder:
    """What is captured along one call of a pipeline: at its look step and at its last step."""

    def __init__(
        self, family: Family, pipe: Any, profile: ModelProfile, state: AttentionState
    ) -> None:
        self.features: dict[str, FeatureArray] = {}
        self._family = family
        self._pipe = pipe
        self._profile = profile
        self._state = state
        self._steps: dict[str, int] = {}

    def before(self, transformer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        call = named_arguments(transformer, args, kwargs)
        step = self._step(call)
        if not self._steps:
            sigmas = noise_levels(self._pipe.scheduler)[:-1]
            look = _stage(self._profile, sigmas, step).look
            self._steps = {"look": look, "late": len(sigmas) - 1}
        self._state.capture = bool(self._wanted(step))
        if self._state.capture:
            self._state.layout = self._family.layout(call)

    def after(
        self, transformer: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        if not self._state.capture:
            return
        call = named_arguments(transformer, args, kwargs)
        features = self._state.take_features(self._profile.taps)
        features = features.map(self._family.rows(self._pipe, call).of_prompt)
        layout = self._family.layout(call)
        of_prompt = _joined(self._family, self._pipe, self._profile, features, layout)
        self.features |= dict.fromkeys(self._wanted(self._step(call)), of_prompt)

    def _step(self, call: Call) -> int:
        return current_step(self._pipe.scheduler, self._family.sigma(call))

    def _wanted(self, step: int) -> list[str]:
        """What to record at a step; of several passes the first, which has the prompt."""
        return [
            name for name, at in self._steps.items() if at == step and name not in self.features
        ]


@contextmanager
def _capturing(family: Family, transformer: Any, profile: ModelProfile) -> Iterator[AttentionState]:
    """Have the attention layers capture at the profile's taps, within the context."""
    tap_width(family, transformer, profile.taps)
    state = AttentionState(taps=frozenset(profile.taps))
    with family.regulated_attention(transformer, state):
        yield state


def _joined(
    family: Family, pipe: Any, profile: ModelProfile, features: Features, layout: TokenLayout
) -> FeatureArray:
    """Features of each output patch, those of the first given picture behind them."""
    dim = tap_width(family, pipe.transformer, profile.taps)
    joined: FeatureArray = (
        features.joined(layout.grid, layout.reference_grids, dim)[0].cpu().numpy()
    )
    return joined


def picture_grid(pipe: Any, profile: ModelProfile) -> tuple[int, int]:
    """Rows and columns of patches of the profile's usual pictures."""
    height, width = profile.size
    patch = family_of(pipe).patch_size(pipe)
    return height // patch, width // patch


def look_sigma(pipe: Any, profile: ModelProfile) -> float:
    """Noise level of the look; that of a check is on no schedule."""
    if profile.task == CHECK:
        return profile.sigma
    sigmas = family_of(pipe).sigmas(pipe, profile)
    return sigmas[_stage(profile, sigmas, 0).look]


def _stage(profile: ModelProfile, sigmas: Sequence[float], first: int) -> Stage:
    return plan_stage(sigmas, first=first, look_sigma=profile.sigma, stage_end=profile.stage_end)


@contextmanager
def _quiet(pipe: Any) -> Iterator[None]:
    before = getattr(pipe, "_progress_bar_config", None)
    pipe.set_progress_bar_config(disable=True)
    try:
        yield
    finally:
        if before is None:
            del pipe._progress_bar_config
        else:
            pipe._progress_bar_config = before
