"""A model explains itself: where and when its features tell a concept, and a profile from that.

1. Pictures with masks of the concept and pictures without, given or drawn from prompts.
2. At several noise levels of the model's own schedule, one pass each, captured at every layer.
3. For each layer and level: how well held-out patches of the concept are told from others.
4. Taps, look and end of the stage follow from the figures by rules that are written here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from concepts.errors import GateError, UVRError
from uvr.anchors.capture import Progress, picture_grid
from uvr.anchors.separation import RATE, LabelledPatches, Separation, label_noised
from uvr.families.known import family_of
from uvr.method.taps import at_both
from uvr.profiles import ModelProfile
from uvr.sample import Sample

LEAST_RECALL = 0.5
"""Below this recall at every layer and level, nothing separates and no profile is proposed."""
LEAST_PICTURES = 10
"""Pictures of each kind without which no figure is worth telling."""
MOST_TAPS = 4
MOST_DIMENSIONS = 4096
"""Taps are joined up to so many dimensions: fitting grows with their cube."""
RECALL_MARGIN = 0.05
WHERE_MARGIN = 0.02
SETTLED_MARGIN = 0.005


@dataclass(frozen=True)
class Stages:
    """The paper's start-up stage as found: noise levels from which on something holds.

    Attributes:
        known: The recall is within ``RECALL_MARGIN`` of the best: *that* the concept is there.
        placed: ``where`` is within ``WHERE_MARGIN`` of the best: *where* it is.
        settled: ``where`` is within ``SETTLED_MARGIN`` of the best: later levels add nothing.
    """

    known: float
    placed: float
    settled: float


@dataclass(frozen=True)
class Analysis:
    """What was measured for one concept, model and task.

    Attributes:
        concept: The concept's slug.
        model: Name of the model.
        task: "t2i" or "edit".
        pictures: Pictures that show the concept.
        benign: Pictures without it.
        layers: The attention layers, in order.
        sigmas: The noise levels, falling.
        single: Each layer alone, by level and layer.
        joined: At each level the best taps, perhaps several.
    """

    concept: str
    model: str
    task: str
    pictures: int
    benign: int
    layers: tuple[str, ...]
    sigmas: tuple[float, ...]
    single: tuple[tuple[Separation, ...], ...]
    joined: tuple[Separation, ...]

    @property
    def separates(self) -> bool:
        """Whether the concept is found at any level."""
        return max(found.recall for found in self.joined) >= LEAST_RECALL

    @property
    def stages(self) -> Stages:
        """The levels from which on the joined taps hold what they reach at best."""
        recall = [found.recall for found in self.joined]
        where = [found.where for found in self.joined]
        return Stages(
            known=self.sigmas[_holds_from(recall, RECALL_MARGIN)],
            placed=self.sigmas[_holds_from(where, WHERE_MARGIN)],
            settled=self.sigmas[_holds_from(where, SETTLED_MARGIN)],
        )

    @property
    def chosen(self) -> Separation:
        """The taps at the look: the first level at which it is known that and where."""
        stages = self.stages
        look = self.sigmas.index(min(stages.known, stages.placed))
        return self.joined[look]

    def proposal(self, profile: ModelProfile) -> ModelProfile:
        """Propose a profile: taps and look as measured, the rest as in the one that was given.

        The stage ends where localisation has settled, or later where the given one does. Edits are
        looked at in the given picture too, at the same layers.

        Raises:
            GateError: Nothing separates.
        """
        if not self.separates:
            raise GateError(self.verdict())
        chosen = self.chosen
        end = min(profile.stage_end, _rounded(self.stages.settled, math.floor), chosen.sigma)
        return replace(
            profile,
            taps=at_both(chosen.taps) if profile.task == "edit" else chosen.taps,
            sigma=_rounded(chosen.sigma, math.ceil),
            stage_end=end,
        )

    def verdict(self) -> str:
        """Say in one sentence what was found."""
        of = f"of {self.pictures} pictures of '{self.concept}', at {RATE:.0%} of {self.benign} "
        if not self.separates:
            best = max((cell for row in self.single for cell in row), key=_rank)
            return (
                f"Nothing separates: at best {best.recall:.0%} {of}benign ones, are found (layer "
                f"{best.taps[0]}, noise level {best.sigma:.2f}), and {LEAST_RECALL:.0%} are "
                "expected. Does the model know this concept, and do the masks show it?"
            )
        chosen = self.chosen
        return (
            f"{chosen.recall:.0%} {of}benign ones, are found at noise level {chosen.sigma:.2f} by "
            f"{', '.join(chosen.taps)} (AUC {chosen.auc:.3f}, in their own pictures "
            f"{chosen.where:.3f})."
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON form, with what follows from the figures."""
        return {
            **asdict(self),
            "separates": self.separates,
            "stages": asdict(self.stages),
            "chosen": asdict(self.chosen) if self.separates else None,
            "verdict": self.verdict(),
        }


