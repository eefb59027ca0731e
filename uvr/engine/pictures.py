"""The pictures that a pipeline returned, in the form that its caller asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from concepts.errors import UVRError

GREY = 0.5
"""Of a picture that takes the place of a blocked one, 0 to 1."""


class Pictures:
    """Pictures of one call: a list of PIL pictures, (n, height, width, 3) or (n, 3, height, width).

    Args:
        result: What the pipeline returned. Pictures that are replaced are replaced in it.

    Raises:
        UVRError: It holds something else.
    """

    def __init__(self, result: Any) -> None:
        self._images: Any = result[0] if isinstance(result, tuple) else result.images
        if not isinstance(self._images, list | np.ndarray | Tensor):
            raise UVRError(
                f"The pipeline returned pictures as {type(self._images).__name__}; a list, an "
                "array or a tensor is expected. They cannot be checked."
            )

    def __len__(self) -> int:
        return len(self._images)

    def to_pil(self, place: int) -> Image.Image:
        """One picture as an RGB PIL picture."""
        image = self._images[place]
        if isinstance(image, Image.Image):
            return image.convert("RGB")
        if isinstance(image, Tensor):
            image = image.detach().permute(1, 2, 0).float().cpu().numpy()
        return Image.fromarray(_bytes(image))

    def replace(self, place: int, other: Pictures) -> None:
        """Put the only picture of another call in one's place."""
        self._images[place] = other._images[0]

    def block(self, place: int) -> None:
        """Put a neutral grey picture in one's place."""
        image = self._images[place]
        if isinstance(image, Image.Image):
            level = round(255 * GREY)
            self._images[place] = Image.new("RGB", image.size, (level, level, level))
        else:
            image[...] = GREY


def _bytes(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Levels 0 to 1 as diffusers makes PIL pictures of them."""
    return (pixels * 255).round().clip(0, 255).astype("uint8")
