"""Whether a version's own anchors reach a threshold: above them all, nothing is ever found."""

from __future__ import annotations

import math

from concepts.errors import PolicyError
from registry.store.blobs import BlobStore
from registry.versions.reading import StoredAnchors, read_anchor_set, read_scorer


def check_reached(
    store: BlobStore,
    entry: StoredAnchors,
    threshold: float,
    *,
    what: str,
    number: int,
    advice: str = "",
) -> None:
    """Refuse a seed threshold that no anchor of its version reaches.

    Args:
        store: The registry's blobs.
        entry: The anchors with what scores them, whose own thresholds do not matter.
        threshold: The seed threshold that is asked for.
        what: The threshold as the message begins, "The threshold of 'pistol' would be 9".
        number: Of the version.
        advice: What else could be done, as the message ends.

    Raises:
        PolicyError: With the highest score that an anchor reaches.
        VerificationError: If stored bytes are damaged.
    """
    anchors = read_anchor_set(store, entry.anchor_set).anchors
    highest = float(read_scorer(store, entry.row).scores(anchors).max())
    if threshold > highest:
        reached = math.floor(highest * 1e4) / 1e4  # Rounded down: it must do when it is given.
        raise PolicyError(
            f"{what}, and no anchor of version {number} reaches it: the highest scores "
            f"{reached:g}. It would find nothing. Choose a lower one{advice}."
        )
