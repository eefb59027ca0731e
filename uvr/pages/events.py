"""What an event of the audit trail changed, in words, as far as its details tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uvr.pages.words import place_words


def changed_words(action: str, details: Mapping[str, Any]) -> str:
    """Say it, such as "from policy@1 to policy@2"; "" where the details do not tell."""
    if action == "channel.move":
        return _move(details)
    told = []
    if (copied := details.get("copied")) is not None:
        told.append(f"a copy of version {copied}")
    told += [_line(place, move) for place, move in details.get("thresholds", {}).items()]
    numbers = details.get("ids") if action.startswith("exemplar.") else None
    if numbers:
        told.append(
            f"{'picture' if len(numbers) == 1 else 'pictures'} {', '.join(map(str, numbers))}"
        )
    return "; ".join(told)


def _move(details: Mapping[str, Any]) -> str:
    bundle, before = details["bundle"], details.get("before")
    to = f"to {bundle}@{details['sequence']}"
    return to if before is None else f"from {bundle}@{before} {to}"


def _line(place: str, move: Mapping[str, Any]) -> str:
    (line, grow), (new_line, new_grow) = move["before"], move["after"]
    parts = (
        [] if line == new_line else [f"line of {place_words(place)}: {line:.5g} to {new_line:.5g}"]
    )
    if grow != new_grow:
        of = "" if parts else f" of {place_words(place)}"
        parts.append(f"growing{of}: {grow:.5g} to {new_grow:.5g}")
    return ", ".join(parts)
