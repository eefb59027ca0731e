"""What is banned now, channel by channel, and what is banned nowhere."""

from __future__ import annotations

from starlette.responses import Response

from concepts.instant import now
from console.call import Call


def live(call: Call) -> Response:
    """Show each channel with its release and what that does about each concept."""
    registry = call.registry
    channels = registry.channels.now()
    concepts = registry.concepts.list()
    held = {member.slug for channel in channels for member in channel.release.members}
    return call.page(
        "live.html", at=now(), channels=channels, names={item.slug: item.name for item in concepts},
        nowhere=[item for item in concepts if item.slug not in held],
        counted=call.decisions.counted(), has_log=call.decisions.path is not None,
    )  # fmt: skip
