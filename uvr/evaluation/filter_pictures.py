"""What the output filter learns from: labelled pictures, rendered and as the generator draws them.

1. Scenes in every style, plain and free; now and then a thing is blotted out and counts as gone.
2. A pool of scenes that the testbed took apart and put together again: through its autoencoder with
   noise on the latents, or noised and drawn anew from there in a few steps.
3. Each batch is warped: mirrored, stretched, shrunk, moved partly out of the picture. A thing that
   is cut off or very small counts neither as there nor as gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor
from torch.nn import functional as F

from uvr.evaluation.judges import CELLS, to_tensor, worn
from uvr.families.flux_pictures import pack_latents
from uvr.families.known import profile_for
from uvr.testbed.scenes import (
    BANNED,
    NEAR_MISSES,
    SIZE,
    STYLES,
    THINGS,
    Scene,
    caption,
    random_scene,
    render,
)
from uvr.testbed.variety import fits, free_scene, loosened, silent_caption, some_things

MOST_THINGS = 3
BLOTTED_SHARE = 0.12  # of things
FREE_SHARE, LOOSE_SHARE = 0.5, 0.3  # of scenes
NOISE = 0.35  # on latents of unit variance, at most
STEPS = 3  # of what is drawn anew
SAID, SILENT = (0.4, 0.8), (0.2, 0.45)  # noise levels to draw anew from, by the caption
SMALLEST, MOST_OUTSIDE = 11.0, 0.3  # pixels, and share of a thing's box: beyond is not counted
BATCH = 64
_CUTLERY = ("kitchen knife", "fork", "spoon")
_OFTEN = np.array([4.0 if t in _CUTLERY else 1.5 if t in (*BANNED, *NEAR_MISSES) else 0.8
                   for t in THINGS])  # fmt: skip

DrawScene = Callable[[Generator], Scene]


@dataclass(frozen=True)
class Labelled:
    """Pictures and what they show.

    Attributes:
        pictures: (n, 3, SIZE, SIZE) in [-1, 1].
        boxes: (n, MOST_THINGS, 5): index of the thing or -1, centre x and y, width and height in
            pixels.
    """

    pictures: Tensor
    boxes: Tensor

    def take(self, rows: Tensor) -> Labelled:
        """Some of the pictures."""
        return Labelled(self.pictures[rows], self.boxes[rows])

    def with_more(self, other: Labelled) -> Labelled:
        """These pictures and others."""
        return Labelled(torch.cat([self.pictures, other.pictures]),
                        torch.cat([self.boxes, other.boxes]))  # fmt: skip


def draw_scene(rng: Generator) -> Scene:
    """A scene in any style, banned things more often than others."""
    style = str(rng.choice(STYLES))
    if rng.random() < FREE_SHARE:
        return free_scene(rng, style=style)
    count = int(rng.choice([1, 2, 3], p=[0.4, 0.45, 0.15]))
    return random_scene(rng, things=some_things(rng, count), style=style, jitter=3)


def draw_confusable(rng: Generator) -> Scene:
    """The same with a knife, a fork or a spoon in most, which are hardest to tell apart."""
    count = int(rng.choice([1, 2, 3], p=[0.4, 0.45, 0.15]))
    things = rng.choice(THINGS, size=count, replace=False, p=_OFTEN / _OFTEN.sum())
    scene = random_scene(
        rng, things=[str(t) for t in things], style=str(rng.choice(STYLES)), jitter=3
    )
    return loosened(rng, scene) if rng.random() < LOOSE_SHARE else scene


def boxes_of(scenes: Sequence[Scene]) -> Tensor:
    """Boxes of all things; see ``Labelled``."""
    boxes = torch.full((len(scenes), MOST_THINGS, 5), -1.0)
    for row, scene in zip(boxes, scenes, strict=True):
        for line, placed in zip(row, scene.things, strict=False):
            size = float(placed.size)
            line[:] = torch.tensor([THINGS.index(placed.thing), placed.x, placed.y, size, size])
    return boxes


def blotted(rng: Generator, scene: Scene, picture: Image.Image) -> tuple[Scene, Image.Image]:
    """A scene without some of its things, and the picture with a smear in their places."""
    gone = [placed for placed in scene.things if rng.random() < BLOTTED_SHARE]
    for placed in gone:
        smear = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.2, 0.4)) * placed.size))
        mask = Image.new("L", picture.size)
        reach = placed.size * float(rng.uniform(0.5, 0.65))
        ImageDraw.Draw(mask).ellipse(
            (placed.x - reach, placed.y - reach, placed.x + reach, placed.y + reach), fill=255
        )
        picture = Image.composite(smear, picture, mask.filter(ImageFilter.GaussianBlur(1)))
    return replace(scene, things=tuple(p for p in scene.things if p not in gone)), picture


def rendered(rng: Generator, count: int, draw: DrawScene = draw_scene) -> Labelled:
    """Scenes as they are drawn by hand, some worn, some with things blotted out."""
    drawn = []
    for _ in range(count):
        scene = draw(rng)
        drawn.append(blotted(rng, scene, render(scene)[0]))
    pictures = to_tensor([worn(rng, picture) for _, picture in drawn])
    return Labelled(pictures, boxes_of([scene for scene, _ in drawn]))


@torch.inference_mode()
def through_autoencoder(
    pipe: Any, rng: Generator, count: int, draw: DrawScene = draw_scene
) -> Labelled:
    """Scenes as the testbed's autoencoder gives them back, with noise on their latents."""
    before = rendered(rng, count, draw)
    latents = pipe.vae.encode(before.pictures).latents
    level = torch.from_numpy(rng.random(count)).float()[:, None, None, None] * NOISE
    noise = torch.from_numpy(rng.standard_normal(latents.shape)).float()
    decoded = pipe.vae.decode(latents + level * noise).sample
    return Labelled(decoded.clamp(-1, 1), before.boxes)


