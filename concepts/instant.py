"""Instants: UTC with microseconds, always 27 characters, so that text order is time order."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

FORM = "%Y-%m-%dT%H:%M:%S.%fZ"
EXPECTED = (
    "an instant such as 2026-11-24T10:00:00Z, a date such as 2026-11-24, or a time from now in "
    "days, hours or minutes such as 30d, 12h or 45m"
)
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DURATION = re.compile(r"([0-9]{1,6})([dhm])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


def now() -> str:
    """Return the present, such as "2026-11-24T10:00:00.000000Z"."""
    return _format(datetime.now(UTC))


def is_instant(value: object) -> bool:
    """Whether a value is a real instant in the one form that this project stores."""
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        return False
    try:
        return _format(datetime.strptime(value, FORM)) == value
    except ValueError:
        return False


def parse_instant(text: str, now: str | None = None) -> str:
    """Return the instant that a text names.

    Args:
        text: ISO 8601 with "Z" or an offset, a date alone (midnight UTC), or a time from now in
            days, hours or minutes: "30d", "12h", "45m".
        now: The instant that a time from now counts from; the present when left out.

    Raises:
        ValueError: For anything else; says what is expected.
    """
    text = text.strip()
    try:
        if found := _DURATION.fullmatch(text):
            start = datetime.fromisoformat(now) if now else datetime.now(UTC)
            return _format(start + timedelta(**{_UNITS[found[2]]: int(found[1])}))
        if _DATE.fullmatch(text):
            return _format(datetime.fromisoformat(text))
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return _format(moment.astimezone(UTC))
        why = ": it says no offset, such as Z"
    except (ValueError, OverflowError):
        why = ""  # Python's own words are for programmers.
    raise ValueError(f"'{text}' is not {EXPECTED}{why}")


def parse_moment(text: str, now: str | None = None) -> str:
    """Return the instant at which to look at what was: as ``parse_instant``, but a day's end.

    Whoever asks what was banned on a day means all of it; of the present day, as far as it went.

    Args:
        text: Any form that ``parse_instant`` takes; of a date alone its last microsecond, UTC.
        now: The present when left out.

    Raises:
        ValueError: For anything else; says what is expected.
    """
    instant = parse_instant(text, now)
    if not _DATE.fullmatch(text.strip()):
        return instant
    end = f"{instant[:11]}23:59:59.999999Z"
    present = now or _format(datetime.now(UTC))
    return present if instant <= present < end else end


def later(instant: str, seconds: float) -> str:
    """Return the instant some seconds after another."""
    return _format(datetime.fromisoformat(instant) + timedelta(seconds=seconds))


def _format(moment: datetime) -> str:
    # strftime writes years before 1000 with fewer digits, isoformat does not.
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
