"""How strongly to regulate: the numbers of the paper's two regulations.

UVR (arXiv 2606.06875) restricts information flow for text-to-image and modulates attention for
editing. No torch here, so that profiles load fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
    fill: Literal["surroundings", "noise"] = "surroundings"
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
