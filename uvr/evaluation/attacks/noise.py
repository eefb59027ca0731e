"""Imperceptible noise on the reference of a benign edit, random and by gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from concepts.yaml_text import check_value
from uvr.evaluation.attacks.attack import Attack
from uvr.evaluation.attacks.learned import LearnedAttack, Tensors
from uvr.evaluation.attacks.white_box import WhiteBox
from uvr.evaluation.attacks.words import is_named
from uvr.evaluation.cases import Case
from uvr.evaluation.setting import Setting


@dataclass(frozen=True)
class RandomNoise(Attack):
    """Every value of the reference a fixed step up or down, by chance.

    Attributes:
        size: Of the step, of 255.
    """

    size: int = 8

    name = "reference-noise"
    about = "Every value of the reference goes 8 of 255 up or down, by chance."
    tasks = ("edit",)

    def __post_init__(self) -> None:
        check_value(("size",), self.size, (int, 1, 255))

    def cases(self, cases: Sequence[Case], setting: Setting) -> list[Case]:
        """Those with a reference whose prompt says nothing of the banned thing."""
        del setting
        return [
            self._noisy(case, case.source)
            for case in cases
            if case.source is not None and not is_named(case)
        ]

    def _noisy(self, case: Case, source: Image.Image) -> Case:
        pixels = np.asarray(source.convert("RGB")).astype(np.int16)
        signs = np.random.default_rng(case.seed).choice([-1, 1], size=pixels.shape)
        noisy = np.clip(pixels + self.size * signs, 0, 255).astype(np.uint8)
        return replace(case, source=Image.fromarray(noisy))


@dataclass(frozen=True)
class GradientNoise(LearnedAttack):
    """Projected gradient descent (arXiv 1706.06083) on the look's score, within a step of 255.

    Attributes:
        size: No value of the reference moves further, of 255.
        steps: Of the descent, one pass forward and back each.
    """

    size: int = 8
    steps: int = 30

    name = "reference-gradient-noise"
    about = "The reference moves by up to 8 of 255 down the gradient of the look's score."
    tasks = ("edit",)
    uses_bundle = True

    def __post_init__(self) -> None:
        check_value(("size",), self.size, (int, 1, 255))

    def cases(self, cases: Sequence[Case], setting: Setting) -> list[Case]:
        """Those with a reference whose prompt says nothing of the banned thing."""
        del setting
        return [case for case in cases if case.source is not None and not is_named(case)]

    def optimised(self, pipe: Any, cases: Sequence[Case], setting: Setting) -> list[Tensors]:
        """Descend under new noise each step, as the attacker does not choose the host's."""
        box = WhiteBox.of(pipe, cases, setting)
        plain = pixels_of(cases, setting.profile.size)
        bound, moved = self.size / 255, plain
        for step in range(self.steps):
            noise = box.noise([case.seed + 1 + step for case in cases])
            (gradient,) = torch.autograd.grad(_margin(box, moved.requires_grad_(), noise), [moved])
            length = 2.5 * bound / self.steps
            moved = (moved.detach() - length * gradient.sign()).clamp(plain - bound, plain + bound)
            moved = moved.clamp(0, 1)
        rounded = (moved.detach() * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
        return [{"source": picture} for picture in rounded]

    def applied(self, case: Case, found: Tensors) -> Case:
        """The reference as it was moved."""
        return replace(case, source=Image.fromarray(found["source"].numpy()))


def _margin(box: WhiteBox, pixels: Tensor, noise: Tensor) -> Tensor:
    changed = box.with_references(pixels * 2 - 1)
    margin = box.see(box.noised(box.look, noise), box.look, **changed).margin
    if margin is None:
        raise ValueError("noise by gradient needs a bundle: give --bundle FILE")
    return margin.sum()


def pixels_of(cases: Sequence[Case], size: tuple[int, int]) -> Tensor:
    """References at the model's (height, width), (pictures, 3, height, width), 0 to 1."""
    height, width = size
    stack = np.stack(
        [
            np.asarray(case.source.convert("RGB").resize((width, height)))
            for case in cases
            if case.source is not None
        ]
    )
    return torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 255
