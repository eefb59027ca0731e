"""The testbed's judge: which things a picture shows, and where.

The judge is a small convolutional detector of all the world's things, trained here on rendered
scenes in every drawing style (one of which the generator never saw). `uvr.evaluation.imagenet` is
a second, independent one.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from safetensors.torch import load as load_tensors
from safetensors.torch import save_file
from torch import Tensor, nn

from uvr.testbed.scenes import SIZE, STYLES, THINGS, Scene, random_scene, render
from uvr.testbed.variety import free_scene

CELLS = 8
FREE_SHARE = 0.5  # of the scenes that it learns from: things of any size, in freer places
THRESHOLD = 0.5  # score >= threshold: the thing is there


@dataclass(frozen=True)
class Sighting:
    """A thing seen: its score in [0, 1] and its centre in pixels."""

    thing: str
    score: float
    x: float
    y: float


class Detector(nn.Module):
    """Heat maps of every thing: (n, 3, 64, 64) in [-1, 1] to logits (n, things, 8, 8)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inside, outside, stride in [(3, 24, 2), (24, 48, 2), (48, 64, 1), (64, 128, 2),
                                        (128, 128, 1)]:  # fmt: skip
            layers += [
                nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(outside),
                nn.ReLU(inplace=True),
            ]
        self.features = nn.Sequential(*layers)
        self.head = nn.Conv2d(128, len(THINGS), 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits of every thing in every 8-pixel cell."""
        logits: Tensor = self.head(self.features(pictures))
        return logits


def to_tensor(pictures: Sequence[Image.Image]) -> Tensor:
    """Pictures as (n, 3, 64, 64) in [-1, 1]; other sizes are resized."""
    square = [p.convert("RGB") if p.size == (SIZE, SIZE) else p.convert("RGB").resize((SIZE, SIZE))
              for p in pictures]  # fmt: skip
    stack = np.stack([np.asarray(p) for p in square])
    return torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 127.5 - 1


@cache
def load_judge() -> Detector:
    """The trained detector that ships with the package."""
    judge = Detector()
    judge.load_state_dict(
        {k: v.float() if v.is_floating_point() else v
         for k, v in load_tensors((files("uvr.evaluation") / "judge.safetensors").read_bytes())
         .items()}
    )  # fmt: skip
    return judge.eval()


@torch.inference_mode()
def heat_maps(pictures: Sequence[Image.Image]) -> Tensor:
    """Scores in [0, 1] of every thing in every cell, (n, things, 8, 8)."""
    return torch.sigmoid(load_judge()(to_tensor(pictures)))


def sightings(
    pictures: Sequence[Image.Image], threshold: float = THRESHOLD
) -> list[dict[str, Sighting]]:
    """What each picture shows, by thing, each at its most certain place."""
    maps = heat_maps(pictures).flatten(2)
    best, cell = maps.max(dim=2)
    seen: list[dict[str, Sighting]] = []
    for scores, cells in zip(best.tolist(), cell.tolist(), strict=True):
        found = {}
        for thing, score, place in zip(THINGS, scores, cells, strict=True):
            if score >= threshold:
                y, x = divmod(place, CELLS)
                side = SIZE / CELLS
                found[thing] = Sighting(thing, score, (x + 0.5) * side, (y + 0.5) * side)
        seen.append(found)
    return seen


@torch.inference_mode()
def detections(
    pictures: Sequence[Image.Image], thing: str, threshold: float = THRESHOLD
) -> list[int]:
    """How often each picture shows `thing`: its heat map's peaks with score >= threshold."""
    maps = heat_maps(pictures)[:, THINGS.index(thing)]
    peaks = (maps == F.max_pool2d(maps, 3, stride=1, padding=1)) & (maps >= threshold)
    counts: list[int] = peaks.flatten(1).sum(1).tolist()
    return counts


def in_place(seen: Sighting, slot: str) -> bool:
    """Whether a sighting lies in the third (half, beside the middle) of the picture said."""
    if slot == "middle":
        return SIZE / 4 <= seen.x <= SIZE * 3 / 4
    return (seen.x < SIZE / 2) == (slot == "left")


def targets(scene_list: Sequence[Scene]) -> tuple[Tensor, Tensor]:
    """Heat-map targets and weights, both (n, things, 8, 8); cells near a thing's rim count 0."""
    side = SIZE / CELLS
    centre = (torch.arange(CELLS) + 0.5) * side
    target = torch.zeros(len(scene_list), len(THINGS), CELLS, CELLS)
    weight = torch.ones_like(target)
    for n, scene in enumerate(scene_list):
        for placed in scene.things:
            k = THINGS.index(placed.thing)
            reach = torch.maximum(
                (centre - placed.y).abs()[:, None], (centre - placed.x).abs()[None, :]
            )
            target[n, k] = torch.maximum(target[n, k], (reach <= side * 0.75).float())
            weight[n, k][(reach > side * 0.75) & (reach <= side * 2)] = 0
    return target, weight


def worn(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """A picture as a generator may draw it: a little blurred, or shrunk and enlarged."""
    draw = rng.random()
    if draw < 0.35:
        return picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.2, 1.0))))
    if draw < 0.5:
        small = int(rng.integers(36, 60))
        return picture.resize((small, small), Image.Resampling.BILINEAR).resize((SIZE, SIZE))
    return picture


