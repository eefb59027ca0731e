"""Decisions to log and to count."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from uvr.decisions.decision import Decision, pixels_digest
from uvr.verdict import Evidence, Verdict

Decide = Callable[..., Decision]


@pytest.fixture
def decide() -> Decide:
    """Make a decision on a picture in which concepts were found, each in a mode."""

    def make(*found: tuple[str, str], day: str = "2026-11-24", **changes: object) -> Decision:
        evidence = tuple(
            Evidence("look", slug, slug.title(), 3, mode, 4.0, 2.0, 0.25) for slug, mode in found
        )
        outcome = "regulated" if any(mode == "enforce" for _, mode in found) else "untouched"
        picture = Image.new("RGB", (8, 4), (200, 10, 10))
        parts = {
            "time": f"{day}T10:00:00.000000Z", "request": "r-17", "model": "testbed", "task": "t2i",
            "bundle": "policy", "sequence": 5, "state": "ok", "space": "e" * 64,
            "verdict": Verdict(0, outcome, "f" * 64, evidence, "Why."),
            "seconds": {"call": 2.5, "look": 0.25}, "pixels": pixels_digest(picture),
            "prompt": "a red ball", "picture": picture,
            "features": {slug: np.arange(4, dtype=np.float16) for slug, _ in found},
        }  # fmt: skip
        return Decision(**{**parts, **changes})  # type: ignore[arg-type]

    return make
