"""Features of pictures that a pipeline draws for a concept's prompts, and for harmless ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from concepts.definition import ConceptDefinition
from concepts.errors import UVRError
from uvr.anchors.capture import FeatureArray
from uvr.anchors.capturing import capture_from_prompts
from uvr.evaluation.setting import Setting
from uvr.method.taps import output_taps


@dataclass(frozen=True)
class DrawnFeatures:
    """Features at the profile's taps at the output, (pictures, patches, dim) each.

    Attributes:
        look: At the look step, of pictures of the concept.
        late: The same at the last step.
        other_look: At the look step, of near-misses and benign pictures.
        other_late: The same at the last step.
    """

    look: FeatureArray
    late: FeatureArray
    other_look: FeatureArray
    other_late: FeatureArray


def draw_features(
    pipe: Any, setting: Setting, definition: ConceptDefinition, count: int
) -> DrawnFeatures:
    """Draw ``count`` pictures of a concept and as many without it, half of them near-misses.

    An editing pipeline draws them from the text alone.

    Raises:
        UVRError: The definition has neither near-misses nor benign prompts.
    """
    harmless = _taken_in_turn(definition.near_misses, definition.benign)
    if not harmless:
        raise UVRError(f"Concept {definition.slug!r} needs near-misses or benign prompts.")
    prompts = [texts[n % len(texts)] for texts in (definition.prompts, harmless)
               for n in range(count)]  # fmt: skip
    profile = replace(setting.profile, taps=tuple(output_taps(setting.profile.taps)))
    look, late = capture_from_prompts(pipe, profile, prompts, seed=setting.seed)
    return DrawnFeatures(look[:count], late[:count], look[count:], late[count:])


def _taken_in_turn(near: tuple[str, ...], benign: tuple[str, ...]) -> list[str]:
    """The first of each, the second of each and so on; then the rest of the longer one."""
    pairs = [text for pair in zip(near, benign, strict=False) for text in pair]
    both = min(len(near), len(benign))
    return [*pairs, *near[both:], *benign[both:]]
