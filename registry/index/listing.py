"""All indexes of a registry: those that are missing or stale are built, and each is described."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.index.build import IndexBuild
from registry.index.cache import IndexCache
from registry.index.search import space_index
from registry.store.blobs import BlobStore
from registry.store.models import AnchorSpaceRow


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


def list_indexes(
    session: Session, store: BlobStore, cache: IndexCache, kind: str | None = None
) -> list[IndexInfo]:
    """Return the index of each space that has anchors; see ``Index.build``."""
    indexes = []
    for row in session.scalars(select(AnchorSpaceRow).order_by(AnchorSpaceRow.digest)).all():
        index = space_index(session, store, cache, row, kind)
        if index is not None:
            indexes.append(IndexInfo(row.digest, row.model, row.task, index.about))
    return indexes


def build_indexes(registry: Any, kind: str | None = None) -> list[IndexInfo]:
    """Return ``registry.index.build(kind)``; removed once the commands use the services."""
    built: list[IndexInfo] = registry.index.build(kind)
    return built
