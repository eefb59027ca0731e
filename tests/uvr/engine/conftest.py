"""Bundles that fire, and pictures to edit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from concepts.bundle import Bundle, lock_digest, locked_members
from tests.uvr.conftest import bundle_of, make_scorer, random_weights
from uvr.profiles import ModelProfile


def firing(profile: ModelProfile, threshold: float = -1e9) -> Bundle:
    return bundle_of(profile, {"ball": make_scorer(random_weights(profile), threshold)})


def picture(seed: int = 0, size: tuple[int, int] = (32, 32)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def locked(bundle: Bundle) -> Bundle:
    return replace(bundle, lock_digest=lock_digest(locked_members(bundle.variants)), digest="")
