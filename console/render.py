"""Templates: rendered with everything escaped, and a name that is not given as an error."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from concepts.printable import printable
from concepts.words import BY_HAND
from console import words
from console.files import address
from console.job_words import job_words
from registry.jobs.outcome import outcomes_of
from uvr.pages.page import FILTERS as PAGE_FILTERS
from uvr.pages.words import place_words

_CODE = re.compile(r"`([^`]+)`")


def render(template: str, **values: Any) -> str:
    """Render a template of the console, which may take macros of ``uvr.pages`` in."""
    return _environment().get_template(template).render(**values)


def coded(text: str) -> Markup:
    """Return a message as HTML, what stands in backticks as code."""
    parts = _CODE.split(printable(text))
    marked = (
        Markup("<code>{}</code>").format(part) if position % 2 else escape(part)
        for position, part in enumerate(parts)
    )
    return Markup("").join(marked)


def plural(count: int, noun: str) -> str:
    """Write a number with its noun."""
    return f"{count:,} {noun if count == 1 else noun + 's'}"


def ended(text: str) -> str:
    """Write a sentence with its full stop, whether it brings one or not."""
    return text if text.rstrip().endswith((".", "!", "?")) else f"{text.rstrip()}."


def begun(text: str) -> str:
    """Write a text with a capital letter; the rest stays as it is."""
    return text[:1].upper() + text[1:]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("console"), PackageLoader("uvr.pages")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {
        "ago": words.ago, "begun": begun, "change": words.change_words,
        "changed": words.changed_part, "coded": coded, "event_kind": words.kind_of_event,
        "details": words.told_details, "each_once": words.each_once, "ended": ended,
        "event": words.event_words,
        "field": words.field_words, "job": job_words,
        "outcomes": outcomes_of, "place": place_words,
        "plural": plural, "standing": words.standing_words, "subject": words.subject_words,
    }  # fmt: skip
    environment.filters |= PAGE_FILTERS
    environment.globals |= {
        "address": address, "by_hand": BY_HAND, "categories": words.CATEGORIES,
        "subject_address": words.subject_address,
    }  # fmt: skip
    return environment


def _shown(value: Any) -> Any:
    """Make visible what reorders or hides text, such as in a reason; markup was made above."""
    if type(value) is not str or (value.isascii() and value.isprintable()):
        return value
    return "\n".join(map(printable, value.split("\n")))
