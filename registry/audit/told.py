"""The rows that a trail tells of, or that a database holds, in one shape that can be compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from registry.change.event import AuditEvent

KINDS = (
    "policy", "actor", "concept", "version", "evaluation", "request", "review", "key", "key list",
    "bundle", "release", "signature", "channel", "channel move", "checkpoint",
)  # fmt: skip
Fields = dict[str, Any]
# By kind and by name, such as rows["version"]["pistol@2"]["state"].
Rows = dict[str, dict[str, Fields]]


@dataclass(frozen=True)
class AtLeast:
    """Names of which an old event tells only some."""

    names: frozenset[str]


@dataclass
class Told:
    """What a trail tells.

    Attributes:
        rows: The rows that there must be.
        events: Number of the newest event about each, by kind and name.
        requests: Names of the requests to review a version, oldest first, by version.
        problems: Events that do not follow from those before, a sentence each.
    """

    rows: Rows = field(default_factory=lambda: {kind: {} for kind in KINDS})
    events: dict[tuple[str, str], int] = field(default_factory=dict)
    requests: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, event: AuditEvent, kind: str, name: str, **fields: Any) -> Fields:
        """Add a row; ValueError if it was there."""
        if name in self.rows[kind]:
            raise ValueError(f"{kind} '{name}' was there already")
        self.rows[kind][name] = fields
        self.events[kind, name] = event.number
        return fields

    def make(self, event: AuditEvent, kind: str, name: str, **fields: Any) -> Fields:
        """Return a row, added by the event where there is none yet."""
        if name in self.rows[kind]:
            return self.get(event, kind, name)
        return self.add(event, kind, name, **fields, **made(event))

    def get(self, event: AuditEvent, kind: str, name: str) -> Fields:
        """Return a row that the event is about; ValueError if there is none."""
        if name not in self.rows[kind]:
            raise ValueError(f"there was no {kind} '{name}'")
        self.events[kind, name] = event.number
        return self.rows[kind][name]


def made(event: AuditEvent) -> Fields:
    """Return who made a row and when, where an event made it."""
    return {"created_at": event.at, "created_by": event.actor}


def request_name(version: str, number: int) -> str:
    """Return the name of a version's request, the first of which has number 1."""
    return f"{version}, request {number}"


def evaluation_name(slug: str, content_digest: str, digest: str) -> str:
    """Return the name of an evaluation of a concept's content."""
    return f"{digest} of {slug}, content {content_digest}"


def review_name(request: str, reviewer: str, *, break_glass: bool) -> str:
    """Return the name of a review."""
    return f"{request}, by {reviewer}{', breaking the glass' if break_glass else ''}"
