"""Who is logged in, by session; forgotten when the console ends."""

from __future__ import annotations

import time

from console.session import new_session

SESSION_S = 8 * 3600.0
"""Seconds until somebody must log in again, however much they did meanwhile."""


class Logins:
    """Who is logged in.

    Only the server's own thread changes it; the threads that answer pages read one entry at a time.

    Args:
        lasts: Seconds until a session ends.
    """

    def __init__(self, lasts: float = SESSION_S) -> None:
        self._lasts = lasts
        self._held: dict[str, tuple[str, float]] = {}

    def begin(self, user: str) -> str:
        """Log somebody in; return the new session, whatever the browser had before."""
        present = time.monotonic()
        for session in [name for name, (_, end) in self._held.items() if end <= present]:
            del self._held[session]
        session = new_session()
        self._held[session] = (user, present + self._lasts)
        return session

    def user(self, session: str | None) -> str | None:
        """Return whose session it is; None if it is nobody's, or nobody's any more."""
        user, end = self._held.get(session or "", ("", 0.0))
        return user if end > time.monotonic() else None

    def end(self, session: str | None) -> None:
        """Log out whoever has a session."""
        self._held.pop(session or "", None)
