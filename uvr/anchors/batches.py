"""Batches: pictures that pass the model together, and what their features depend on.

A batch is the unit that is captured, kept and given to a worker. Features of a picture depend on
its neighbours in the last bits, so that a picture alone would not give the same ones again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol

import torch
from torch import Tensor

from concepts.digest import json_digest
from uvr.anchors.capture import FeatureArray, capture_drawn, capture_noised
from uvr.families.known import family_of
from uvr.profiles import ModelProfile
from uvr.revision import pipeline_facts
from uvr.sample import Sample

BATCH_SIZE = 8
_FORMAT = "uvr-features/1"
"""Changes when features of the same batch would be others: what was kept before is left aside."""


class Batch(Protocol):
    """Pictures that pass together."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of what is captured of each picture."""
        ...

    def __len__(self) -> int:
        """Number of pictures."""
        ...

    def content(self) -> dict[str, Any]:
        """All that decides the features besides model and profile; JSON."""
        ...

    def capture(self, pipe: Any, profile: ModelProfile) -> tuple[FeatureArray, ...]:
        """Features of each kind, (pictures, patches, dim)."""
        ...


@dataclass(frozen=True)
class DrawnBatch:
    """Pictures that are drawn from prompts, picture ``i`` from noise of ``seed + i``.

    Features are those of the look step and of the last step.
    """

    prompts: tuple[str, ...]
    first: int
    seed: int
    steps: int
    kinds: tuple[str, ...] = ("look", "late")

    def __len__(self) -> int:
        return len(self.prompts)

    def content(self) -> dict[str, Any]:
        first_seed = self.seed + self.first
        return {"prompts": list(self.prompts), "first_seed": first_seed, "steps": self.steps}

    def capture(self, pipe: Any, profile: ModelProfile) -> tuple[FeatureArray, ...]:
        seeds = range(self.seed + self.first, self.seed + self.first + len(self.prompts))
        return capture_drawn(pipe, profile, self.prompts, seeds, self.steps)


@dataclass(frozen=True, eq=False)
class NoisedBatch:
    """Pictures that are noised to a level and pass once.

    Attributes:
        samples: All with a given picture, or none.
        seed: Of the noise of all batches, which is one stream.
        sigma: The noise level.
        state: Of the stream where this batch begins.
        kinds: As of any batch.
    """

    samples: tuple[Sample, ...]
    seed: int
    sigma: float
    state: Tensor = field(repr=False)
    kinds: tuple[str, ...] = ("look",)

    def __len__(self) -> int:
        return len(self.samples)

    def content(self) -> dict[str, Any]:
        return {
            "samples": [_sample_digest(sample) for sample in self.samples],
            "seed": self.seed,
            "sigma": self.sigma,
            "state": hashlib.sha256(self.state.numpy().tobytes()).hexdigest(),
        }

    def capture(self, pipe: Any, profile: ModelProfile) -> tuple[FeatureArray, ...]:
        generator = torch.Generator().set_state(self.state)
        return (capture_noised(pipe, profile, self.samples, self.sigma, generator),)


def drawn_batches(
    prompts: Sequence[str], *, seed: int, steps: int, size: int = BATCH_SIZE
) -> list[DrawnBatch]:
    """Prompts in their order, ``size`` at a time."""
    return [
        DrawnBatch(tuple(prompts[first : first + size]), first, seed, steps)
        for first in range(0, len(prompts), size)
    ]


def noised_batches(
    pipe: Any,
    profile: ModelProfile,
    samples: Sequence[Sample],
    sigma: float,
    *,
    seed: int,
    size: int = BATCH_SIZE,
) -> Iterator[NoisedBatch]:
    """Samples in their order, up to ``size`` at a time, all with a given picture or none."""
    generator = torch.Generator().manual_seed(seed)
    each = family_of(pipe).noise_size(pipe, profile)
    for _, run in groupby(samples, lambda sample: sample.given is None):
        neighbours = list(run)
        for start in range(0, len(neighbours), size):
            part = tuple(neighbours[start : start + size])
            yield NoisedBatch(part, seed, sigma, generator.get_state())
            torch.randn(len(part) * each, generator=generator)


def shared_content(pipe: Any, profile: ModelProfile) -> dict[str, Any]:
    """What the features of every batch depend on; JSON."""
    fields = ("model", "task", "taps", "sigma", "stage_end", "call")
    plain = profile.to_dict()
    about = {name: plain[name] for name in fields}
    return {"format": _FORMAT, "model": pipeline_facts(pipe), "profile": about}


def batch_key(shared: Mapping[str, Any], batch: Batch) -> str:
    """The digest that a batch's features are kept by."""
    return json_digest({**shared, "batch": batch.content()})


def _sample_digest(sample: Sample) -> str:
    """Digest of what the model is given of a sample: picture, picture to edit, text."""
    digest = hashlib.sha256(sample.prompt.encode())
    for picture in (sample.image, sample.given):
        if picture is None:
            digest.update(b"\0none")
        else:
            digest.update(f"\0{picture.mode} {picture.size}\0".encode())
            digest.update(picture.tobytes())
    return digest.hexdigest()
