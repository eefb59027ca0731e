"""Kinds of pictures, such as small ones or near-misses, as the provenance of anchors tells them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

KINDS, VARIANTS = "kinds", "variants"
NEAR_MISS = "near-miss"
"""Kind of a picture that looks like the concept and is allowed."""
Pairs = list[list[int]]
"""Numbers of variants, each with that of the picture that it was made from."""


def kinds_of(kinds: Sequence[str]) -> dict[str, Any]:
    """Return what provenance tells of pictures that are numbered from 0.

    Args:
        kinds: The kind of each picture, "" for an ordinary one, of which nothing is told.
    """
    named = sorted(set(kinds) - {""})
    told = {name: [n for n, kind in enumerate(kinds) if kind == name] for name in named}
    return {KINDS: told} if told else {}


def variants_of(made: Sequence[tuple[str, int]], first: int) -> dict[str, Any]:
    """Return what provenance tells of variants that are numbered from ``first``.

    Args:
        made: The kind of each, and the number of the picture that it was made from.
        first: Number of the first.
    """
    told: dict[str, Pairs] = {}
    for number, (kind, of) in enumerate(made, first):
        told.setdefault(kind, []).append([number, of])
    return {VARIANTS: told} if told else {}


def joined_kinds(
    held: Mapping[str, Any], more: Mapping[str, Any], first: int
) -> dict[str, dict[str, list[int]]]:
    """Return the same of two provenances, the second's pictures numbered from ``first``."""
    joined = pictures_by_kind(held)
    for name, numbers in pictures_by_kind(more).items():
        joined[name] = joined.get(name, []) + [first + number for number in numbers]
    return {KINDS: joined} if joined else {}


def joined_variants(
    held: Mapping[str, Any], more: Mapping[str, Any], first: int
) -> dict[str, dict[str, Pairs]]:
    """Return what two provenances tell of variants, the second's numbered from ``first``."""
    joined = variants_by_kind(held)
    for name, pairs in variants_by_kind(more).items():
        joined[name] = joined.get(name, []) + [[first + one, first + of] for one, of in pairs]
    return {VARIANTS: joined} if joined else {}


def pictures_by_kind(provenance: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return the numbers of an anchor set's pictures by kind; nothing where it tells none."""
    return dict(provenance.get(KINDS, {}))


def variants_by_kind(provenance: Mapping[str, Any]) -> dict[str, Pairs]:
    """Return the variants of an anchor set's pictures by kind (``uvr.anchors.variants``)."""
    return dict(provenance.get(VARIANTS, {}))
