"""The output filter: a judge of the testbed's finished pictures that has no part in its figures.

`judges.Detector` measures, so it must not also decide what is returned. This network does: a few
convolutions, then attention among the picture's 64 cells, from another seed and another mix of
pictures (`filter_training`). Its thresholds are those at which few benign pictures that the testbed
drew match (`filter_calibration`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from concepts.digest import sha256
from uvr.evaluation.judges import CELLS, to_tensor
from uvr.judges.judge import Scores
from uvr.testbed.samples import CONCEPTS
from uvr.testbed.scenes import THINGS

WIDTH, HEADS, BLOCKS = 96, 4, 3
PART = 64  # pictures seen at once
WEIGHTS, CARD = "output_filter.safetensors", "output_filter.json"


class Block(nn.Module):
    """Attention among the cells and a small MLP, each before a sum with what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
        self.query_key_value = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
        )

    def forward(self, cells: Tensor) -> Tensor:
        """(n, cells, WIDTH) to the same."""
        n, count, _ = cells.shape
        heads = self.query_key_value(self.norms[0](cells)).view(n, count, 3, HEADS, -1)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(query, key, value)
        cells = cells + self.out(seen.transpose(1, 2).reshape(n, count, WIDTH))
        result: Tensor = cells + self.mlp(self.norms[1](cells))
        return result


class OutputFilter(nn.Module):
    """Heat maps of every thing: (n, 3, 64, 64) in [-1, 1] to logits (n, things, 8, 8)."""

    def __init__(self) -> None:
        super().__init__()
        stem: list[nn.Module] = []
        for inside, outside, stride in [(3, 24, 2), (24, 64, 2), (64, WIDTH, 2)]:
            conv = nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)
            stem += [conv, nn.BatchNorm2d(outside), nn.ReLU(inplace=True)]
        self.stem = nn.Sequential(*stem)
        self.places = nn.Parameter(torch.zeros(CELLS * CELLS, WIDTH))
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, len(THINGS)))

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits of every thing in every 8-pixel cell."""
        cells = self.stem(pictures).flatten(2).transpose(1, 2) + self.places
        logits: Tensor = self.head(self.blocks(cells))
        return logits.transpose(1, 2).reshape(len(pictures), -1, CELLS, CELLS)


def network_of(data: bytes) -> OutputFilter:
    """The network with the weights of a safetensors file."""
    network = OutputFilter()
    network.load_state_dict({name: tensor.float() if tensor.is_floating_point() else tensor
                             for name, tensor in load_tensors(data).items()})  # fmt: skip
    return network.eval()


@torch.inference_mode()
def concept_maps(network: OutputFilter, pictures: Tensor) -> Tensor:
    """Scores in [0, 1] of every stand-in concept in every cell, (n, concepts, 8, 8).

    Args:
        network: The output filter.
        pictures: (n, 3, 64, 64) in [-1, 1].
    """
    parts = [torch.sigmoid(network(part)) for part in torch.split(pictures, PART)]
    return torch.cat(parts)[:, [THINGS.index(thing) for thing in CONCEPTS.values()]]


def heat_maps(network: OutputFilter, pictures: Sequence[Image.Image]) -> Tensor:
    """The same of pictures of any size."""
    return concept_maps(network, to_tensor(pictures))


@cache
def shipped() -> tuple[OutputFilter, dict[str, Any], str]:
    """The network, its card and the digest of its weights, as they ship with the package."""
    folder = files("uvr.evaluation")
    data = (folder / WEIGHTS).read_bytes()
    return network_of(data), json.loads((folder / CARD).read_text()), sha256(data)[:12]


class OutputFilterJudge:
    """Scores the stand-in concepts by the output filter, and says where it sees them."""

    name = "testbed-output-filter"

    def __init__(self) -> None:
        self._network, card, digest = shipped()
        self.version = digest
        self.thresholds: Mapping[str, float] = card["thresholds"]

    def scores(self, pictures: Sequence[Image.Image]) -> Scores:
        """Score pictures, 0 to 1."""
        highest = heat_maps(self._network, pictures).flatten(2).amax(dim=2)
        return [dict(zip(CONCEPTS, row.tolist(), strict=True)) for row in highest]

    def places(self, pictures: Sequence[Image.Image]) -> list[dict[str, NDArray[np.float32]]]:
        """The heat maps that the scores are the highest values of, (8, 8)."""
        return [dict(zip(CONCEPTS, row.numpy(), strict=True))
                for row in heat_maps(self._network, pictures)]  # fmt: skip
