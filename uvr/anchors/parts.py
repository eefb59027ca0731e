"""Parts of a concept's anchors, and one scale for the scores of all.

Features of an edit tell what the instruction does with the concept as much as what the picture
shows: left unsaid, named, or brought. A single direction for all of them finds none well, so each
part has directions of its own. Where there are taps at given pictures, what an edit leaves unsaid
is looked for there, and what its instruction says at the output. Scores of all parts come to one
scale, on which their thresholds are the same, and a single pair of thresholds then serves them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from concepts.anchors import AnchorSet
from uvr.anchors.directions import Direction, Part
from uvr.anchors.held_out import HeldOut
from uvr.anchors.kinds import pictures_by_kind
from uvr.anchors.thresholds import Targets, find_thresholds
from uvr.method.taps import output_dim
from uvr.sample import BROUGHT, DRAWN, NAMED

FIRST_SHARE = 1 / 2
"""The first part's share of the false alarms, where there are others."""


@dataclass(frozen=True)
class Scale:
    """Brings scores of one part to the common scale: ``slope * score + shift``."""

    slope: float = 1.0
    shift: float = 0.0

    def of(self, direction: Direction) -> Direction:
        """The same direction with its scores on the common scale."""
        return replace(
            direction,
            weight=self.slope * direction.weight,
            offset=self.slope * direction.offset + self.shift,
        )


def parts_of(anchor_set: AnchorSet) -> list[Part]:
    """Return the parts of a set's anchors, none of them empty.

    What is in the given picture, whether an instruction names it or not, is one part where there
    are taps at given pictures, and reads their features. What an instruction names, and what a text
    brings, with a given picture or without one, are parts that read the output's.
    """
    kinds = pictures_by_kind(anchor_set.provenance)
    named, *asked = (
        np.isin(anchor_set.anchor_images, kinds.get(kind, [])) for kind in (NAMED, BROUGHT, DRAWN)
    )
    brought = np.logical_or(*asked)
    space = anchor_set.space
    split = output_dim(space.taps, space.dim)
    output, given = slice(0, split), slice(split, space.dim)
    first = Part(~(named | brought), output)
    if split < space.dim:
        first = Part(~brought, given)
    parts = [first, Part(named, output), Part(brought, output)]
    return [part for part in parts if part.anchors.any()]


def common_scale(by_part: Sequence[HeldOut], targets: Targets) -> list[Scale]:
    """Bring both thresholds of every part, at its share of the rates, to those of the first."""
    first, *others = [
        find_thresholds(
            held_out,
            replace(
                targets,
                image_rate=share * targets.image_rate,
                patch_rate=share * targets.patch_rate,
                margin=0.0,
            ),
        )
        for held_out, share in zip(by_part, _shares(len(by_part)), strict=True)
    ]
    scales = [Scale()]
    for line in others:
        apart = line.seed > line.grow and first.seed > first.grow
        slope = (first.seed - first.grow) / (line.seed - line.grow) if apart else 1.0
        scales.append(Scale(slope, first.seed - slope * line.seed))
    return scales


def _shares(parts: int) -> list[float]:
    """Shares of the false alarms that parts may raise; what is not said is hardest to find."""
    if parts == 1:
        return [1.0]
    return [FIRST_SHARE] + [(1 - FIRST_SHARE) / (parts - 1)] * (parts - 1)


def together(by_part: Sequence[HeldOut], scales: Sequence[Scale]) -> HeldOut:
    """Held-out scores by the best part, on the common scale."""
    parts = list(zip(by_part, scales, strict=True))
    return replace(
        by_part[0],
        anchors=np.max([part.anchors * s.slope + s.shift for part, s in parts], axis=0),
        counters=np.max([part.counters * s.slope + s.shift for part, s in parts], axis=0),
    )
