"""Render a page from its template: one file that loads nothing, from here or from outside."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from concepts.words import BY_HAND, approved_words, so_far_words
from uvr.pages import words

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What a page may load, as its Content-Security-Policy says: its own styles and pictures."""


def render_page(template: str, **values: Any) -> str:
    """Render a template of ``uvr/pages/templates``.

    Whatever is written into it is escaped, and a name that is not given is an error.

    Args:
        template: Its file name, such as "evaluation.html".
        values: What it shows.
    """
    return _environment().get_template(template).render(policy=POLICY, **values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("uvr.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    environment.globals["by_hand"] = BY_HAND
    return environment


def percent(value: float | None) -> str:
    """A share as a percentage; a hyphen for None."""
    return "-" if value is None else f"{value:.0%}"


def span(interval: tuple[float, float] | None) -> str:
    """An interval of shares, "4% - 12%"; nothing for None."""
    return "" if interval is None else f"{interval[0]:.0%} - {interval[1]:.0%}"


def number(value: float | None, digits: int = 2) -> str:
    """A number with so many digits after the point; a hyphen for None."""
    return "-" if value is None else f"{value:.{digits}f}"


FILTERS = {
    "percent": percent, "span": span, "number": number,
    "day": words.day, "moment": words.moment, "task_words": words.task_words,
    "state_words": words.state_words, "kind_words": words.kind_words,
    "approved_words": approved_words, "mode_words": words.mode_words, "so_far_words": so_far_words,
    "coverage_words": words.coverage_words, "gap_words": words.gap_words,
}  # fmt: skip
"""What templates may do to a value: numbers and words, as all pages write them."""
