"""Capture batches, here or elsewhere, and keep their features: in memory, or in a folder."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from uvr.anchors.batches import (
    BATCH_SIZE,
    Batch,
    batch_key,
    drawn_batches,
    noised_batches,
    shared_content,
)
from uvr.anchors.capture import FeatureArray, Progress, look_sigma, picture_grid
from uvr.anchors.feature_folder import FeatureFolder
from uvr.anchors.stack import Stack
from uvr.families.family import tap_width
from uvr.families.known import family_of
from uvr.profiles import ModelProfile
from uvr.sample import Sample

Captured = tuple[str, tuple[FeatureArray, ...]]
"""The key of a batch and its features of each kind, (pictures, patches, dim)."""


@dataclass(frozen=True)
class Source:
    """What batches are captured with.

    Attributes:
        pipe: The pipeline.
        profile: Its profile.
        shared: What keys of batches have in common.
    """

    pipe: Any
    profile: ModelProfile
    shared: Mapping[str, Any]


Engine = Callable[[Mapping[str, Batch], Source], Generator[Captured, None, None]]
"""Captures batches, given by their keys, wherever and in whatever order."""


def capture_here(batches: Mapping[str, Batch], source: Source) -> Generator[Captured, None, None]:
    """Capture batches one after the other in this process."""
    for key, batch in batches.items():
        yield key, batch.capture(source.pipe, source.profile)


@dataclass(frozen=True)
class Capturing:
    """How features are captured, and where they are kept.

    Attributes:
        size: Pictures in a batch.
        kept: Features by the keys of their batches; what is there is not captured again.
        engine: Captures what is not.
        used: Keys of the batches that were asked for.
    """

    size: int = BATCH_SIZE
    kept: MutableMapping[str, tuple[FeatureArray, ...]] = field(default_factory=dict)
    engine: Engine = capture_here
    used: set[str] = field(default_factory=set)

    def stacks(
        self,
        pipe: Any,
        profile: ModelProfile,
        batches: Sequence[Batch],
        progress: Progress | None = None,
    ) -> dict[str, Stack]:
        """Features of all pictures of some batches, by kind.

        Args:
            pipe: The pipeline.
            profile: Its profile.
            batches: In the order of their pictures, all of the same kinds; at least one.
            progress: Told how many pictures are there, of all.

        Raises:
            UVRError: The disk is too full for them.
        """
        source = Source(pipe, profile, shared_content(pipe, profile))
        keyed = {batch_key(source.shared, batch): batch for batch in batches}
        self.used.update(keyed)
        missing = {key: batch for key, batch in keyed.items() if key not in self.kept}
        total = sum(map(len, batches))
        done = total - sum(map(len, missing.values()))
        if isinstance(self.kept, FeatureFolder):
            kinds = len(batches[0].kinds)
            self.kept.require_room((total - done) * kinds * feature_bytes(pipe, profile))
        if done and progress is not None:
            progress(done, total)
        for key, features in self.engine(missing, source):
            self.kept[key] = features
            done += len(keyed[key])
            if progress is not None:
                progress(done, total)
        counts = [(key, len(batch)) for key, batch in keyed.items()]
        return {kind: Stack(self.kept, counts, place)
                for place, kind in enumerate(batches[0].kinds)}  # fmt: skip


def feature_bytes(pipe: Any, profile: ModelProfile) -> int:
    """Bytes that features of one kind of one picture take."""
    rows, columns = picture_grid(pipe, profile)
    return rows * columns * tap_width(family_of(pipe), pipe.transformer, profile.taps) * 4


def noised_features(
    pipe: Any,
    profile: ModelProfile,
    samples: Sequence[Sample],
    sigma: float,
    *,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
) -> Iterator[FeatureArray]:
    """Yield features of pictures noised to a level, (batch, patches, dim) of each batch.

    A batch is of neighbours; where an editing model is given a picture for one and none for the
    next, another batch begins.
    """
    for batch in noised_batches(pipe, profile, samples, sigma, seed=seed, size=batch_size):
        yield from batch.capture(pipe, profile)


def capture_from_images(
    pipe: Any, profile: ModelProfile, samples: Sequence[Sample], *, seed: int = 0
) -> FeatureArray:
    """Features of noised pictures at the look's noise level, (samples, patches, dim), in memory."""
    sigma = look_sigma(pipe, profile)
    return np.concatenate(list(noised_features(pipe, profile, samples, sigma, seed=seed)))


def capture_from_prompts(
    pipe: Any, profile: ModelProfile, prompts: Sequence[str], *, seed: int = 0
) -> tuple[FeatureArray, FeatureArray]:
    """Draw a picture for each prompt; features at the look step and at the last step, in memory.

    Returns:
        Two arrays, (prompts, patches, dim).
    """
    batches = drawn_batches(prompts, seed=seed, steps=profile.steps)
    look, late = zip(*(batch.capture(pipe, profile) for batch in batches), strict=True)
    return np.concatenate(look), np.concatenate(late)
