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
from uvr.method.features import Features, resized
from uvr.method.masks import resize_mask, seeds_and_growth
from uvr.method.scores import LookScorers
from uvr.method.tokens import Grid, TokenLayout
from uvr.profiles import ModelProfile
from uvr.report import ConceptFinding

LARGEST_HALF = 65504.0
NEAREST_MAPS = 16
"""Score maps kept of concepts that did not fire: those that came closest to their threshold."""

LOWERED = 0.5
"""How far below the grow threshold what an instruction says and a given picture shows still joins
the mask, as a share of the way from the seed threshold to it."""

Pair = tuple[int, int]
"""A picture and a concept, by their places in the batch and among the members."""


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
class _Map:
    """Scores of the patches of one picture grid, (batch, concepts, patches)."""

    scores: Tensor
    grid: Grid


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
    maps = [_Map(output, layout.grid), *map(_Map, given, layout.reference_grids)]
    peaks = _peaks(maps, members, step)
    # In float32, as patches are compared: a concept has a mask just when its peak is a seed.
    seeds = torch.tensor([member.seed_threshold for member in members], dtype=torch.float32)
    fired = [(picture, concept) for picture, concept in (peaks >= seeds).nonzero().tolist()]
    found = [_masks(each, fired, members, profile) for each in maps] if fired else []
    found = _where_it_comes_back(found, maps, fired, members)
    masks = _in_output(found, maps, fired)
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
        _union(each, found[place] if found else None, fired, enforced)
        for place, each in enumerate(maps)
    ]
    return Look(images, shadow, unions[0], tuple(unions[1:]))


def _nothing(grid: Grid) -> NDArray[np.bool_]:
    """An empty mask, which all findings without one share."""
    mask = np.zeros(grid, dtype=bool)
    mask.flags.writeable = False
    return mask


def _peaks(maps: Sequence[_Map], members: Sequence[Member], step: int) -> Tensor:
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


def _masks(
    each: _Map, fired: Sequence[Pair], members: Sequence[Member], profile: ModelProfile
) -> Tensor:
    """Masks of what fired, (fired, patches), all grown together; empty where no patch is a seed."""
    seed, grow = _thresholds(fired, members, each.scores.device)
    return seeds_and_growth(
        _rows(each.scores, fired),
        each.grid,
        seed,
        grow,
        close_gaps=profile.close_gaps,
        dilation=profile.dilation,
    )


def _thresholds(
    fired: Sequence[Pair], members: Sequence[Member], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Seed and grow threshold of what fired, (fired, 1) each, float32."""
    pairs = [
        (members[concept].seed_threshold, members[concept].grow_threshold) for _, concept in fired
    ]
    both = torch.tensor(pairs, dtype=torch.float32, device=device)
    return both[:, :1], both[:, 1:]


def _where_it_comes_back(
    found: Sequence[Tensor], maps: Sequence[_Map], fired: Sequence[Pair], members: Sequence[Member]
) -> list[Tensor]:
    """Add to masks of the output the places where a given picture shows the same concept.

    An instruction that says a concept draws it again where the given picture shows it, though that
    is turned down. Where the output's own score, there or anywhere, does not say so, nothing need
    be filled in, and what an edit puts in the place of the concept can be drawn. What an
    instruction says and the picture shows is drawn a second time beside the mask, so that the
    output's mask takes in what scores somewhat less, anywhere in it (``LOWERED``).

    Args:
        found: For each map the masks of what fired, (fired, its patches).
        maps: Of the output, then of each given picture.
        fired: Pictures and concepts that fired.
        members: The concepts.
    """
    if len(found) < 2:
        return list(found)
    output, *given = found
    seed, grow = _thresholds(fired, members, output.device)
    scores = _rows(maps[0].scores, fired)
    places = [
        resize_mask(mask, each.grid, maps[0].grid)
        for mask, each in zip(given, maps[1:], strict=True)
    ]
    place = torch.stack(places).any(dim=0)
    said = (output | ((scores >= grow) & place)).any(dim=1, keepdim=True)
    named = said & place.any(dim=1, keepdim=True)
    less = scores >= grow - LOWERED * (seed - grow)
    return [output | (said & place) | (named & less), *given]


def _in_output(
    found: Sequence[Tensor], maps: Sequence[_Map], fired: Sequence[Pair]
) -> dict[Pair, NDArray[np.bool_]]:
    """Masks of what fired, of the output and all given pictures together, (rows, columns) each."""
    if not fired:
        return {}
    grid = maps[0].grid
    masks = found[0]
    for mask, each in zip(found[1:], maps[1:], strict=True):
        masks = masks | resize_mask(mask, each.grid, grid)
    return dict(zip(fired, masks.reshape(-1, *grid).cpu().numpy(), strict=True))


def _union(
    each: _Map, masks: Tensor | None, fired: Sequence[Pair], enforced: Sequence[bool]
) -> Tensor:
    """Patches of one grid that enforced concepts fired at, (batch, patches), bool."""
    union = torch.zeros_like(each.scores[:, 0], dtype=torch.bool)
    if masks is not None:
        for (picture, _), mask, counts in zip(fired, masks, enforced, strict=True):
            if counts:
                union[picture] |= mask
    return union


def _strongest(
    features: Features,
    maps: Sequence[_Map],
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


def _score_maps(maps: Sequence[_Map], pairs: Sequence[Pair]) -> dict[Pair, NDArray[np.float32]]:
    """Score maps, (rows, columns) each: the highest of the output and all given pictures."""
    highest = torch.stack(_of_pairs(maps, pairs)).amax(dim=0)
    return dict(zip(pairs, highest.reshape(-1, *maps[0].grid).cpu().numpy(), strict=True))


def _of_pairs(maps: Sequence[_Map], pairs: Sequence[Pair]) -> list[Tensor]:
    """Scores of some pictures and concepts on each grid, in the output's, (pairs, patches) each."""
    grid = maps[0].grid
    return [resized(_rows(each.scores, pairs), each.grid, grid) for each in maps]


def _rows(scores: Tensor, pairs: Sequence[Pair]) -> Tensor:
    """Scores of some pictures and concepts, (pairs, patches)."""
    index = torch.tensor(pairs, device=scores.device)
    return scores[index[:, 0], index[:, 1]]
