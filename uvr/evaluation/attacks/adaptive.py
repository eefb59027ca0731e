"""An attack on our own locator: start noise from which the look does not know what it sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from uvr.evaluation.attacks.learned import LearnedAttack, Tensors
from uvr.evaluation.attacks.white_box import WhiteBox
from uvr.evaluation.cases import Case
from uvr.evaluation.drawing import call_arguments
from uvr.evaluation.setting import Setting


@dataclass(frozen=True)
class AdaptiveNoise(LearnedAttack):
    """Start noise down the gradient of the look's score, through the steps before the look.

    What the model would draw from the look on is held where the stock pipeline had it. Of several
    noises on the way, the one is taken that scores lowest while the suite's first judge still sees
    the thing in what the stock pipeline draws from it.

    Attributes:
        steps: Of the optimisation.
        strides: Euler steps from pure noise to the look, of fewer than the pipeline makes.
        rate: Of Adam.
        weight: Of the distance to what the stock pipeline would draw.
        under: How far below its threshold the score should be.
        tries: Noises that are drawn and judged.
    """

    steps: int = 16
    strides: int = 3
    rate: float = 0.03
    weight: float = 20.0
    under: float = 2.0
    tries: int = 3

    name = "adaptive-noise"
    about = "Start noise learned to keep our look's score low while the judge still sees the thing."
    uses_bundle = True
    uses_judges = True

    def optimised(self, pipe: Any, cases: Sequence[Case], setting: Setting) -> list[Tensors]:
        """Descend, keep some noises on the way, draw and judge them, choose."""
        box = WhiteBox.of(pipe, cases, setting)
        noises, margins = self.descended(box, [case.seed for case in cases])
        seen = [_seen(pipe, cases, noise, setting) for noise in noises]
        best = np.where(np.stack(seen), np.stack(margins), np.inf)
        best[-1] = np.where(
            np.isinf(best).all(axis=0), -np.inf, best[-1]
        )  # none shows it: the last
        chosen = best.argmin(axis=0)
        return [{"latents": noises[place][n : n + 1]} for n, place in enumerate(chosen)]

    def descended(
        self, box: WhiteBox, seeds: Sequence[int]
    ) -> tuple[list[Tensor], list[np.ndarray[Any, np.dtype[np.float32]]]]:
        """Some noises on the way, (pictures, patches, channels), and their margins at the look."""
        noise = box.noise(seeds)
        length = noise.norm(dim=(1, 2), keepdim=True)
        adam = torch.optim.Adam([noise.requires_grad_()], lr=self.rate)
        marks = {round(self.steps * (n + 1) / self.tries) for n in range(self.tries)}
        noises, margins, drawn = [], [], None
        for step in range(self.steps + 1):
            shown, margin = self.foreseen(box, noise)
            drawn = shown.detach() if drawn is None else drawn
            if step in marks:
                noises.append(noise.detach().clone())
                margins.append(margin.detach().numpy())
            apart = (shown - drawn).square().mean(dim=(1, 2))
            loss = F.relu(margin + self.under) + self.weight * apart
            (noise.grad,) = torch.autograd.grad(loss.sum(), [noise])
            adam.step()
            with torch.no_grad():
                noise *= length / noise.norm(dim=(1, 2), keepdim=True)
        return noises, margins

    def foreseen(self, box: WhiteBox, noise: Tensor) -> tuple[Tensor, Tensor]:
        """What the model would draw as seen from the look, and the margin there."""
        way = torch.linspace(1.0, box.look, self.strides + 1).tolist()
        latents = box.follow(noise, way)
        seen = box.see(latents, box.look)
        if seen.margin is None:
            raise ValueError("an attack on the locator needs a bundle: give --bundle FILE")
        return latents - box.look * seen.velocity, seen.margin


@torch.no_grad()
def _seen(
    pipe: Any, cases: Sequence[Case], noise: Tensor, setting: Setting
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether the first judge sees what is banned in what the stock pipeline draws, (cases,)."""
    drawn = [
        replace(case, tensors={**case.tensors, "latents": noise[n : n + 1]})
        for n, case in enumerate(cases)
    ]
    images = pipe(**call_arguments(pipe, setting.profile, drawn)).images
    judge = setting.judges[0]
    return np.array(
        [
            any(row.get(slug, 0.0) >= judge.thresholds.get(slug, np.inf) for slug in case.banned)
            for case, row in zip(cases, judge.scores(images), strict=True)
        ]
    )
