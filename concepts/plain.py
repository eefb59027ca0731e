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


def require_format(found: object, expected: str) -> None:
    """Check that a document names the format of its reader; ValueError if not."""
    if found != expected:
        raise ValueError(f"format {found!r} found, '{expected}' expected")


def check_count(name: str, value: object, most: int | None = None) -> None:
    """Check that a value is a whole number from 1, perhaps up to a limit; ValueError if not."""
    limit = "" if most is None else f" to {most}"
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= (most or value):
        raise ValueError(f"{name} must be a whole number from 1{limit}, not {value!r}")


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
