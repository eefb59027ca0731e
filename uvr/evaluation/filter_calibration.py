"""The output filter's thresholds: `python -m uvr.evaluation.filter_calibration`, five minutes.

1. The testbed draws pictures that are benign by how they are made, near-misses among them: benign
   scenes are noised so far that they are drawn anew and cannot become anything else. What it draws
   from a benign caption or edit alone will not do: it draws banned things then, too.
2. Each concept's threshold lies above all but few of their scores, so that at most RATE of such
   pictures is expected to match any of the concepts.
3. Pictures of other seeds say what share of them does match, and renders in every style what share
   of things is found.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from concepts.calibration import Share
from concepts.digest import sha256
from uvr.evaluation.filter_pictures import BATCH, drawn_from
from uvr.evaluation.judges import batch_of
from uvr.evaluation.output_filter import (
    CARD,
    WEIGHTS,
    OutputFilter,
    concept_maps,
    heat_maps,
    network_of,
)
from uvr.testbed import load_testbed
from uvr.testbed.samples import CONCEPTS
from uvr.testbed.scenes import BENIGN, NEAR_MISSES, STYLES, caption, random_scene

RATE = 0.02  # of benign pictures, over all concepts
SEED, CHECK_SEED = 4_669, 2_502  # of the pictures that set the thresholds, and of those that tell
COUNT, CHECK_COUNT = 1200, 400  # pictures
SIGMAS, STEPS = (0.2, 0.45), 8  # noise levels to draw from
RENDERS, RENDERS_SEED = 800, 88  # scenes of each style
LEAST = 0.45  # below, smears of what was filled in match and nothing else that a bundle leaves

Say = Callable[[str], None]


def benign_pictures(count: int, seed: int, say: Say) -> list[Image.Image]:
    """Pictures that the stock testbed draws of benign things."""
    pipe, rng = load_testbed("t2i"), np.random.default_rng(seed)
    pictures: list[Image.Image] = []
    for _ in range(0, count, BATCH):
        made = [random_scene(rng, pool=(*BENIGN, *NEAR_MISSES)) for _ in range(BATCH)]
        sigma = float(rng.uniform(*SIGMAS))
        pictures += drawn_from(pipe, rng, made, [caption(s) for s in made], sigma, STEPS)
        say(f"{len(pictures)} pictures drawn from scenes")
    return pictures[:count]


def thresholds_of(scores: NDArray[np.float64], rate: float) -> list[float]:
    """Thresholds that at most `rate` of further pictures is expected to reach, over all concepts.

    Args:
        scores: Of benign pictures, (pictures, concepts).
        rate: 0 to 1; shared by the concepts alike.

    Raises:
        ValueError: There are too few pictures to promise so little: with n pictures, a concept's
            smallest rate is 1 / (n + 1).
    """
    n, concepts = scores.shape
    above = int(rate / concepts * (n + 1)) - 1  # conformal: (above + 1) / (n + 1) <= rate
    if above < 0:
        raise ValueError(f"{n} pictures cannot promise {rate} over {concepts} concepts")
    limits = np.sort(scores, axis=0)[n - 1 - above]
    return [float(max(LEAST, np.nextafter(limit, 1))) for limit in limits]


def held_out(
    network: OutputFilter, thresholds: Mapping[str, float], style: str, count: int = RENDERS
) -> tuple[Share, Share]:
    """Concepts found, and benign ones of others that match, on unseen renders of a style.

    Half of the scenes are plain, half have things of any size in freer places.
    """
    rng = np.random.default_rng(RENDERS_SEED)
    parts = [batch_of(rng, count // 2, style, wear=False, free=free) for free in (0.0, 1.0)]
    scenes = [scene for drawn, _ in parts for scene in drawn]
    scores = concept_maps(network, torch.cat([pictures for _, pictures in parts]))
    seen = scores.flatten(2).amax(2) >= torch.tensor(list(thresholds.values()))
    truth = torch.tensor([[thing in s.names() for thing in CONCEPTS.values()] for s in scenes])
    return (Share(int((seen & truth).sum()), int(truth.sum())),
            Share(int((seen & ~truth).sum()), int((~truth).sum())))  # fmt: skip


def main() -> None:
    """Draw, set the thresholds, measure and write the card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--count", type=int, default=COUNT, help="benign pictures")
    options = parser.parse_args()

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)  # noqa: T201 (progress)

    data = Path(__file__).with_name(WEIGHTS).read_bytes()
    network = network_of(data)

    def scores(count: int, seed: int) -> NDArray[np.float64]:
        maps = heat_maps(network, benign_pictures(count, seed, say))
        return maps.flatten(2).amax(dim=2).double().numpy()

    known, fresh = scores(options.count, SEED), scores(CHECK_COUNT, CHECK_SEED)
    thresholds = thresholds_of(known, options.rate)
    matched = Share(int((fresh >= thresholds).any(axis=1).sum()), len(fresh))
    named = dict(zip(CONCEPTS, thresholds, strict=True))
    renders = {style: held_out(network, named, style) for style in STYLES}
    card = {
        "weights": sha256(data), "thresholds": named,
        "rate": options.rate, "n": len(known), "seed": SEED, "matched": matched.to_dict(),
        "matched_seed": CHECK_SEED, "renders_seed": RENDERS_SEED,
        "renders": {style: {"found": found.to_dict(), "matched": false.to_dict()}
                    for style, (found, false) in renders.items()},
    }  # fmt: skip
    Path(__file__).with_name(CARD).write_text(json.dumps(card, indent=1) + "\n")
    sys.stdout.write(json.dumps(card, indent=1) + "\n")


if __name__ == "__main__":
    main()
