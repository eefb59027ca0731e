"""Words for what a version's thresholds promise and reach, as several commands tell it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOT_MEASURED = "what these thresholds promise and reach was not measured"


def measured_words(stored: Mapping[str, Any] | None) -> str:
    """Say it as a part of a sentence; older versions, and thresholds set by hand, do not have it.

    Args:
        stored: ``VersionSpace.calibration``.
    """
    if stored is None:
        return NOT_MEASURED
    from concepts.calibration import Calibration

    return Calibration.from_dict(stored).summary()


def advice_lines(stored: Mapping[str, Any] | None) -> list[str]:
    """Say in a line what would help, where too little is found."""
    if stored is None:
        return []
    from concepts.calibration import Calibration

    advice = Calibration.from_dict(stored).advice()
    return [f"what would help: {', '.join(advice)}"] if advice else []
