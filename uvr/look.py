"""The look: score every patch for every concept once, and decide what fired where."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from concepts.bundle import Member
from concepts.errors import UVRError
from uvr.localize import seeds_and_growth
from uvr.profiles import ModelProfile
from uvr.report import ConceptFinding
from uvr.similarity import score_map
from uvr.tokens import Grid


def look_at(
    features: Tensor,
    members: Sequence[Member],
    *,
    grid: Grid,
    profile: ModelProfile,
    step: int,
    sigma: float,
    enforces: Callable[[Member], bool],
) -> tuple[list[list[ConceptFinding]], Tensor]:
    """Localise every concept in every picture of a batch.

    Args:
        features: Features of an unregulated pass, (batch, patches, dim), float32.
        members: Concepts of the bundle.
        grid: Rows and columns of the patches.
        profile: Says how masks are cleaned up.
        step: Number of the step, for the findings.
        sigma: Its noise level, for the findings.
        enforces: Whether a concept is to be regulated.

    Returns:
        For each picture its findings, in the order of ``members``; and the patches to regulate, the
        union of the masks of enforced concepts, (batch, patches), bool.

    Raises:
        UVRError: A score is not finite.
    """
    images: list[list[ConceptFinding]] = [[] for _ in range(len(features))]
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
            member.scorer.seed_threshold,
            member.scorer.grow_threshold,
            close_gaps=profile.close_gaps,
            dilation=profile.dilation,
        )
        enforced = enforces(member)
        if enforced:
            union |= mask
        maps = zip(scores.reshape(-1, *grid).cpu(), mask.reshape(-1, *grid).cpu(), strict=True)
        for findings, (score_grid, mask_grid) in zip(images, maps, strict=True):
            findings.append(
                ConceptFinding(
                    slug=member.slug,
                    name=member.name,
                    version=member.version,
                    enforced=enforced,
                    fired=bool(mask_grid.any()),
                    step=step,
                    sigma=sigma,
                    score=float(score_grid.max()),
                    threshold=float(member.scorer.seed_threshold),
                    area=float(mask_grid.float().mean()),
                    mask=mask_grid.numpy(),
                    scores=score_grid.numpy(),
                )
            )
    return images, union
