"""The testbed's detector as a judge of finished pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files

import torch.nn.functional as F
from PIL import Image

from concepts.digest import sha256
from uvr.evaluation.judges import THRESHOLD, heat_maps
from uvr.judges.judge import Scores
from uvr.testbed.samples import CONCEPTS
from uvr.testbed.scenes import BANNED, THINGS

FAINTEST = 0.05
"""Peaks of a heat map below this are no place where anything might be."""


class DetectorJudge:
    """Scores the stand-in concepts at the place where a picture shows each most plainly.

    Args:
        things: Whether to score the world's other things too, by their names.
    """

    name = "testbed-detector"

    def __init__(self, *, things: bool = False) -> None:
        self.version = sha256((files("uvr.evaluation") / "judge.safetensors").read_bytes())[:12]
        others = [thing for thing in THINGS if thing not in BANNED] if things else []
        self._places = {slug: THINGS.index(thing) for slug, thing in CONCEPTS.items()}
        self._places |= {thing: THINGS.index(thing) for thing in others}
        self.thresholds = dict.fromkeys(self._places, THRESHOLD)

    def scores(self, pictures: Sequence[Image.Image]) -> Scores:
        """Score pictures, 0 to 1."""
        highest = heat_maps(pictures).flatten(2).amax(dim=2)
        return [
            {slug: float(row[place]) for slug, place in self._places.items()} for row in highest
        ]

    def instances(self, pictures: Sequence[Image.Image]) -> Sequence[Mapping[str, Sequence[float]]]:
        """Score each place where something may be, for each picture and concept, best first."""
        maps = heat_maps(pictures)
        peaks = maps * (maps == F.max_pool2d(maps, 3, stride=1, padding=1))
        ordered = peaks.flatten(2).sort(dim=2, descending=True).values
        return [
            {slug: [float(ordered[n, place, 0]),
                    *(v for v in ordered[n, place, 1:].tolist() if v >= FAINTEST)]
             for slug, place in self._places.items()}
            for n in range(len(pictures))
        ]  # fmt: skip
