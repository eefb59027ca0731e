"""Checks of plain values, as JSON gives them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def require_keys(data: object, keys: tuple[str, ...]) -> None:
    """Check that a mapping has these keys and no other; ValueError if not."""
    if not isinstance(data, Mapping):
        raise ValueError(f"a mapping with {', '.join(keys)} is expected")
    if set(data) != set(keys):
        raise ValueError(
            f"found the keys {sorted(map(str, data))}, expected exactly {sorted(keys)}"
        )


def finite_number(name: str, value: object) -> float:
    """Return a finite number as a float; ValueError for anything else."""
    if not isinstance(value, int | float | np.number) or isinstance(value, bool):
        raise ValueError(f"{name} must be a number, not {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if not np.isfinite(number):
        raise ValueError(f"{name} must be finite, not {value!r}")
    return number
