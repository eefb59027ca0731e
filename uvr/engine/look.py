"""The look: score every patch for every concept once, and decide what fired where.

All concepts are scored in one matrix product for each kind of patch, those of the output and, in
edits, those of given pictures, and the highest scores go to the host together.
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
from uvr.engine.fired_masks import (
    Pair,
    ScoreMap,
    in_output,
    masks_of,
    rows_of,
    union_of,
    where_it_comes_back,
)
from uvr.method.features import Features, resized
from uvr.method.scores import LookScorers
from uvr.method.tokens import Grid, TokenLayout
from uvr.profiles import ModelProfile
from uvr.report import ConceptFinding

LARGEST_HALF = 65504.0
NEAREST_MAPS = 16
"""Score maps kept of concepts that did not fire: those that came closest to their threshold."""


@dataclass(frozen=True)
class Look:
    """What a look found.

    Attributes:
        images: For each picture its findings, in the order of members, without shadow concepts.
        shadow: The same for the concepts in shadow mode.
        mask: The output patches to regulate, the union of the masks of enforced concepts,
            (batch, patches), bool.
        sources: The same of each given picture that was looked at, (batch, its patches), bool.
    """

    images: list[list[ConceptFinding]]
    shadow: list[list[ConceptFinding]]
    mask: Tensor
    sources: tuple[Tensor, ...] = ()

    @property
    def regulates(self) -> bool:
        """Whether there is anything to regulate."""
        return any(bool(mask.any()) for mask in (self.mask, *self.sources))


@dataclass(frozen=True)
class _Seen:
    """What a look knows of each concept in each picture.

    Attributes:
        step: Number of the step.
        sigma: Its noise level.
        peaks: Highest scores, for each picture those of all concepts.
        masks: Of what fired, (rows, columns) each.
        scores: Maps of what fired or came near, (rows, columns) each.
        features: Of the strongest patch of what fired.
        nothing: The mask of what did not fire.
    """

    step: int
    sigma: float
    peaks: list[list[float]]
    masks: dict[Pair, NDArray[np.bool_]]
    scores: dict[Pair, NDArray[np.float32]]
    features: dict[Pair, NDArray[np.float16]]
    nothing: NDArray[np.bool_]

    def finding(self, pair: Pair, member: Member, mode: str) -> ConceptFinding:
        """Put together what is known of one concept in one picture."""
        picture, concept = pair
        mask = self.masks.get(pair)
        return ConceptFinding(
            slug=member.slug,
            name=member.name,
            version=member.version,
            mode=mode,
            fired=mask is not None,
            step=self.step,
            sigma=self.sigma,
            score=self.peaks[picture][concept],
            threshold=float(member.seed_threshold),
            area=0.0 if mask is None else float(mask.mean()),
            mask=self.nothing if mask is None else mask,
            scores=self.scores.get(pair),
            feature=self.features.get(pair),
        )


def look_at(
    features: Features,
    members: Sequence[Member],
    scorers: LookScorers,
    *,
    layout: TokenLayout,
    profile: ModelProfile,
    step: int,
    sigma: float,
    mode_of: Callable[[Member], str],
) -> Look:
    """Localise every concept in every picture of a batch.

    Args:
        features: Features of an unregulated pass, with a row for each picture.
        members: Concepts of the bundle.
        scorers: Their scorers, in the same order.
        layout: Where the tokens of the pass lay.
        profile: Says how masks are cleaned up.
        step: Number of the step, for the findings.
        sigma: Its noise level, for the findings.
        mode_of: What to do with a concept: "enforce", "log" or "shadow".

    Raises:
        UVRError: A score is not finite.
    """
    output, given = scorers.scores(features)
    maps = [ScoreMap(output, layout.grid), *map(ScoreMap, given, layout.reference_grids)]
    peaks = _peaks(maps, members, step)
    # In float32, as patches are compared: a concept has a mask just when its peak is a seed.
    seeds = torch.tensor([member.seed_threshold for member in members], dtype=torch.float32)
    fired = [(picture, concept) for picture, concept in (peaks >= seeds).nonzero().tolist()]
    found = [masks_of(each, fired, members, profile) for each in maps] if fired else []
    found = where_it_comes_back(found, maps, fired, members)
    masks = in_output(found, maps, fired)
    features_of = _strongest(features, maps, layout, members[0].scorer.dim, fired) if fired else {}
    modes = [mode_of(member) for member in members]
    score_maps = _score_maps(maps, sorted({*fired, *_nearest(peaks, members, modes)}))
    seen = _Seen(step, sigma, peaks.tolist(), masks, score_maps, features_of, _nothing(layout.grid))
    images: list[list[ConceptFinding]] = [[] for _ in range(len(output))]
    shadow: list[list[ConceptFinding]] = [[] for _ in range(len(output))]
    for picture in range(len(output)):
        for concept, (member, mode) in enumerate(zip(members, modes, strict=True)):
            finding = seen.finding((picture, concept), member, mode)
            (shadow if mode == "shadow" else images)[picture].append(finding)
    enforced = [modes[concept] == "enforce" for _, concept in fired]
    unions = [
        union_of(each, found[place] if found else None, fired, enforced)
        for place, each in enumerate(maps)
    ]
    return Look(images, shadow, unions[0], tuple(unions[1:]))


def _nothing(grid: Grid) -> NDArray[np.bool_]:
    """An empty mask, which all findings without one share."""
    mask = np.zeros(grid, dtype=bool)
    mask.flags.writeable = False
    return mask


def _peaks(maps: Sequence[ScoreMap], members: Sequence[Member], step: int) -> Tensor:
    """Highest score of each concept in each picture, on the host, (batch, concepts)."""
    # NaN is in both extremes; an infinity is one of them.
    highest = torch.stack([each.scores.amax(dim=-1) for each in maps])
    lowest = torch.stack([each.scores.amin(dim=-1) for each in maps])
    extremes = torch.stack([highest.amax(dim=0), lowest.amin(dim=0)]).cpu()
    finite = extremes.isfinite().all(dim=0).all(dim=0)
    if not bool(finite.all()):
        slug = members[finite.tolist().index(False)].slug
        raise UVRError(
            f"Scores of {slug!r} are not finite at step {step}; the picture is not safe "
            "to return. Check the model's precision."
        )
    return extremes[0]


def _strongest(
    features: Features,
    maps: Sequence[ScoreMap],
    layout: TokenLayout,
    dim: int,
    fired: Sequence[Pair],
) -> dict[Pair, NDArray[np.float16]]:
    """Features of the patches with the highest scores of what fired, (dim,) each, float16."""
    joined = torch.stack(features.joined(layout.grid, layout.reference_grids, dim))
    scores = torch.stack(_of_pairs(maps, fired))  # (output and given pictures, fired, patches)
    place = scores.amax(dim=0).argmax(dim=-1)
    given = scores[1:, torch.arange(len(fired)), place].argmax(dim=0) if len(maps) > 1 else 0
    pictures = torch.tensor([picture for picture, _ in fired], device=place.device)
    strongest = joined[given, pictures, place]
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


def _score_maps(maps: Sequence[ScoreMap], pairs: Sequence[Pair]) -> dict[Pair, NDArray[np.float32]]:
    """Score maps, (rows, columns) each: the highest of the output and all given pictures."""
    highest = torch.stack(_of_pairs(maps, pairs)).amax(dim=0)
    return dict(zip(pairs, highest.reshape(-1, *maps[0].grid).cpu().numpy(), strict=True))


def _of_pairs(maps: Sequence[ScoreMap], pairs: Sequence[Pair]) -> list[Tensor]:
    """Scores of some pictures and concepts on each grid, in the output's, (pairs, patches) each."""
    grid = maps[0].grid
    return [resized(rows_of(each.scores, pairs), each.grid, grid) for each in maps]
