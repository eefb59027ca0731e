"""The testbed: a miniature FLUX that really draws, in a small world of icons."""

from typing import Any

MAX_SEQUENCE_LENGTH = 32
STEPS = 16
SIDE_STEP = 8
"""Pixels; height and width of a picture are multiples of it."""


def load_testbed(task: str) -> Any:
    """The trained testbed as a stock FLUX pipeline; see `uvr.testbed.model.load_testbed`."""
    from uvr.testbed.model import load_testbed as load  # noqa: PLC0415 (torch is slow to import)

    return load(task)
