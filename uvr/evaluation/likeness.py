"""How alike two pictures are outside of a mask: PSNR and SSIM."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WINDOW = 7
"""Pixels on a side over which SSIM compares; uniform weights, as scikit-image's default."""
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def pixels_outside(mask: NDArray[np.bool_] | None, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels (height, width) of a picture of a size (width, height) that no masked patch covers."""
    width, height = size
    if mask is None:
        return np.ones((height, width), dtype=bool)
    rows = np.arange(height) * mask.shape[0] // height
    columns = np.arange(width) * mask.shape[1] // width
    outside: NDArray[np.bool_] = ~mask[np.ix_(rows, columns)]
    return outside


def psnr(one: Image.Image, other: Image.Image, where: NDArray[np.bool_]) -> float | None:
    """Peak signal-to-noise ratio in dB over some pixels; None where they are equal, or none are."""
    a, b = (np.asarray(i.convert("RGB"), dtype=np.float64)[where] for i in (one, other))
    error = float(((a - b) ** 2).mean()) if a.size else 0.0
    return None if error == 0 else float(10 * np.log10(255**2 / error))


def ssim(one: Image.Image, other: Image.Image, where: NDArray[np.bool_]) -> float | None:
    """Structural similarity (Wang et al. 2004), the mean over some pixels; None where none are.

    Of the brightness, over windows of WINDOW pixels; rims of half a window do not count.
    """
    a, b = (np.asarray(i.convert("L"), dtype=np.float64) for i in (one, other))
    rim = WINDOW // 2
    inner = where[rim : where.shape[0] - rim, rim : where.shape[1] - rim]
    if not inner.any():
        return None
    mean_a, mean_b = _means(a), _means(b)
    sample = WINDOW**2 / (WINDOW**2 - 1)
    var_a, var_b = (sample * (_means(x * x) - m * m) for x, m in ((a, mean_a), (b, mean_b)))
    covariance = sample * (_means(a * b) - mean_a * mean_b)
    likeness = (2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)
    likeness /= (mean_a**2 + mean_b**2 + _C1) * (var_a + var_b + _C2)
    return float(likeness[inner].mean())


def _means(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of every whole window."""
    windows = np.lib.stride_tricks.sliding_window_view(plane, (WINDOW, WINDOW))
    means: NDArray[np.float64] = windows.mean(axis=(2, 3))
    return means
