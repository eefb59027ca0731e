"""The indexes of a registry at once: build those that are missing or stale, and tell what is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from registry.index.build import IndexBuild
from registry.index.search import space_index
from registry.store.models import AnchorSpaceRow

if TYPE_CHECKING:
    from registry.registry import Registry


@dataclass(frozen=True)
class IndexInfo:
    """The index of one anchor space.

    Attributes:
        space: Digest of the anchor space.
        model: Its model.
        task: "t2i" or "edit".
        build: How it was built, and how well it finds.
    """

    space: str
    model: str
    task: str
    build: IndexBuild


def build_indexes(registry: Registry, kind: str | None = None) -> list[IndexInfo]:
    """Return the index of each space that has anchors, built where it is missing or stale.

    Args:
        registry: Whose.
        kind: One of ``concepts.words.INDEX_KINDS``; by default the one that fits the size.

    Raises:
        GateError: If an index of the kind asked for finds too few of the nearest anchors.
        VerificationError: If stored anchors are damaged.
    """
    found = []
    with registry.read() as opened:
        for row in opened.scalars(select(AnchorSpaceRow).order_by(AnchorSpaceRow.digest)).all():
            index = space_index(opened, registry.store, registry.index_cache, row, kind)
            if index is not None:
                found.append(IndexInfo(row.digest, row.model, row.task, index.about))
    return found
