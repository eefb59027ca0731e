"""Kinds of pictures, such as small ones or near-misses, as the provenance of anchors tells them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

KINDS = "kinds"
NEAR_MISS = "near-miss"
"""Kind of a picture that looks like the concept and is allowed."""


def kinds_of(kinds: Sequence[str]) -> dict[str, Any]:
    """Return what provenance tells of pictures that are numbered from 0.

    Args:
        kinds: The kind of each picture, "" for an ordinary one, of which nothing is told.
    """
    named = sorted(set(kinds) - {""})
    told = {name: [n for n, kind in enumerate(kinds) if kind == name] for name in named}
    return {KINDS: told} if told else {}


def joined_kinds(
    held: Mapping[str, Any], more: Mapping[str, Any], first: int
) -> dict[str, dict[str, list[int]]]:
    """Return the same of two provenances, the second's pictures numbered from ``first``."""
    joined = pictures_by_kind(held)
    for name, numbers in pictures_by_kind(more).items():
        joined[name] = joined.get(name, []) + [first + number for number in numbers]
    return {KINDS: joined} if joined else {}


def pictures_by_kind(provenance: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return the numbers of an anchor set's pictures by kind; nothing where it tells none."""
    return dict(provenance.get(KINDS, {}))
