"""Connections of the console's server: from whom one is taken, and how long it may say nothing."""

from __future__ import annotations

import asyncio
from itertools import count

from uvicorn.protocols.http.h11_impl import H11Protocol

from console.settings import Settings

WAIT_S = 10.0
"""How long a connection may take to its first request."""


def connection_for(settings: Settings, wait: float = WAIT_S) -> type[H11Protocol]:
    """Return the class of connections to a console, of which it bears few at one time.

    Args:
        settings: Who may reach it: anybody else's connection ends as soon as it is there.
        wait: Seconds after which one that asked for nothing ends.
    """
    places = count()

    class Connection(H11Protocol):
        _waiting: asyncio.TimerHandle | None = None
        _place = 0

        def connection_made(  # type: ignore[override]  # as the server has it
            self, transport: asyncio.Transport
        ) -> None:
            super().connection_made(transport)
            if not settings.answers(self.client[0] if self.client else ""):
                transport.abort()
            self._waiting = self.loop.call_later(wait, self._end_idle)
            self._place = next(places)
            self._make_room()

        def connection_lost(self, exc: Exception | None) -> None:
            if self._waiting is not None:
                self._waiting.cancel()
            super().connection_lost(exc)

        def _make_room(self) -> None:
            """End the oldest connection without a request in work where there are too many."""
            most = self.config.limit_concurrency
            idle = [one for one in self.connections if isinstance(one, Connection) and one.is_idle]
            if most is not None and len(self.connections) >= most and idle:
                min(idle, key=lambda one: one._place).transport.abort()

        @property
        def is_idle(self) -> bool:
            """Whether no request of it is in work, and it was not ended."""
            done = self.cycle is None or self.cycle.response_complete
            return done and not self.transport.is_closing()

        def _end_idle(self) -> None:
            if self.cycle is None:  # No request came whole, to its last header.
                self.transport.abort()

    return Connection
