"""Parts of a concept's anchors, and one scale for the scores of all.

Features of an edit tell what the instruction does with the concept as much as what the picture
shows: left unsaid, named, or brought. A single direction for all of them finds none well, so each
part has directions of its own. Their scores come to one scale, on which the parts' thresholds are
the same, and a single pair of thresholds then serves them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from concepts.anchors import AnchorSet, Ints
from uvr.anchors.directions import Direction
from uvr.anchors.held_out import HeldOut
from uvr.anchors.kinds import pictures_by_kind
from uvr.anchors.thresholds import Targets, find_thresholds
from uvr.sample import BROUGHT, NAMED


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


def parts_of(anchor_set: AnchorSet) -> Ints:
    """Return the part of each anchor, (n,), numbered from 0 without gaps."""
    kinds = pictures_by_kind(anchor_set.provenance)
    parts = np.zeros(len(anchor_set.anchors), dtype=np.int32)
    for number, kind in enumerate((NAMED, BROUGHT), start=1):
        parts[np.isin(anchor_set.anchor_images, kinds.get(kind, []))] = number
    return np.unique(parts, return_inverse=True)[1].astype(np.int32)


def common_scale(by_part: Sequence[HeldOut], targets: Targets) -> list[Scale]:
    """Bring both thresholds of every part, at its share of the rates, to those of the first."""
    share = replace(
        targets,
        image_rate=targets.image_rate / len(by_part),
        patch_rate=targets.patch_rate / len(by_part),
        margin=0.0,
    )
    lines = [find_thresholds(held_out, share) for held_out in by_part]
    first, scales = lines[0], [Scale()]
    for line in lines[1:]:
        apart = line.seed > line.grow and first.seed > first.grow
        slope = (first.seed - first.grow) / (line.seed - line.grow) if apart else 1.0
        scales.append(Scale(slope, first.seed - slope * line.seed))
    return scales


def together(by_part: Sequence[HeldOut], scales: Sequence[Scale]) -> HeldOut:
    """Held-out scores by the best part, on the common scale."""
    parts = list(zip(by_part, scales, strict=True))
    return replace(
        by_part[0],
        anchors=np.max([part.anchors * s.slope + s.shift for part, s in parts], axis=0),
        counters=np.max([part.counters * s.slope + s.shift for part, s in parts], axis=0),
    )
