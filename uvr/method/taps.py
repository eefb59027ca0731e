"""Taps: at which attention layers, and of which tokens, features are taken.

A tap names an attention layer and means its output at the picture that is being generated. With
``@reference`` behind the name it means the output at the pictures that are given. UVR (arXiv
2606.06875) scores output patches alone; but what an edit leaves in place is plain to see in the
given picture, which holds no noise, from the first step on.

No torch here, so that profiles load fast.
"""

from __future__ import annotations

from collections.abc import Sequence

REFERENCE = "@reference"


def layer_of(tap: str) -> str:
    """Return the attention layer of a tap."""
    return tap.removesuffix(REFERENCE)


def output_taps(taps: Sequence[str]) -> list[str]:
    """Return those taps that are at the output."""
    return [tap for tap in taps if not tap.endswith(REFERENCE)]


def reference_taps(taps: Sequence[str]) -> list[str]:
    """Return those taps that are at given pictures."""
    return [tap for tap in taps if tap.endswith(REFERENCE)]


def at_both(layers: Sequence[str]) -> tuple[str, ...]:
    """Return taps at the output and at given pictures of some layers."""
    return (*layers, *(layer + REFERENCE for layer in layers))


def output_dim(taps: Sequence[str], dim: int) -> int:
    """Return how many of ``dim`` features are of an output patch; layers are equally wide."""
    return dim // len(taps) * len(output_taps(taps))
