import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concepts.instant import is_instant, now, parse_instant, parse_moment

NOON = "2026-11-24T12:00:00.000000Z"


def test_now_has_the_form_that_is_stored():
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", now())
    assert is_instant(now())
    assert now() <= now()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24T12:00:00Z", NOON), ("2026-11-24T13:00:00+01:00", NOON),
        ("2026-11-24T12:00Z", NOON), (NOON, NOON), (" 2026-11-24 12:00:00.000000+00:00 ", NOON),
        ("2026-11-24", "2026-11-24T00:00:00.000000Z"),
        ("30d", "2026-12-24T12:00:00.000000Z"), ("12h", "2026-11-25T00:00:00.000000Z"),
        ("45m", "2026-11-24T12:45:00.000000Z"), ("0d", NOON),
    ],
)  # fmt: skip
def test_instants_are_read(text, expected):
    assert parse_instant(text, now=NOON) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23", "2026-11-23T23:59:59.999999Z"), ("2026-11-24", NOON),
        ("2026-11-25", "2026-11-25T23:59:59.999999Z"), ("2026-11-24T12:00Z", NOON),
        ("12h", "2026-11-25T00:00:00.000000Z"),
    ],
)  # fmt: skip
def test_a_day_that_is_looked_at_is_told_at_its_end_and_today_as_it_is_now(text, expected):
    assert parse_moment(text, now=NOON) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "2026-11-24T12:00:00",
        "2026-02-30",
        "-1d",
        "1w",
        "9999999d",
        "0001-01-01T00:00+23:00",
    ],
)
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match="an instant such as"):
        parse_instant(text, now=NOON)


@pytest.mark.parametrize(
    ("text", "why"), [("soon", ""), ("2026-11-24T12:00:00", ": it says no offset, such as Z")]
)
def test_a_refusal_says_what_is_allowed(text, why):
    with pytest.raises(ValueError, match="an instant") as caught:
        parse_instant(text)
    assert str(caught.value) == (
        f"'{text}' is not an instant such as 2026-11-24T10:00:00Z, a date such as 2026-11-24, or "
        f"a time from now in days, hours or minutes such as 30d, 12h or 45m{why}"
    )


@pytest.mark.parametrize(
    "value",
    [None, 1, "", "2026-11-24", NOON + "\n", NOON.replace("Z", "z"), "2026-13-24T12:00:00.000000Z"],
)
def test_other_values_are_no_instants(value):
    assert not is_instant(value)


@given(st.datetimes())
def test_text_order_is_time_order(moment):
    assert is_instant(parse_instant(f"{moment.isoformat()}+00:00"))
    assert (parse_instant(f"{moment.isoformat()}+00:00") < NOON) == (
        f"{moment.isoformat(timespec='microseconds')}Z" < NOON
    )
