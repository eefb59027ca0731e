"""Calibration: from anchors to a scorer with thresholds, and what is known of both.

1. ``held_out`` scores each picture by directions that were fitted on others.
2. ``thresholds`` sets thresholds by these scores, and counts what they let match.
3. ``directions`` are fitted once more, on all pictures; they and the thresholds are the scorer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from concepts.anchors import AnchorSet
from concepts.calibration import KEY
from concepts.errors import UVRError
from concepts.prototypes import WITHIN_SHARE, balanced_weights
from concepts.scorer import Scorer
from uvr.anchors.coverage import LEAST_WITHOUT
from uvr.anchors.directions import fit_directions
from uvr.anchors.held_out import HeldOut, held_out_scores
from uvr.anchors.kinds import pictures_by_kind, variants_by_kind
from uvr.anchors.parts import common_scale, parts_of, together
from uvr.anchors.thresholds import (
    USUAL_RATE,
    Targets,
    Thresholds,
    find_thresholds,
    least_rate,
    measure,
    require_promise,
)
from uvr.conditions import conditions_of

RATE = "image_false_positive_rate"
OPTIONS = (
    "rule", "shrinkage", RATE, "patch_false_positive_rate", "within_share", "margin", "prototypes",
)  # fmt: skip
"""Arguments of ``fit_scorer`` that a definition's parameters may give."""


def fit_scorer(
    anchor_set: AnchorSet,
    *,
    rule: str = "whitened",
    shrinkage: float = 0.1,
    image_false_positive_rate: float | None = None,
    patch_false_positive_rate: float = 0.02,
    within_share: float = WITHIN_SHARE,
    margin: float = 0.0,
    prototypes: int = 1,
) -> Scorer:
    """Fit a concept's scorer and set its thresholds at target false-positive rates.

    Args:
        anchor_set: Anchors and counter-anchors of one space.
        rule: See ``fit_direction``.
        shrinkage: See ``fit_direction``.
        image_false_positive_rate: Pictures without the concept that may reach the seed threshold,
            at least 1 / (their number + 1); by default 0.01, or the smallest that they promise.
        patch_false_positive_rate: Their patches that may reach the grow threshold.
        within_share: See ``balanced_weights``.
        margin: See ``Targets``. Where a concept is found with room to spare, this costs little
            recall and keeps its neighbours from matching.
        prototypes: Fit up to so many vectors, each for anchors that are alike; a patch scores as
            the best of them says.

    Raises:
        InputError: There are too few pictures without the concept for the rate.
        UVRError: No anchors, or fewer than two pictures without the concept.
    """
    pictures = benign_pictures(anchor_set)
    if len(anchor_set.anchors) == 0 or pictures < LEAST_WITHOUT:
        raise UVRError(
            f"Cannot calibrate from {len(anchor_set.anchors)} anchors and {pictures} benign "
            "pictures; at least one anchor and two pictures without the concept are needed."
        )
    if image_false_positive_rate is None:
        image_false_positive_rate = max(USUAL_RATE, least_rate(pictures))
    require_promise(image_false_positive_rate, pictures)
    fit: dict[str, Any] = {"rule": rule, "shrinkage": shrinkage, "prototypes": prototypes}
    targets = Targets(image_false_positive_rate, patch_false_positive_rate, margin)
    parts = parts_of(anchor_set)
    by_part = held_out_scores(anchor_set, parts, within_share=within_share, **fit)
    scales = common_scale(by_part, targets)
    held_out = together(by_part, scales)
    thresholds = find_thresholds(held_out, targets)
    weights = balanced_weights(~held_out.benign, within_share)
    fitted = fit_directions(
        anchor_set.anchors, anchor_set.counter_anchors, parts=parts, weights=weights, **fit
    )
    directions = [scales[direction.part].of(direction) for direction in fitted]
    asked = {
        "shrinkage": shrinkage,
        "within_share": within_share,
        RATE: image_false_positive_rate,
        "patch_false_positive_rate": patch_false_positive_rate,
        "margin": margin,
    }
    more = {"prototypes": len(directions)} if len(directions) > 1 else {}
    known = _known(anchor_set.provenance, held_out, thresholds, targets)
    return Scorer(
        rule=rule,
        weights=np.stack([direction.weight for direction in directions]).astype(np.float32),
        offset=np.array([direction.offset for direction in directions], dtype=np.float32),
        seed_threshold=thresholds.seed,
        grow_threshold=thresholds.grow,
        metadata={**asked, **known, **more},
    )


def _known(
    provenance: Mapping[str, Any], held_out: HeldOut, thresholds: Thresholds, targets: Targets
) -> dict[str, Any]:
    """What is known of thresholds: what they let match, and the conditions of the pictures."""
    variants = {
        kind: [number for number, _ in pairs]
        for kind, pairs in variants_by_kind(provenance).items()
    }
    found = measure(held_out, thresholds, targets, pictures_by_kind(provenance), variants)
    conditions = conditions_of(provenance)
    return {KEY: found.to_dict(), **({"conditions": conditions} if conditions else {})}


def fit_options(
    anchor_set: AnchorSet, usual: Mapping[str, Any], asked: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments of ``fit_scorer``: what was asked for, and else what is usual.

    A usual rate was set by someone who did not know how many pictures there would be. Where they
    cannot promise it, the smallest rate that they can takes its place. What was asked for stands.

    Args:
        anchor_set: The anchors.
        usual: Such as a profile's ``calibration``.
        asked: Such as a definition's ``parameters``; those that are no argument are left out.
    """
    options = {name: usual[name] for name in OPTIONS if name in usual}
    if RATE in options:
        options[RATE] = max(options[RATE], least_rate(benign_pictures(anchor_set)))
    return options | {name: asked[name] for name in OPTIONS if name in asked}


def benign_pictures(anchor_set: AnchorSet) -> int:
    """Number of pictures without the concept."""
    return len(np.setdiff1d(anchor_set.counter_images, anchor_set.anchor_images))
