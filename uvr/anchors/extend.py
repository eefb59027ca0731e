"""Extend an anchor set by another of the same space, such as by pictures that came later."""

from __future__ import annotations

from typing import Any

import numpy as np

from concepts.anchors import AnchorSet, AnchorSpace
from concepts.errors import ConflictError, MismatchError
from uvr.anchors.kinds import joined_kinds, joined_variants


def next_picture(anchor_set: AnchorSet) -> int:
    """Number that no picture of an anchor set has, nor one after it."""
    return 1 + max(
        (int(images.max()) for images in (anchor_set.anchor_images, anchor_set.counter_images)
         if len(images)),
    )  # fmt: skip


def extended(held: AnchorSet, more: AnchorSet) -> AnchorSet:
    """Return the anchors and counter-anchors of both; the pictures of ``more`` are numbered anew.

    Raises:
        MismatchError: They are of different spaces.
        ConflictError: Every new anchor is there already.
    """
    require_space(held, more.space)
    known = {anchor.tobytes() for anchor in held.anchors}
    if all(anchor.tobytes() in known for anchor in more.anchors):
        raise ConflictError(
            f"All {len(more.anchors)} {held.space.task} anchors are there already: these pictures "
            "were added before. Give others, or draw them from another seed."
        )
    first = next_picture(held)
    return AnchorSet(
        space=held.space,
        anchors=np.concatenate([held.anchors, more.anchors]),
        anchor_images=np.concatenate([held.anchor_images, more.anchor_images + first]),
        counter_anchors=np.concatenate([held.counter_anchors, more.counter_anchors]),
        counter_images=np.concatenate([held.counter_images, more.counter_images + first]),
        provenance={
            "method": "added",
            "parts": [*_parts(held), *_parts(more)],
            **joined_kinds(held.provenance, more.provenance, first),
            **joined_variants(held.provenance, more.provenance, first),
        },
    )


def require_space(held: AnchorSet, space: AnchorSpace) -> None:
    """Check that anchors of a space can be added to a set; MismatchError says what differs."""
    before, now = held.space.to_dict(), space.to_dict()
    differ = [name for name in before if before[name] != now[name]]
    if differ:
        raise MismatchError(
            f"Anchors cannot be added to the {held.space.task} anchors that are there: they differ "
            f"in {', '.join(differ)}. Collect without adding, so that new ones take their place."
        )


def _parts(anchor_set: AnchorSet) -> list[Any]:
    about = anchor_set.provenance
    return list(about["parts"]) if about.get("method") == "added" else [dict(about)]
