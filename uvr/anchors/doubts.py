"""Doubts about exemplars: pictures that do not show what their folder or their prompt says.

They are told and not refused: a mask may be meant to be small, a near-miss may look like the
concept. Of given pictures, only those that someone gave by name are told of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from concepts.anchors import AnchorSet
from concepts.definition import ConceptDefinition
from uvr.anchors.exemplars import Exemplars
from uvr.anchors.extract import MIN_COVERAGE, prompts_of
from uvr.anchors.held_out import held_out_scores
from uvr.pipelines import TESTBED
from uvr.sample import Sample
from uvr.testbed.drawable import undrawn_words

_FITTED_BY = ("rule", "shrinkage", "within_share", "prototypes")


def foreseen(
    definition: ConceptDefinition, exemplars: Exemplars, model: str, tasks: Sequence[str]
) -> list[str]:
    """Return sentences about prompts that will not be drawn, before anything is.

    Args:
        definition: The concept.
        exemplars: What is collected from; only what is drawn from prompts is doubted.
        model: As ``load_pipeline`` takes it; only the testbed's things are known.
        tasks: Those asked for; none are all of the testbed's.
    """
    given = exemplars.images is not None or exemplars.kept is not None
    if given or model != TESTBED or (tasks and "t2i" not in tasks):
        return []
    said = undrawn_words((*definition.prompts, *definition.near_misses))
    return [said] if said else []


def left_out(
    anchor_set: AnchorSet, definition: ConceptDefinition, *, first: int = 0
) -> Iterator[str]:
    """Yield a sentence where pictures drawn of the concept show nothing that stands out.

    Args:
        anchor_set: What was collected from the definition's prompts, perhaps beside others.
        definition: The concept.
        first: Number of the first drawn picture in the anchor set.
    """
    prompts, count = prompts_of(definition)
    with_anchors = set(anchor_set.anchor_images.tolist())
    without = [place for place in range(count) if first + place not in with_anchors]
    if without:
        asked = ", ".join(f"'{prompt}'" for prompt in dict.fromkeys(prompts[p] for p in without))
        yield (
            f"{len(without)} of {count} pictures that were drawn of it for "
            f"{anchor_set.space.task} show nothing that stands out from the others, so they give "
            f"no anchors and are not counted in what is found. Asked for: {asked}. See whether "
            "the model draws it."
        )


def doubts(
    anchor_set: AnchorSet,
    positives: Sequence[Sample],
    benign: Sequence[Sample],
    options: Mapping[str, Any],
    *,
    first: int = 0,
) -> Iterator[str]:
    """Yield a sentence about each picture that is not what its folder says.

    Args:
        anchor_set: What was collected from the pictures, perhaps beside others.
        positives: Pictures with masks.
        benign: Pictures without the concept.
        options: Arguments of ``fit_scorer``.
        first: Number of the first positive in the anchor set; the rest follow in order.
    """
    yield from _masks_without_anchors(anchor_set, positives, first)
    benign_from = first + len(positives)
    for number in _like_the_concept(anchor_set, options):
        place = number - benign_from
        if 0 <= place < len(benign) and benign[place].name:
            yield (
                f"'{benign[place].name}' is among the benign pictures and matches the concept as "
                f"{anchor_set.space.task} pictures of it do. If it shows the concept, take it out: "
                "it raises the threshold."
            )


def _masks_without_anchors(
    anchor_set: AnchorSet, positives: Sequence[Sample], first: int
) -> Iterator[str]:
    with_anchors = set(anchor_set.anchor_images.tolist())
    for place, sample in enumerate(positives):
        if first + place in with_anchors or not sample.name:
            continue
        if not np.asarray(sample.mask).any():
            yield (
                f"The mask of '{sample.name}' covers nothing, so the picture gives no anchors. A "
                "mask is white where the picture shows the concept."
            )
        else:
            yield (
                f"The mask of '{sample.name}' covers less than {MIN_COVERAGE:.0%} of every patch, "
                "so the picture gives no anchors. Crop it closer to the concept."
            )


def _like_the_concept(anchor_set: AnchorSet, options: Mapping[str, Any]) -> list[int]:
    """Numbers of benign pictures that outdo the lowest quarter of the concept's pictures.

    Directions that were fitted on other pictures say so: the scorer's own take a benign picture
    that shows the concept for an example of what must not match.
    """
    fit = {name: options[name] for name in _FITTED_BY if name in options}
    (scores,) = held_out_scores(anchor_set, **fit)
    numbers, peaks = scores.benign_peaks()
    line = np.quantile(scores.shown_peaks()[1], 0.25)
    return [int(number) for number in numbers[peaks >= line]]
