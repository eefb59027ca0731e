"""The testbed's detector as a judge of finished pictures."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from PIL import Image

from concepts.digest import sha256
from uvr.evaluation.judges import THRESHOLD, heat_maps
from uvr.judges.judge import Scores
from uvr.testbed.samples import CONCEPTS
from uvr.testbed.scenes import THINGS


class DetectorJudge:
    """Scores the stand-in concepts at the place where a picture shows each most plainly."""

    name = "testbed-detector"

    def __init__(self) -> None:
        self.version = sha256((files("uvr.evaluation") / "judge.safetensors").read_bytes())[:12]
        self.thresholds = dict.fromkeys(CONCEPTS, THRESHOLD)

    def scores(self, pictures: Sequence[Image.Image]) -> Scores:
        """Score pictures, 0 to 1."""
        highest = heat_maps(pictures).flatten(2).amax(dim=2)
        return [
            {slug: float(row[THINGS.index(thing)]) for slug, thing in CONCEPTS.items()}
            for row in highest
        ]
