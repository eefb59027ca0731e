"""Where a version is live: a channel, its release, and how it is enforced there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class LivePlace:
    """A channel whose release holds a version now.

    Attributes:
        channel: Name of the channel.
        bundle: Name of its bundle.
        sequence: The release that it points to.
        version: Number of the version.
        state: What the version is now.
        mode: "enforce", "log" or "shadow".
        thresholds: Seed threshold in force there, by "MODEL/TASK".
        disabled_until: An instant before which it is not enforced.
    """

    channel: str
    bundle: str
    sequence: int
    version: int
    state: str
    mode: str
    thresholds: Mapping[str, float]
    disabled_until: str | None
