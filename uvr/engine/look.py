"""The look: score every patch for every concept once, and decide what fired where.

All concepts are scored in one matrix product, and the highest scores go to the host together.
Masks are made only where a patch reached its threshold, so that what does not fire costs nothing
that grows with the number of concepts but the product itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from concepts.bundle import Member
from concepts.errors import UVRError
from uvr.method.masks import seeds_and_growth
from uvr.method.scores import ScorerStack
from uvr.method.tokens import Grid
from uvr.profiles import ModelProfile
from uvr.report import ConceptFinding

LARGEST_HALF = 65504.0
NEAREST_MAPS = 16
"""Score maps kept of concepts that did not fire: those that came closest to their threshold."""

Pair = tuple[int, int]
"""A picture and a concept, by their places in the batch and among the members."""


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
    scorers: ScorerStack,
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
        scorers: Their scorers, in the same order.
        grid: Rows and columns of the patches.
        profile: Says how masks are cleaned up.
        step: Number of the step, for the findings.
        sigma: Its noise level, for the findings.
        mode_of: What to do with a concept: "enforce", "log" or "shadow".

    Raises:
        UVRError: A score is not finite.
    """
    scores = scorers.scores(features)
    peaks = _peaks(scores, members, step)
    # In float32, as patches are compared: a concept has a mask just when its peak is a seed.
    seeds = torch.tensor([member.seed_threshold for member in members], dtype=torch.float32)
    fired = [(picture, concept) for picture, concept in (peaks >= seeds).nonzero().tolist()]
    masks = _masks(scores, fired, members, grid, profile) if fired else {}
    features_of = _strongest(features, scores, fired) if fired else {}
    modes = [mode_of(member) for member in members]
    maps = _maps(scores, sorted({*fired, *_nearest(peaks, members, modes)}), grid)
    nothing = np.zeros(grid, dtype=bool)
    nothing.flags.writeable = False  # All findings without a mask share it.
    images: list[list[ConceptFinding]] = [[] for _ in range(len(features))]
    shadow: list[list[ConceptFinding]] = [[] for _ in range(len(features))]
    for picture, highest in enumerate(peaks.tolist()):
        for concept, (member, mode) in enumerate(zip(members, modes, strict=True)):
            pair = (picture, concept)
            mask = masks.get(pair)
            finding = ConceptFinding(
                slug=member.slug,
                name=member.name,
                version=member.version,
                mode=mode,
                fired=mask is not None,
                step=step,
                sigma=sigma,
                score=highest[concept],
                threshold=float(member.seed_threshold),
                area=0.0 if mask is None else float(mask.mean()),
                mask=nothing if mask is None else mask,
                scores=maps.get(pair),
                feature=features_of.get(pair),
            )
            (shadow if mode == "shadow" else images)[picture].append(finding)
    union = np.zeros((len(features), scores.shape[-1]), dtype=bool)
    for (picture, concept), mask in masks.items():
        if modes[concept] == "enforce":
            union[picture] |= mask.ravel()
    return Look(images, shadow, torch.from_numpy(union).to(features.device))


def _peaks(scores: Tensor, members: Sequence[Member], step: int) -> Tensor:
    """Highest score of each concept in each picture, on the host, (batch, concepts)."""
    # NaN is in both extremes; an infinity is one of them.
    extremes = torch.stack([scores.amax(dim=-1), scores.amin(dim=-1)]).cpu()
    finite = extremes.isfinite().all(dim=0).all(dim=0)
    if not bool(finite.all()):
        slug = members[finite.tolist().index(False)].slug
        raise UVRError(
            f"Scores of {slug!r} are not finite at step {step}; the picture is not safe "
            "to return. Check the model's precision."
        )
    return extremes[0]


def _masks(
    scores: Tensor,
    fired: Sequence[Pair],
    members: Sequence[Member],
    grid: Grid,
    profile: ModelProfile,
) -> dict[Pair, NDArray[np.bool_]]:
    """Masks of what fired, (rows, columns) each, all grown together."""
    thresholds = torch.tensor(
        [
            (members[concept].seed_threshold, members[concept].grow_threshold)
            for _, concept in fired
        ],
        dtype=torch.float32,
        device=scores.device,
    )
    masks = seeds_and_growth(
        _rows(scores, fired),
        grid,
        thresholds[:, :1],
        thresholds[:, 1:],
        close_gaps=profile.close_gaps,
        dilation=profile.dilation,
    )
    return dict(zip(fired, masks.reshape(-1, *grid).cpu().numpy(), strict=True))


def _strongest(
    features: Tensor, scores: Tensor, fired: Sequence[Pair]
) -> dict[Pair, NDArray[np.float16]]:
    """Features of the patches with the highest scores of what fired, (dim,) each, float16."""
    pictures = torch.tensor([picture for picture, _ in fired], device=features.device)
    strongest = features[pictures, _rows(scores, fired).argmax(dim=-1)].float()
    half = strongest.clamp(-LARGEST_HALF, LARGEST_HALF).half().cpu().numpy()
    return dict(zip(fired, half, strict=True))


def _nearest(peaks: Tensor, members: Sequence[Member], modes: Sequence[str]) -> list[Pair]:
    """The ``NEAREST_MAPS`` that came closest in each picture, shadow concepts apart."""
    # In float64, as a report ranks its findings: its strongest one must have a map.
    seeds = torch.tensor([member.seed_threshold for member in members], dtype=torch.float64)
    margins = peaks.double() - seeds
    pairs = []
    for shadow in (False, True):
        part = [place for place, mode in enumerate(modes) if (mode == "shadow") is shadow]
        ranks = margins[:, part].argsort(dim=1, descending=True, stable=True)
        for picture, row in enumerate(ranks[:, :NEAREST_MAPS].tolist()):
            pairs += [(picture, part[rank]) for rank in row]
    return pairs


def _maps(scores: Tensor, pairs: Sequence[Pair], grid: Grid) -> dict[Pair, NDArray[np.float32]]:
    """Score maps, (rows, columns) each."""
    maps = _rows(scores, pairs).reshape(-1, *grid).cpu().numpy()
    return dict(zip(pairs, maps, strict=True))


def _rows(scores: Tensor, pairs: Sequence[Pair]) -> Tensor:
    """Scores of some pictures and concepts, (pairs, patches)."""
    index = torch.tensor(pairs, device=scores.device)
    return scores[index[:, 0], index[:, 1]]