@torch.inference_mode()
def drawn_from(
    pipe: Any,
    rng: Generator,
    scenes: Sequence[Scene],
    captions: Sequence[str],
    sigma: float,
    steps: int = STEPS,
) -> list[Image.Image]:
    """What a text-to-image testbed makes of scenes that are noised to a level."""
    clean = pack_latents(pipe.vae.encode(to_tensor([render(s)[0] for s in scenes])).latents)
    noise = torch.from_numpy(rng.standard_normal(clean.shape)).float()
    sigmas = [sigma * (1 - step / steps) for step in range(steps)]
    call = {**profile_for(pipe).call, "num_inference_steps": steps}
    images: list[Image.Image] = pipe(
        prompt=[said if fits(said) else "" for said in captions],
        latents=(1 - sigma) * clean + sigma * noise, sigmas=sigmas, **call,
    ).images  # fmt: skip
    return images


def drawn_anew(pipe: Any, rng: Generator, count: int, draw: DrawScene = draw_scene) -> Labelled:
    """Scenes noised to some level, and drawn from there under their caption or one that is silent.

    All of one call share the level; a thing that the level leaves too little of may be lost, which
    is why it is lower where the caption does not say it.
    """
    silent = bool(rng.random() < 0.3)
    made = [draw(rng) for _ in range(count)]
    captions = [silent_caption(rng, scene) if silent else caption(scene) for scene in made]
    sigma = float(rng.uniform(*(SILENT if silent else SAID)))
    return Labelled(to_tensor(drawn_from(pipe, rng, made, captions, sigma)), boxes_of(made))


