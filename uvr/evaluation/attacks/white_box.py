"""The white box: a stock transformer's velocities and the look's scores, with gradients.

All that attacks know of the engine is here: how a call is built, where taps are, how patches are
scored. Taps are read by hooks of our own, because the engine's capture holds no gradients.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from concepts.bundle import BundleVariant
from concepts.errors import MismatchError
from uvr.evaluation.cases import Case
from uvr.evaluation.setting import Setting
from uvr.families.family import Family
from uvr.families.flux_pictures import encode_pixels, pack_latents
from uvr.families.known import family_of
from uvr.method.features import Features
from uvr.method.rewind import Call, euler_step
from uvr.method.scores import LookScorers
from uvr.method.stage import plan_stage
from uvr.method.taps import layer_of, output_dim, output_taps, reference_taps
from uvr.method.tokens import TokenLayout
from uvr.profiles import ModelProfile
from uvr.sample import Sample
from uvr.testbed import scenes

_ROWS = {
    "hidden_states", "timestep", "guidance", "pooled_projections", "encoder_hidden_states",
}  # fmt: skip
"""Arguments of a call that have a row for each picture."""


@dataclass(frozen=True)
class Seen:
    """One pass of the transformer.

    Attributes:
        velocity: Of the output, (pictures, patches, channels).
        margin: How far the highest score of any concept is above its threshold, (pictures,):
            below 0 nothing fires. None without a bundle.
    """

    velocity: Tensor
    margin: Tensor | None


class WhiteBox:
    """A batch of pictures in front of the stock transformer, every input open to gradients.

    Args:
        pipe: The stock pipeline, with no regulator attached.
        profile: Its profile.
        samples: What the output should show (``image``), under what (``prompt``, ``source``).
        variant: Whose scores to take; None for none.

    Attributes:
        call: The transformer's arguments for the clean pictures.
        clean: Latents of the pictures, (pictures, patches, channels).
        sigmas: The profile's noise levels, with the final zero.
        look: The noise level of the look.
    """

    def __init__(
        self,
        pipe: Any,
        profile: ModelProfile,
        samples: Sequence[Sample],
        variant: BundleVariant | None = None,
    ) -> None:
        self.pipe = pipe
        self.family: Family = family_of(pipe)
        self._variant = variant
        space = variant.space if variant else None
        self._scorers = LookScorers(
            [member.scorer for member in variant.members] if variant else [],
            output_dim(space.taps, space.dim) if space else None,
        )
        with torch.no_grad():
            self.call = self.family.noised_call(
                pipe, profile, samples, 0.0, torch.Generator().manual_seed(0)
            )
        self.layout = self.family.layout(self.call)
        self.clean = self.family.latents(self.call, self.layout)
        self.sigmas = [*self.family.sigmas(pipe, profile), 0.0]
        sigma = variant.space.sigma if variant else profile.sigma
        stage = plan_stage(self.sigmas[:-1], first=0, look_sigma=sigma, stage_end=1.0)
        self.look = self.sigmas[stage.look]

    @classmethod
    def of(cls, pipe: Any, cases: Sequence[Case], setting: Setting) -> WhiteBox:
        """The pictures that cases should not show, and their bundle's scores if there is one."""
        samples = [Sample(target_of(case), prompt=case.prompt, source=case.source)
                   for case in cases]  # fmt: skip
        profile, variant = setting.profile, None
        if setting.bundle is not None:
            variant = setting.bundle.variant_for(profile.model, profile.task)
        return cls(pipe, profile, samples, variant)

    def rows(self, rows: Tensor) -> WhiteBox:
        """Some of the pictures, by their numbers."""
        part = copy(self)
        part.clean = self.clean[rows]
        part.call = {
            name: item[rows] if name in _ROWS and item is not None else item
            for name, item in self.call.items()
        }
        return part

    def noise(self, seeds: Sequence[int]) -> Tensor:
        """Unit noise of each picture, by its seed."""
        shape = self.clean.shape[1:]
        return torch.stack(
            [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        ).to(self.clean)

    def noised(self, sigma: float, noise: Tensor) -> Tensor:
        """The clean pictures at a noise level."""
        return (1 - sigma) * self.clean + sigma * noise

    def see(self, latents: Tensor, sigma: float, **changed: Any) -> Seen:
        """One pass over latents at a noise level, with other arguments where some are given."""
        call: Call = self.family.with_latents({**self.call, **changed}, latents)
        timestep = torch.full_like(self.call["timestep"], sigma)
        taps = self._variant.space.taps if self._variant else ()
        with tapped(self.pipe.transformer, taps, self.layout) as features:
            output = self.pipe.transformer(**{**call, "timestep": timestep})
        velocity = self.family.velocity(output, self.layout)
        if self._variant is None:
            return Seen(velocity, None)
        output_scores, given = self._scorers.scores(self._features(features, taps))
        peaks = torch.stack([each.amax(dim=-1) for each in (output_scores, *given)]).amax(dim=0)
        seeds = torch.tensor([member.seed_threshold for member in self._variant.members])
        return Seen(velocity, (peaks - seeds.to(peaks)).amax(dim=-1))

    def _features(self, captured: Mapping[str, Tensor], taps: Sequence[str]) -> Features:
        """What was captured at the output's taps and, where there is one, of the given picture."""

        def joined(some: Sequence[str]) -> Tensor:
            return torch.cat([captured[tap] for tap in some], dim=-1).float()

        given = reference_taps(taps) if self.layout.references else []
        return Features(joined(output_taps(taps)), (joined(given),) if given else ())

    def follow(self, latents: Tensor, sigmas: Sequence[float], **changed: Any) -> Tensor:
        """Latents after Euler steps from noise level to noise level."""
        for sigma, after in pairwise(sigmas):
            velocity = self.see(latents, sigma, **changed).velocity
            latents = euler_step(latents, velocity, after - sigma)
        return latents

    def with_references(self, pixels: Tensor) -> dict[str, Tensor]:
        """Arguments with other pictures to edit, (pictures, 3, height, width), -1 to 1."""
        packed = pack_latents(encode_pixels(self.pipe, pixels))
        return {"hidden_states": torch.cat([self.clean, packed.to(self.clean)], dim=1)}


def target_of(case: Case) -> Any:
    """The picture that a case must not show: its scene, else its source."""
    if case.scene is not None:
        return scenes.render(case.scene)[0]
    if case.source is None:
        raise MismatchError(
            "This attack needs a picture of what is banned: cases with a scene or a source."
        )
    return case.source


@contextmanager
def tapped(
    transformer: Any, taps: Sequence[str], layout: TokenLayout
) -> Iterator[Mapping[str, Tensor]]:
    """Give the features of a pass at taps, (pictures, patches, dim), with their gradients."""
    features: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for tap in taps:
            attention = transformer.get_submodule(layer_of(tap)).attn
            given = tap in reference_taps(taps)
            spans = layout.references[:1] if given else (layout.output,)
            if not spans:
                continue
            if hasattr(attention, "to_out"):  # a double block: image tokens before the projection
                first = layout.output.start
                span = slice(spans[0].start - first, spans[0].stop - first)
                take = _before(features, tap, span)
                handle = attention.to_out[0].register_forward_pre_hook(take)
            else:
                handle = attention.register_forward_hook(_after(features, tap, spans[0]))
            stack.callback(handle.remove)
        yield features


def _before(features: dict[str, Tensor], tap: str, span: slice) -> Any:
    def take(module: Any, args: tuple[Tensor, ...]) -> None:
        features[tap] = args[0][:, span]

    return take


def _after(features: dict[str, Tensor], tap: str, span: slice) -> Any:
    def take(module: Any, args: Any, output: Tensor) -> None:
        features[tap] = output[:, span]

    return take
