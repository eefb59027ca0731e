"""Words: how commands write values, counts and names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from concepts.words import MODE_WORDS


def cell(value: Any) -> str:
    """Write one value as a table shows it."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, str) and re.fullmatch(r"[0-9-]{10}T[0-9:]{8}\.[0-9]{6}Z", value):
        return f"{value[:19]}Z"
    return f"{value:.4f}" if isinstance(value, float) and value % 1 else str(value)


def plural(number: int, noun: str) -> str:
    """Write a number with its noun."""
    many = f"{noun[:-1]}ies" if noun.endswith("y") and noun != "key" else f"{noun}s"
    return f"{number:,} {noun if number == 1 else many}"


def mode_name(mode: str) -> str:
    """Write a mode as options name it, and what that is."""
    return f"{mode} ({MODE_WORDS[mode]})"


def modes_named(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a table with their modes as ``mode_name`` has them."""
    return [{**row, "mode": mode_name(row["mode"])} for row in rows]


def releases_named(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a table with their releases as commands take them, BUNDLE@SEQUENCE."""
    return [{**row, "release": f"{row['bundle']}@{row['sequence']}"} for row in rows]


def mode_words(mode: str, disabled_until: str | None, at: str) -> str:
    """Write a mode, or until when it is switched off."""
    paused = mode == "enforce" and disabled_until is not None and disabled_until > at
    return f"{mode} (switched off until {cell(disabled_until)})" if paused else mode_name(mode)


def threshold_words(thresholds: Mapping[str, float]) -> str:
    """Write seed thresholds, which are by "MODEL/TASK"; one model goes without saying."""
    models = {name.rpartition("/")[0] for name in thresholds}
    return ", ".join(
        f"{name if len(models) > 1 else name.rpartition('/')[2]} {value:.3g}"
        for name, value in thresholds.items()
    )


def version_name(slug: str, number: int | None) -> str:
    """Write a version as commands take it: SLUG or SLUG@NUMBER."""
    return slug if number is None else f"{slug}@{number}"
