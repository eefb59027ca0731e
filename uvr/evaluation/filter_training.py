"""Train the output filter: `python -m uvr.evaluation.filter_training`, a quarter of an hour.

The first part learns all things, the second to tell a knife from a fork and a spoon. Each writes
the weights beside the code. `python -m uvr.evaluation.filter_calibration` finds the thresholds
then, and measures.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from uvr.evaluation.filter_pictures import (
    DrawScene,
    Labelled,
    draw_confusable,
    draw_scene,
    make_pool,
    rendered,
    targets_of,
    tinted,
    warped,
)
from uvr.evaluation.output_filter import WEIGHTS, OutputFilter, network_of
from uvr.testbed import load_testbed
from uvr.testbed.scenes import BANNED, THINGS

SEED = 20_077
BATCH = 64
POOL_SHARE = 0.6  # of each batch, that comes from the pool
POSITIVE, BANNED_WEIGHT, PICTURE = 6.0, 2.0, 0.1  # weights in the loss

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """One part of the training: steps, highest learning rate, pictures in the pool, scenes."""

    steps: int
    rate: float
    pool: int
    draw: DrawScene


PLANS = (Plan(1700, 2e-3, 5120, draw_scene), Plan(800, 1e-3, 1920, draw_confusable))


def loss_of(logits: Tensor, boxes: Tensor) -> Tensor:
    """How wrong every cell is, and every picture as a whole by its most certain cell."""
    target, weight = targets_of(boxes)
    emphasis = torch.ones(len(THINGS))
    emphasis[: len(BANNED)] = BANNED_WEIGHT
    weights = weight * (1 + (POSITIVE - 1) * target) * emphasis[:, None, None]
    cells = F.binary_cross_entropy_with_logits(logits, target, weights, reduction="sum")
    there = target.flatten(2).amax(2)
    counts = emphasis * torch.maximum(weight.flatten(2).amin(2), there)
    highest = logits.flatten(2).amax(2)
    whole = F.binary_cross_entropy_with_logits(highest, there, counts, reduction="sum")
    return (cells / 10 + PICTURE * whole) / len(logits)


def next_batch(rng: np.random.Generator, pool: Labelled, draw: DrawScene) -> Labelled:
    """Fresh renders and pictures of the pool, warped and tinted."""
    pooled = int(POOL_SHARE * BATCH)
    rows = torch.from_numpy(rng.integers(0, len(pool.pictures), pooled))
    fresh = rendered(rng, BATCH - pooled, draw)
    batch = warped(rng, fresh.with_more(pool.take(rows)))
    return Labelled(tinted(rng, batch.pictures), batch.boxes)


def train(
    pool: Labelled,
    plan: Plan,
    seed: int,
    say: Say,
    begun: OutputFilter | None = None,
) -> OutputFilter:
    """Train from random weights, or on from what has begun."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    network = (begun or OutputFilter()).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=plan.rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.rate, total_steps=plan.steps)
    start = time.perf_counter()
    for step in range(plan.steps):
        batch = next_batch(rng, pool, plan.draw)
        loss = loss_of(network(batch.pictures), batch.boxes)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == plan.steps - 1:
            say(f"step {step} loss {loss.item():.3f} {time.perf_counter() - start:.0f} s")
    return network.eval()


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument(
        "--further", type=Path, metavar="FILE", help="only the second part, on from these weights"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name(WEIGHTS))
    options = parser.parse_args()

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)  # noqa: T201 (progress)

    pipe = load_testbed("t2i")
    begun = options.further
    for number, plan in enumerate(PLANS[begun is not None :], begun is not None):
        seed = options.seed + number
        pool = make_pool(pipe, np.random.default_rng([seed, 0]), plan.pool, say, plan.draw)
        network = train(pool, plan, seed, say, begun and network_of(begun.read_bytes()))
        save_file({name: tensor.half() if tensor.is_floating_point() else tensor
                   for name, tensor in network.state_dict().items()}, options.out)  # fmt: skip
        begun = options.out  # a part goes on from what is on disk, however it got there


if __name__ == "__main__":
    main()
