"""Before anchors are added: which concepts have them already, or nearly.

Every stored anchor of the space is passed over once, in blocks. Adding makes an index of the space
stale, so building one for each addition would cost more than it saves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.anchors import AnchorSet
from concepts.scorer import Scorer
from registry.answers import NEAR_DISTANCE, Overlap
from registry.index.scope import draft_sets, sets_in_use
from registry.store.blobs import BlobStore
from registry.store.models import AnchorSpaceRow
from registry.vectors.exact import Stack, unit_vectors

CHECKED = 256
"""At most so many of the new anchors are compared, evenly spaced over their set."""


def overlaps(
    session: Session,
    store: BlobStore,
    slug: str,
    collections: Sequence[tuple[AnchorSet, Scorer]],
    distance: float = NEAR_DISTANCE,
    *,
    drafts: bool = False,
) -> list[Overlap]:
    """Return the versions of other concepts whose anchors lie near new ones, by falling share.

    Args:
        session: Of a transaction.
        store: Where the anchors are.
        slug: The concept that the new anchors are for; it is not compared with itself.
        collections: The new anchors, one set for each space.
        distance: Anchors are near when 1 - cosine <= this.
        drafts: Look at drafts too, not only at what is live or approved.

    Raises:
        VerificationError: If stored anchors are damaged.
    """
    near = []
    for anchors, _ in collections:
        space = session.scalars(select(AnchorSpaceRow).filter_by(digest=anchors.space.digest))
        row = space.first()
        if row is None:
            continue
        sample = _sample(anchors.anchors)
        sets = sets_in_use(session, row) + (draft_sets(session, row) if drafts else [])
        for stored in sets:
            if stored.input.slug == slug:
                continue
            nearest = _nearest(sample, Stack([stored.rows(store, row.dim)]))
            share = float((nearest >= 1 - distance).mean())
            if share > 0:
                near.append(
                    Overlap(
                        slug=stored.input.slug,
                        version=stored.input.version,
                        state=stored.state,
                        space=row.digest,
                        share=share,
                        nearest=min(float(nearest.max()), 1.0),
                        checked=len(sample),
                    )
                )
    return sorted(near, key=lambda item: (-item.share, item.slug, item.version, item.space))


def _sample(anchors: NDArray[Any]) -> NDArray[np.float32]:
    count = len(anchors)
    rows = np.unique(np.linspace(0, count - 1, min(count, CHECKED)).astype(np.int64))
    return unit_vectors(anchors[rows]).astype(np.float32)


def _nearest(queries: NDArray[np.float32], stack: Stack) -> NDArray[np.float32]:
    """Return the highest cosine of each unit query to the rows, (q,)."""
    best = np.full(len(queries), -np.inf, dtype=np.float32)
    for _, block in stack.blocks():
        scores = queries @ unit_vectors(block).astype(np.float32).T
        best = np.maximum(best, scores.max(axis=1))
    return best
