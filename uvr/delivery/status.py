"""How a source of bundles stands, and when the bundle that it serves is stale."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from concepts.bundle import Bundle

STALE_POLICIES = ("warn", "degraded", "fail_closed")


@dataclass(frozen=True)
class SourceStatus:
    """How a source stands.

    Attributes:
        location: Where bundles come from, without a password.
        state: "ok"; "stale" or "degraded" when the bundle is stale and served all the same;
            "failed" when there is none to serve.
        bundle: Name of the bundle in use.
        sequence: Its release number.
        digest: Its digest.
        created: When that release was made, "" when it does not tell.
        checked_at: When the location was last seen to offer it.
        loaded_at: When this process took it into use.
        expires: When it expires.
        stale: Why it is stale.
        last_error: What went wrong in the last poll.
        key_list_version: Version of the key list that is trusted now.
        polls: How often this process asked the location.
        polls_failed: How often that failed, and the bundle in use stayed.
        warnings: What weakens it and is no failure, a sentence each without a full stop.
    """

    location: str
    state: str
    bundle: str | None
    sequence: int | None
    digest: str | None
    created: str | None
    checked_at: str | None
    loaded_at: str | None
    expires: str | None
    stale: str | None
    last_error: str | None
    key_list_version: int | None
    polls: int = 0
    polls_failed: int = 0
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def never_expires(bundle: Bundle) -> str | None:
    """Say what it means that a bundle never expires, if it does not."""
    if bundle.expires is not None:
        return None
    return (
        f"{bundle.name}@{bundle.sequence} never expires, so that a place which goes "
        "on confirming it can hold back every later one unnoticed: release with --expires"
    )


@dataclass(frozen=True)
class BundleInUse:
    """A bundle and how it stands, read at once: no other release can come in between.

    Attributes:
        bundle: The bundle.
        state: "ok", or "stale" or "degraded" when it is stale and served all the same.
        stale: Why it is stale.
    """

    bundle: Bundle
    state: str = "ok"
    stale: str | None = None


@dataclass(frozen=True)
class Staleness:
    """When a bundle is stale, and what that means.

    Attributes:
        policy: One of ``STALE_POLICIES``.
        max_age: Seconds after which a bundle that nobody confirms is stale; None for never.
    """

    policy: str
    max_age: float | None

    def __post_init__(self) -> None:
        if self.policy not in STALE_POLICIES:
            raise ValueError(f"stale is {self.policy!r}, allowed: {', '.join(STALE_POLICIES)}")

    def reason(self, bundle: Bundle, checked_at: str, at: str) -> str | None:
        """Say why a bundle that was last confirmed at one instant is stale at another, if it is."""
        if bundle.expired_at(at):
            return f"it expired at {bundle.expires}"
        if self.max_age is None or abs(_seconds(at) - _seconds(checked_at)) <= self.max_age:
            return None
        if checked_at > at:  # A clock was wrong, then or now.
            return f"it was last confirmed at {checked_at}, which is in the future"
        return f"it was last confirmed at {checked_at}, more than {self.max_age:g} seconds ago"

    def state(self, reason: str | None) -> str:
        """Name the state of a source whose bundle is stale for a reason, or is not."""
        words = {"warn": "stale", "degraded": "degraded", "fail_closed": "failed"}
        return words[self.policy] if reason else "ok"


def _seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()