def analyse(
    pipe: Any,
    profile: ModelProfile,
    concept: str,
    positives: Sequence[Sample],
    benign: Sequence[Sample],
    *,
    levels: int = 8,
    seed: int = 0,
    batch_size: int = 8,
    progress: Progress | None = None,
) -> Analysis:
    """Measure every attention layer at several noise levels.

    Args:
        pipe: The pipeline.
        profile: Gives the call and its schedule; its own taps and look count for nothing.
        concept: The concept's slug.
        positives: Pictures with masks of the concept.
        benign: Pictures without it, near-misses among them.
        levels: At most so many noise levels, spread over the steps of the schedule.
        seed: Of the noise.
        batch_size: Pictures in one pass; all layers of one batch are held at once.
        progress: Told how many passes of pictures are done, of all.

    Raises:
        UVRError: There are too few pictures of a kind, or no patch shows the concept.
    """
    for kind, samples in (("of the concept", positives), ("without it", benign)):
        if len(samples) < LEAST_PICTURES:
            raise UVRError(
                f"{len(samples)} pictures {kind}; at least {LEAST_PICTURES} are needed to say how "
                "well they are told apart."
            )
    family = family_of(pipe)
    widths = family.layers(pipe.transformer)
    ends = accumulate(widths.values(), initial=0)
    columns = {layer: slice(*span) for layer, span in zip(widths, pairwise(ends), strict=True)}
    sigmas = _spread(family.sigmas(pipe, profile), levels)
    grid, each = picture_grid(pipe, profile), len(positives) + len(benign)
    single, joined = [], []
    for place, sigma in enumerate(sigmas):

        def passed(done: int, _: int, before: int = place * each) -> None:
            if progress is not None:
                progress(before + done, each * len(sigmas))

        patches = label_noised(
            pipe, profile, columns, positives, benign, sigma,
            grid=grid, seed=seed, batch_size=batch_size, progress=passed,
        )  # fmt: skip
        if not patches.shows.any():
            raise UVRError("No patch shows the concept: the masks are empty, or too small.")
        row = tuple(patches.separation([layer]) for layer in columns)
        single.append(row)
        joined.append(max(_combinations(patches, row), key=_rank))
    return Analysis(
        concept, profile.model, profile.task, len(positives), len(benign), tuple(columns),
        tuple(sigmas), tuple(single), tuple(joined),
    )  # fmt: skip


def _combinations(patches: LabelledPatches, row: Sequence[Separation]) -> Iterator[Separation]:
    """The best layer, then the best two joined, and so on."""
    ranked = sorted(row, key=_rank, reverse=True)
    yield ranked[0]
    for count in range(2, MOST_TAPS + 1):
        best = {cell.taps[0] for cell in ranked[:count]}
        taps = [layer for layer in patches.columns if layer in best]  # in the model's order
        width = sum(span.stop - span.start for span in map(patches.columns.get, taps) if span)
        if len(taps) == count and width <= MOST_DIMENSIONS:
            yield patches.separation(taps)


def _rank(cell: Separation) -> tuple[float, float, int]:
    """By recall, in whole percents so that chance adds no taps, then by AUC; fewer taps first."""
    return round(cell.recall, 2), round(cell.auc, 2), -len(cell.taps)


def _spread(sigmas: Sequence[float], count: int) -> list[float]:
    """Some levels of a schedule, evenly spread over its steps, the first and last among them."""
    places = np.linspace(0, len(sigmas) - 1, min(count, len(sigmas))).round().astype(int)
    return [float(sigmas[place]) for place in dict.fromkeys(places.tolist())]


def _holds_from(figures: Sequence[float], margin: float) -> int:
    """Position of the first figure that is within a margin of the best."""
    best = max(figures)
    return next(place for place, figure in enumerate(figures) if figure >= best - margin)


def _rounded(sigma: float, rounded: Callable[[float], int]) -> float:
    """A level in thousandths: looks and ends compare with it, and must not miss their step."""
    return rounded(sigma * 1000) / 1000
