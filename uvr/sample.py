"""A picture to collect anchors from, with its mask and its prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from PIL import Image

KEPT, NAMED, BROUGHT = "kept", "named", "brought"
"""Kinds of an edit: its instruction does not say the concept, says to leave it, or asks for it."""
DRAWN = "without-picture"
"""Kind of what an editing model draws from a text alone, without a picture to edit."""


@dataclass(frozen=True)
class Sample:
    """A picture for collection.

    Attributes:
        image: The picture; resized to the model's usual size.
        mask: Pixels that show the concept (non-zero), at any size; None when there are none.
        prompt: Its caption or, for editing, the instruction.
        name: What to call it to whoever gave it, such as its path; "" when it was made here.
        kind: What sets it apart, such as "small", "near-miss" or ``BROUGHT``; "" for an ordinary
            one.
        source: For editing, the picture that the instruction edits into ``image``; by default
            ``image`` itself, which the instruction then leaves as it is where the concept shows.
            None of ``DRAWN``.
    """

    image: Image.Image
    mask: Image.Image | NDArray[Any] | None = None
    prompt: str = ""
    name: str = ""
    kind: str = ""
    source: Image.Image | None = None

    @property
    def given(self) -> Image.Image | None:
        """The picture that an editing model is given; None of ``DRAWN``."""
        return None if self.kind == DRAWN else self.source or self.image
