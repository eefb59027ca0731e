"""``Offer``: one bundle file that a place offers now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Offer:
    """One bundle file on offer.

    Attributes:
        name: Name within a folder, "" elsewhere.
        validator: Stands for the bytes; "" when nothing can.
        read: Returns the bytes; None when they are those that the validator stood for before.
    """

    name: str
    validator: str
    read: Callable[[], bytes] | None
