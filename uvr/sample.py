"""A picture to collect anchors from, with its mask and its prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True)
class Sample:
    """A picture for collection.

    Attributes:
        image: The picture; resized to the model's usual size.
        mask: Pixels that show the concept (non-zero), at any size; None when there are none.
        prompt: Its caption or, for editing, an instruction for which it is the source.
        name: What to call it to whoever gave it, such as its path; "" when it was made here.
        kind: What sets it apart, such as "small" or "near-miss"; "" for an ordinary one.
    """

    image: Image.Image
    mask: Image.Image | NDArray[Any] | None = None
    prompt: str = ""
    name: str = ""
    kind: str = ""
