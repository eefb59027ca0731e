"""The rows of a registry compared with what its trail tells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy.orm import Session

from concepts.digest import is_digest
from registry.audit.chain import read_events
from registry.audit.replay import replay
from registry.audit.rows import read_rows
from registry.audit.told import KINDS, AtLeast, Fields, Rows, Told


def row_differences(session: Session) -> Iterator[str]:
    """Yield a sentence for each row that differs from what the events leave behind."""
    told = replay(read_events(session))
    yield from told.problems
    yield from differences(told, read_rows(session))


def differences(told: Told, found: Rows) -> Iterator[str]:
    """Yield a sentence for each row that is missing, in no event, or has other fields."""
    for kind in KINDS:
        expected, rows = told.rows[kind], found[kind]
        for name in sorted(expected.keys() | rows.keys()):
            written = name.replace("#", "@")  # as events name a release
            what = f"{kind.capitalize()} '{written}'" if name != kind else kind.capitalize()
            number = told.events.get((kind, name))
            last = f"last in event {number}" if number else "as every registry begins"
            if name not in expected:
                yield f"{what} is in no event: its row was written past the audit trail."
            elif name not in rows:
                yield f"{what} has no row any more, but is in the audit trail ({last})."
            else:
                for wrong in _other_fields(expected[name], rows[name]):
                    yield f"{what}: {wrong} ({last})."


def _other_fields(expected: Fields, row: Fields) -> Iterator[str]:
    for name in sorted(expected):
        if not _fits(expected[name], row[name]):
            value, right = _shown(row[name]), _shown(expected[name])
            yield f"{name} is {value}, but the audit trail says {right}"


def _fits(expected: Any, value: Any) -> bool:
    if isinstance(expected, AtLeast):
        return isinstance(value, tuple) and expected.names <= set(value)
    return bool(expected == value)


def _shown(value: Any) -> str:
    if isinstance(value, AtLeast):
        return f"at least {_shown(tuple(sorted(value.names)))}"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "nothing"
    if is_digest(value):
        return f"{value[:12]}…"
    return repr(value)
