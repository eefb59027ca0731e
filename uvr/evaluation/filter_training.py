"""Train the output filter: `python -m uvr.evaluation.filter_training`, a quarter of an hour.

It writes the weights beside the code. `python -m uvr.evaluation.filter_calibration` finds the
thresholds then, and measures.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from uvr.evaluation.filter_pictures import (
    Labelled,
    make_pool,
    rendered,
    targets_of,
    tinted,
    warped,
)
from uvr.evaluation.output_filter import WEIGHTS, OutputFilter
from uvr.testbed import load_testbed
from uvr.testbed.scenes import BANNED, THINGS

SEED = 20_077
STEPS, BATCH, RATE = 1700, 64, 2e-3
POOL, POOL_SHARE = 5120, 0.6  # pictures, and the share of each batch that comes from them
POSITIVE, BANNED_WEIGHT, PICTURE = 6.0, 2.0, 0.1  # weights in the loss

Say = Callable[[str], None]


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


def next_batch(rng: np.random.Generator, pool: Labelled) -> Labelled:
    """Fresh renders and pictures of the pool, warped and tinted."""
    pooled = int(POOL_SHARE * BATCH)
    rows = torch.from_numpy(rng.integers(0, len(pool.pictures), pooled))
    batch = warped(rng, rendered(rng, BATCH - pooled).with_more(pool.take(rows)))
    return Labelled(tinted(rng, batch.pictures), batch.boxes)


def train(pool: Labelled, steps: int, seed: int, say: Say) -> OutputFilter:
    """Train from random weights."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    network = OutputFilter().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    begun = time.perf_counter()
    for step in range(steps):
        batch = next_batch(rng, pool)
        loss = loss_of(network(batch.pictures), batch.boxes)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            say(f"step {step} loss {loss.item():.3f} {time.perf_counter() - begun:.0f} s")
    return network.eval()


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--pool", type=int, default=POOL, help="pictures of the generator's kind")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name(WEIGHTS))
    options = parser.parse_args()

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)  # noqa: T201 (progress)

    rng = np.random.default_rng([options.seed, 0])
    pool = make_pool(load_testbed("t2i"), rng, options.pool, say)
    network = train(pool, options.steps, options.seed, say)
    save_file({name: tensor.half() if tensor.is_floating_point() else tensor
               for name, tensor in network.state_dict().items()}, options.out)  # fmt: skip


if __name__ == "__main__":
    main()
