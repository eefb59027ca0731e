"""How strongly to regulate: the numbers of the paper's two regulations, and presets by name.

UVR (arXiv 2606.06875) restricts information flow for text-to-image and modulates attention for
editing. No torch here, so that profiles load fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from concepts.errors import InputError, did_you_mean

Fill = Literal["surroundings", "noise"]


@dataclass(frozen=True)
class RestrictPreset:
    """Restrict information flow: masked outputs become ``(1 - strength) out + strength fill``.

    Attributes:
        strength: In [0, 1].
        fill: "surroundings", the mean output of the picture's other patches, or "noise", as the
            reference release does it.
        keep_ring: While the steps before the look run again, patches more than this many rings away
            from the mask go where they went before. None lets all patches change, as the reference
            release does.
    """

    strength: float = 0.999
    fill: Fill = "surroundings"
    keep_ring: int | None = None


@dataclass(frozen=True)
class ModulatePreset:
    """Modulate attention to reference pictures: factors on value rows of keys.

    Attributes:
        core: For reference patches under the mask.
        ring: For the ring around it.
        boost: For text and output keys, seen by output queries.
        ring_width: Width of the ring in patches.
    """

    core: float = 0.2
    ring: float = 0.4
    boost: float = 1.05
    ring_width: int = 1


@dataclass(frozen=True)
class Regulation:
    """What is done to masked patches: either preset, both, or none."""

    restrict: RestrictPreset | None = None
    modulate: ModulatePreset | None = None

    def scaled(self, strength: float) -> Regulation:
        """Regulate less: the share of the fill times ``strength``, factors so far from 1.

        Args:
            strength: From 0, which changes nothing, to 1, the presets as they are.

        Raises:
            InputError: It is outside of 0 to 1.
        """
        if not 0 <= strength <= 1:
            raise InputError(f"The strength is {strength}, a number from 0 to 1 is expected.")
        restrict, modulate = self.restrict, self.modulate
        if restrict is not None:
            restrict = replace(restrict, strength=strength * restrict.strength)
        if modulate is not None:
            factors = {name: getattr(modulate, name) for name in ("core", "ring", "boost")}
            moved = {name: 1 - strength + strength * factor for name, factor in factors.items()}
            modulate = replace(modulate, **moved)
        return Regulation(restrict, modulate)


OWN = "default"
"""The preset that a model's profile has of its own."""

PRESETS: Mapping[str, Mapping[str, Regulation]] = {
    "paper": {
        "t2i": Regulation(restrict=RestrictPreset(fill="noise")),
        "edit": Regulation(modulate=ModulatePreset()),
    },
}
"""Presets that every model can take, by name and task; "paper" is the reference release's."""


def find_preset(name: str, task: str, own: Regulation) -> Regulation:
    """Find a preset by name.

    Args:
        name: A key of ``PRESETS``, or ``OWN``.
        task: "t2i" or "edit".
        own: What ``OWN`` stands for.

    Raises:
        InputError: There is none of that name.
    """
    if name == OWN:
        return own
    if name not in PRESETS:
        known = (OWN, *PRESETS)
        hint = did_you_mean(name, known)
        raise InputError(f"No preset '{name}'. There are: {', '.join(known)}.{hint}")
    return PRESETS[name][task]
