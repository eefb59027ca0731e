"""How strongly to regulate: the numbers of the paper's two regulations.

UVR (arXiv 2606.06875) restricts information flow for text-to-image and modulates attention for
editing. The defaults are those of its reference release. No torch here, so that profiles load fast.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RestrictPreset:
    """Restrict information flow: masked outputs become ``(1 - strength) out + strength noise``."""

    strength: float = 0.999


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