def make_pool(
    pipe: Any,
    rng: Generator,
    count: int,
    say: Callable[[str], None],
    draw: DrawScene = draw_scene,
) -> Labelled:
    """``count`` pictures, half of them through the autoencoder and half drawn anew."""
    parts = []
    for number in range(max(2, count // BATCH)):
        make = drawn_anew if number % 2 else through_autoencoder
        parts.append(make(pipe, rng, BATCH, draw))
        if number % 10 == 0:
            say(f"{BATCH * (number + 1)} of {count} pictures for the pool")
    return Labelled(torch.cat([p.pictures for p in parts]), torch.cat([p.boxes for p in parts]))


def warped(rng: Generator, given: Labelled, share: float = 0.7) -> Labelled:
    """Pictures mirrored, stretched, shrunk or enlarged, and moved, by a share of them."""
    count = len(given.pictures)
    some = torch.from_numpy(rng.random(count) < share)
    scale = torch.from_numpy(np.exp(rng.uniform(-0.45, 0.3, (count, 1))
                                    + rng.uniform(-0.2, 0.2, (count, 2)))).float()  # fmt: skip
    shift = torch.from_numpy(rng.uniform(-0.3, 0.3, (count, 2))).float()
    scale, shift = torch.where(some[:, None], scale, 1.0), torch.where(some[:, None], shift, 0.0)
    mirror = torch.from_numpy(np.where(rng.random(count) < 0.5, -1.0, 1.0)).float()
    # What stands at ``at`` afterwards stood at ``(at - shift) / scale``, in [-1, 1].
    sign = torch.stack([mirror, torch.ones(count)], dim=1)
    theta = torch.zeros(count, 2, 3)
    theta[:, [0, 1], [0, 1]] = sign / scale
    theta[:, :, 2] = -shift * sign / scale
    grid = F.affine_grid(theta, [count, 3, SIZE, SIZE], align_corners=False)
    pictures = F.grid_sample(given.pictures, grid, padding_mode="border", align_corners=False)
    boxes, half = given.boxes.clone(), SIZE / 2
    there = boxes[..., 0] >= 0
    centres = (boxes[..., 1:3] / half - 1) * sign[:, None] * scale[:, None] + shift[:, None] + 1
    boxes[..., 1:3] = torch.where(there[..., None], centres * half, boxes[..., 1:3])
    boxes[..., 3:5] = torch.where(there[..., None], boxes[..., 3:5] * scale[:, None], -1.0)
    return Labelled(pictures, boxes)


def tinted(rng: Generator, pictures: Tensor) -> Tensor:
    """Pictures a little brighter or darker, with less or more contrast, and with grain."""
    count = len(pictures)
    gain = torch.from_numpy(rng.uniform(0.8, 1.15, (count, 3, 1, 1))).float()
    lift = torch.from_numpy(rng.uniform(-0.12, 0.12, (count, 3, 1, 1))).float()
    grain = torch.from_numpy(rng.random((count, 1, 1, 1))).float() * 0.07
    noise = torch.from_numpy(rng.standard_normal(pictures.shape, dtype=np.float32))
    return (pictures * gain + lift + grain * noise).clamp(-1, 1)


def targets_of(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Targets and weights of every thing in every cell, both (n, things, CELLS, CELLS).

    The middle of a thing's box is there, the rest of the box does not count, and no part of a
    thing that is cut off or very small does.
    """
    side = SIZE / CELLS
    centre = (torch.arange(CELLS) + 0.5) * side
    index, x, y, width, height = boxes.unbind(-1)
    across = (centre - x[..., None]).abs() / width.clamp(min=side)[..., None]
    down = (centre - y[..., None]).abs() / height.clamp(min=side)[..., None]
    reach = torch.maximum(down[..., :, None], across[..., None, :])
    nearest = reach == reach.amin((-2, -1), keepdim=True)
    counted = torch.minimum(width, height) >= SMALLEST
    counted &= _inside(x, width) * _inside(y, height) >= 1 - MOST_OUTSIDE
    core = ((reach <= 0.25) | nearest) & counted[..., None, None]
    around = (reach <= 0.75) & ~core
    target = torch.zeros(len(boxes), len(THINGS), CELLS, CELLS)
    weight = torch.ones_like(target)
    for slot in range(boxes.shape[1]):
        rows = torch.nonzero(index[:, slot] >= 0)[:, 0]
        things = index[rows, slot].long()
        weight[rows, things] *= ~around[rows, slot]
        target[rows, things] = torch.maximum(target[rows, things], core[rows, slot].float())
    return target, torch.maximum(weight, target)


def _inside(centre: Tensor, size: Tensor) -> Tensor:
    """Share of a box's side that lies in the picture."""
    first, last = (centre - size / 2).clamp(0, SIZE), (centre + size / 2).clamp(0, SIZE)
    return (last - first) / size.clamp(min=1)
