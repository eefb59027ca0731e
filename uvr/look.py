"""The look: score every patch for every concept once, and decide what fired where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from concepts.bundle import Member
from concepts.errors import UVRError
from uvr.localize import seeds_and_growth
from uvr.profiles import ModelProfile
from uvr.report import ConceptFinding
from uvr.similarity import score_map
from uvr.tokens import Grid

LARGEST_HALF = 65504.0


@dataclass(frozen=True)
class Look:
    """What a look found.

    Attributes:
        images: For each picture its findings, in the order of members, without shadow concepts.
        shadow: The same for the concepts in shadow mode.
        mask: The patches to regulate, the union of the masks of enforced concepts,
            (batch, patches), bool.
    """

    images: list[list[ConceptFinding]]
    shadow: list[list[ConceptFinding]]
    mask: Tensor


def look_at(
    features: Tensor,
    members: Sequence[Member],
    *,
    grid: Grid,
    profile: ModelProfile,
    step: int,
    sigma: float,
    mode_of: Callable[[Member], str],
) -> Look:
    """Localise every concept in every picture of a batch.

    Args:
        features: Features of an unregulated pass, (batch, patches, dim), float32.
        members: Concepts of the bundle.
        grid: Rows and columns of the patches.
        profile: Says how masks are cleaned up.
        step: Number of the step, for the findings.
        sigma: Its noise level, for the findings.
        mode_of: What to do with a concept: "enforce", "log" or "shadow".

    Raises:
        UVRError: A score is not finite.
    """
    images: list[list[ConceptFinding]] = [[] for _ in range(len(features))]
    shadow: list[list[ConceptFinding]] = [[] for _ in range(len(features))]
    union = torch.zeros(features.shape[:2], dtype=torch.bool, device=features.device)
    for member in members:
        scores = score_map(features, member.scorer)
        if not bool(torch.isfinite(scores).all()):
            raise UVRError(
                f"Scores of {member.slug!r} are not finite at step {step}; the picture is not safe "
                "to return. Check the model's precision."
            )
        mask = seeds_and_growth(
            scores,
            grid,
            member.seed_threshold,
            member.grow_threshold,
            close_gaps=profile.close_gaps,
            dilation=profile.dilation,
        )
        mode = mode_of(member)
        if mode == "enforce":
            union |= mask
        found = shadow if mode == "shadow" else images
        maps = zip(scores.reshape(-1, *grid).cpu(), mask.reshape(-1, *grid).cpu(), strict=True)
        for index, (score_grid, mask_grid) in enumerate(maps):
            fired = bool(mask_grid.any())
            found[index].append(
                ConceptFinding(
                    slug=member.slug,
                    name=member.name,
                    version=member.version,
                    mode=mode,
                    fired=fired,
                    step=step,
                    sigma=sigma,
                    score=float(score_grid.max()),
                    threshold=float(member.seed_threshold),
                    area=float(mask_grid.float().mean()),
                    mask=mask_grid.numpy(),
                    scores=score_grid.numpy(),
                    feature=_strongest(features[index], score_grid) if fired else None,
                )
            )
    return Look(images, shadow, union)


def _strongest(features: Tensor, scores: Tensor) -> NDArray[np.float16]:
    """Feature of the patch with the highest score, (dim,), float16."""
    feature = features[int(scores.argmax())].float().clamp(-LARGEST_HALF, LARGEST_HALF)
    half: NDArray[np.float16] = feature.half().cpu().numpy()
    return half
