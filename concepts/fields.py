"""Rules for the fields of a concept definition: which there are, and what each may hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from concepts.errors import did_you_mean
from concepts.words import CATEGORIES, RULES
from concepts.yaml_text import FieldError, Place, Rule, check_keys, check_mapping, kind_of

SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
MAX_SLUG = 64
MAX_TEXT = 4000

# Known keys of `parameters`.
PARAMETERS: dict[str, Rule] = {
    "seeds_per_prompt": (int, 1, 1000),
    "noise_draws": (int, 1, 64),
    "shrinkage": (float, 0.0, 10.0),
    "image_false_positive_rate": (float, 0.0, 0.5),
    "patch_false_positive_rate": (float, 0.0, 0.5),
    "within_share": (float, 0.0, 0.99),
    "margin": (float, 0.0, 0.99),
    "prototypes": (int, 1, 64),
    "rule": (str, RULES, None),
}
TEXTS = ("slug", "name", "category", "description", "scope")
LISTS = ("prompts", "near_misses", "paraphrases", "benign", "edits")
REQUIRED = ("slug", "name", "category", "description", "prompts", "near_misses")


def check(data: object) -> None:
    """Check the fields of a definition; FieldError for the first that is not valid."""
    if not isinstance(data, Mapping):
        raise FieldError((), f"found {kind_of(data)}, expected a mapping with slug, name, ...")
    known = (*TEXTS, *LISTS, "parameters")
    check_keys((), data, known)
    missing = [name for name in REQUIRED if name not in data]
    if missing:
        raise FieldError((), f"missing: {', '.join(missing)}")
    for name in TEXTS:
        if name in data:
            _check_text((name,), data[name], empty=name == "scope")
    _check_slug(data["slug"])
    if data["category"] not in CATEGORIES:
        hint = did_you_mean(data["category"], CATEGORIES)
        allowed = ", ".join(CATEGORIES)
        raise FieldError(("category",), f"found '{data['category']}', allowed: {allowed}.{hint}")
    for name in LISTS:
        _check_texts(name, data.get(name, ()))
    if not data["prompts"]:
        raise FieldError(("prompts",), "needs at least one prompt")
    _check_overlap(data)
    check_mapping(("parameters",), data.get("parameters", {}), PARAMETERS)


def _check_slug(slug: str) -> None:
    if not SLUG.fullmatch(slug) or len(slug) > MAX_SLUG:
        raise FieldError(
            ("slug",),
            f"found '{slug}', allowed: lower-case letters and digits in words joined by single "
            f"hyphens, at most {MAX_SLUG} characters",
        )


def _check_text(place: Place, value: object, *, empty: bool = False) -> None:
    if not isinstance(value, str):
        raise FieldError(place, f"found {kind_of(value)}, expected text (put it in quotes)")
    if not empty and not value.strip():
        raise FieldError(place, "is empty")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise FieldError(place, "holds half a character (a surrogate), which no file can hold")
    if len(value) > MAX_TEXT:
        raise FieldError(place, f"has {len(value)} characters, allowed: {MAX_TEXT}")


def _check_texts(name: str, value: object) -> None:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise FieldError((name,), f"found {kind_of(value)}, expected a list of texts")
    seen: dict[str, int] = {}
    for index, item in enumerate(value):
        _check_text((name, index), item)
        if item in seen:
            raise FieldError((name, index), f"repeats item {seen[item] + 1}: '{item}'")
        seen[item] = index


def _check_overlap(data: Mapping[str, Any]) -> None:
    for name in ("near_misses", "benign"):
        for index, item in enumerate(data.get(name, ())):
            if item in data["prompts"]:
                raise FieldError((name, index), f"'{item}' is also one of the prompts")
