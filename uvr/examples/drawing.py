"""Draw example pictures and score them as an engine's look would, keeping each as it comes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from concepts.errors import MismatchError
from concepts.scorer import Scorer
from uvr.anchors.capture import Progress, look_sigma, picture_grid, recorded_features
from uvr.anchors.capturing import noised_features
from uvr.anchors.extract import MIN_COVERAGE, anchor_space, patch_coverage
from uvr.examples.kept import Drawn, Kept
from uvr.examples.wanted import COLLECTED, PROMPTS, Wanted
from uvr.families.known import family_of
from uvr.method.features import Features
from uvr.method.scores import LookScorers
from uvr.method.taps import output_dim
from uvr.profiles import CHECK, UNSAID, ModelProfile
from uvr.sample import Sample
from uvr.testbed.samples import TESTBED_SCENES, example_sample, labelled_samples

BATCH = 8
"""Pictures that are drawn at once."""
Found = tuple[Wanted, Drawn, NDArray[np.float32]]
"""A picture, and its features: (patches, dim)."""


def draw_examples(
    pipe: Any,
    profile: ModelProfile,
    wanted: Sequence[Wanted],
    scorers: Sequence[Scorer],
    kept: Kept,
    progress: Progress | None = None,
    given: Mapping[Wanted, Sample] | None = None,
) -> int:
    """Draw what a cache lacks of some pictures; those that it has are not drawn again.

    A picture without scores by one of the scorers is drawn again, for its features.

    Args:
        pipe: The pipeline.
        profile: Its profile for the pictures' task.
        wanted: The pictures.
        scorers: Those that score them.
        kept: The cache.
        progress: Told how many pictures are done, of those that were lacking.
        given: Pictures that are not drawn.

    Returns:
        How many were drawn.

    Raises:
        MismatchError: The pictures are of another model, or of other weights, taps or noise.
    """
    lacking = kept.lacking(wanted, scorers)
    if not lacking:
        return 0
    found = anchor_space(pipe, profile)
    if any(item.space != found.digest for item in lacking):
        raise MismatchError(
            f"The examples are of other weights, taps or noise level than this {found.task} model "
            f"has ('{found.model}', {found.revision[:12] or 'any weights'})."
        )
    profile = at_size(profile, lacking[0].size)
    grid = picture_grid(pipe, profile)
    for done, (item, drawn, features) in enumerate(_draw(pipe, profile, lacking, given or {}), 1):
        for scorer in scorers:
            scores = score_map(features, scorer, profile, grid, given=drawn.source is not None)
            kept.keep_scores(item, scorer, scores)
        kept.keep(item, drawn)
        if progress is not None:
            progress(done, len(lacking))
    return len(lacking)


def score_map(
    features: NDArray[np.float32],
    scorer: Scorer,
    profile: ModelProfile,
    grid: tuple[int, int],
    *,
    given: bool,
) -> NDArray[np.float32]:
    """Score the patches of one picture as a look does.

    Args:
        features: (patches, dim), those of the given picture behind those of the output.
        scorer: What scores them.
        profile: Says which features are of the output.
        grid: Rows and columns of the patches.
        given: Whether there is a given picture.

    Returns:
        The higher score of the output and the given picture at each place, (rows, columns).
    """
    split = output_dim(profile.taps, features.shape[-1])
    both = torch.from_numpy(features)[None]
    references = (both[..., split:],) if given and split < both.shape[-1] else ()
    output, others = LookScorers([scorer], split).scores(Features(both[..., :split], references))
    highest = torch.stack([output, *others]).amax(dim=0)
    scores: NDArray[np.float32] = highest.reshape(grid).cpu().numpy()
    return scores


def at_size(profile: ModelProfile, size: tuple[int, int]) -> ModelProfile:
    """The profile for pictures of a height and width."""
    return replace(profile, call={**profile.call, "height": size[0], "width": size[1]})


def _draw(
    pipe: Any, profile: ModelProfile, wanted: Sequence[Wanted], given: Mapping[Wanted, Sample]
) -> Iterator[Found]:
    asked = [item for item in wanted if item.source == PROMPTS]
    for start in range(0, len(asked), BATCH):
        yield from _from_prompts(pipe, profile, asked[start : start + BATCH])
    others = [item for item in wanted if item.source != PROMPTS]
    samples = ((item, given.get(item) or scene_of(item)) for item in others)
    yield from look_at_samples(pipe, profile, samples)


def _from_prompts(pipe: Any, profile: ModelProfile, batch: Sequence[Wanted]) -> Iterator[Found]:
    """Draw prompts as collecting does: the features are those of the look's step."""
    request = {
        "prompt": [item.prompt for item in batch],
        "num_inference_steps": batch[0].steps or profile.steps,
    }
    arguments = family_of(pipe).call_arguments(profile, request)
    generators = [torch.Generator().manual_seed(item.seed + item.number) for item in batch]
    with recorded_features(pipe, profile) as recorded:
        images = pipe(generator=generators, **arguments).images
    for item, image, features in zip(batch, images, recorded["look"], strict=True):
        yield item, Drawn(image, item.prompt), features


def scene_of(item: Wanted) -> Sample:
    """The testbed's labelled scene for a picture."""
    if item.source == COLLECTED:
        return _collected(item.slug, item.task, item.seed)[item.number]
    return example_sample(item.slug, item.task, item.kind, item.seed, item.number)


@lru_cache(maxsize=1)
def _collected(slug: str, task: str, seed: int) -> list[Sample]:
    """The scenes that anchors are collected from, those with the concept first."""
    shown, others = labelled_samples(slug, task, seed, TESTBED_SCENES[task])
    return [*shown, *others]


def look_at_samples(
    pipe: Any, profile: ModelProfile, samples: Iterable[tuple[Wanted, Sample]]
) -> Iterator[Found]:
    """Look at given pictures, noised to the look's level, one at a time.

    Each has noise of its own, so that a score depends on no other picture.
    """
    grid = picture_grid(pipe, profile)
    for item, sample in samples:
        seen = replace(sample, prompt=UNSAID) if profile.task == CHECK else sample
        sigma = look_sigma(pipe, profile)
        seed = item.seed + item.number
        (features,) = noised_features(pipe, profile, [seen], sigma, seed=seed, batch_size=1)
        yield item, _drawn(sample, profile, grid), features[0]


def _drawn(sample: Sample, profile: ModelProfile, grid: tuple[int, int]) -> Drawn:
    shown = None
    if sample.mask is not None:
        shown = (patch_coverage(sample.mask, grid) >= MIN_COVERAGE).reshape(grid)
    return Drawn(
        image=sample.image,
        prompt=sample.prompt,
        shown=shown,
        source=sample.given if profile.task == "edit" else None,
        name=sample.name,
    )