def batch_of(
    rng: np.random.Generator,
    count: int,
    style: str | None = None,
    *,
    wear: bool = True,
    free: float = FREE_SHARE,
) -> tuple[list[Scene], Tensor]:
    """Random scenes, things near their places or (a share of `free`) freer, and their pictures."""
    drawn = []
    for _ in range(count):
        drawing = style or str(rng.choice(STYLES))
        if rng.random() < free:
            drawn.append(free_scene(rng, style=drawing))
        else:
            drawn.append(random_scene(rng, style=drawing, jitter=4))
    pictures = [render(scene)[0] for scene in drawn]
    return drawn, to_tensor([worn(rng, p) for p in pictures] if wear else pictures)


def train(judge: Detector, steps: int, seed: int, rate: float = 4e-3, batch: int = 64) -> Detector:
    """Train the first judge on endless rendered scenes."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(1_000_000 + seed)
    judge.train()
    optimizer = torch.optim.AdamW(judge.parameters(), lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    start = time.time()
    for step in range(steps):
        drawn, x = batch_of(rng, batch)
        x = x + 0.06 * torch.randn_like(x) * torch.rand(batch, 1, 1, 1)
        target, weight = targets(drawn)
        loss = F.binary_cross_entropy_with_logits(
            judge(x), target, weight * (1 + 9 * target), reduction="sum"
        ) / batch  # fmt: skip
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            print(  # noqa: T201 (progress)
                f"step {step} loss {loss.item():.3f} {time.time() - start:.0f} s", flush=True
            )
    return judge.eval()


@torch.inference_mode()
def held_out(
    judge: Detector, style: str, count: int = 400, seed: int = 77, *, free: float = 0.0
) -> tuple[float, float]:
    """Recall, and false positives a thing and picture, on unseen renders of `style`."""
    rng = np.random.default_rng(seed)
    drawn, x = batch_of(rng, count, style, wear=False, free=free)
    seen = torch.sigmoid(judge(x)).flatten(2).amax(2) >= THRESHOLD
    truth = torch.tensor([[thing in scene.names() for thing in THINGS] for scene in drawn])
    return (seen & truth).sum().item() / truth.sum().item(), (
        (seen & ~truth).sum().item() / (~truth).sum().item()
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--further", action="store_true", help="on from the judge that ships")
    options = parser.parse_args()
    begun = load_judge() if options.further else Detector()
    trained = train(begun, options.steps, options.seed, 2e-3 if options.further else 4e-3)
    for style in STYLES:
        for kind, free in (("plain", 0.0), ("free", 1.0)):
            recall, false = held_out(trained, style, free=free)
            print(  # noqa: T201 (the figures of the run)
                f"{style}, {kind}: recall {recall:.4f}, false positives {false:.5f} (400 scenes)"
            )
    save_file(
        {k: v.half() if v.is_floating_point() else v for k, v in trained.state_dict().items()},
        Path(__file__).with_name("judge.safetensors"),
    )
