"""How a regulator stands: what a health check answers by."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from uvr.delivery.status import SourceStatus


@dataclass(frozen=True)
class RegulatorStatus:
    """What a regulator would use now, and where this host departs from it.

    Attributes:
        bundle: Name of the bundle, None when there is none to use.
        sequence: Its release number.
        digest: Its digest.
        created: When that release was made, "" when it does not tell.
        state: "ok"; "stale" or "degraded" when the bundle is stale and served all the same;
            "failed" when there is none to serve, and every call raises.
        why: Why it is not "ok".
        deny: Concepts that this host enforces whatever the bundle says.
        allow: Concepts that this host does not regulate whatever the bundle says.
        source: How the bundle's source stands, None for a fixed bundle.
    """

    bundle: str | None
    sequence: int | None
    digest: str | None
    created: str | None
    state: str
    why: str | None
    deny: tuple[str, ...]
    allow: tuple[str, ...]
    source: SourceStatus | None

    @property
    def healthy(self) -> bool:
        """Whether calls are served: what a health check answers by."""
        return self.state != "failed"

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {"healthy": self.healthy, **asdict(self)}
