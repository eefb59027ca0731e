"""Garbage collection: delete the blobs that no row names, once they are old enough.

Features that stopped collections left in the registry's folder go too, what was tried, and kept
pictures whose time is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.errors import InputError
from concepts.instant import now, parse_instant
from registry.change.work import Work
from registry.change.workspace import Workspace
from registry.store.home import left_features, left_tried
from registry.store.models import AnchorSetRow, KeptExemplarRow, VersionAnchors
from registry.store.pictures import sweep_pictures, unnamed_pictures

GRACE = "24h"


@dataclass(frozen=True)
class Collected:
    """What was deleted, or would be.

    Attributes:
        blobs: Digests of the blobs, sorted.
        bytes: What they took on disk.
        temporaries: How many unfinished files.
        kept: How many blobs that no row names are not old enough yet.
        features: How many files of features that stopped collections left.
        feature_bytes: What those took on disk.
        tried: How many files of what was tried.
        tried_bytes: What those took on disk.
        exemplars: How many kept pictures whose time is over.
        exemplar_files: How many files of pictures that no row named before.
        dry_run: Whether everything is still there.
    """

    blobs: tuple[str, ...]
    bytes: int
    temporaries: int
    kept: int
    features: int
    feature_bytes: int
    tried: int
    tried_bytes: int
    exemplars: int
    exemplar_files: int
    dry_run: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


@dataclass(frozen=True)
class _Garbage:
    """What is to go.

    Attributes:
        blobs: Files of blobs, by digest.
        young: How many blobs that no row names are not old enough yet.
        temporaries: Unfinished files.
        features: Files of features that stopped collections left.
        tried: Files of what was tried.
        expired: Kept pictures whose time is over.
        unnamed: How many files of pictures no row names.
    """

    blobs: Mapping[str, Path]
    young: int
    temporaries: Sequence[Path]
    features: Sequence[Path]
    tried: Sequence[Path]
    expired: Sequence[KeptExemplarRow]
    unnamed: int

    def counted(self, dry_run: bool) -> Collected:
        """Say what goes, while it is still there."""
        return Collected(
            blobs=tuple(sorted(self.blobs)), bytes=_bytes(self.blobs.values()),
            temporaries=len(self.temporaries), kept=self.young,
            features=len(self.features), feature_bytes=_bytes(self.features),
            tried=len(self.tried), tried_bytes=_bytes(self.tried),
            exemplars=len(self.expired), exemplar_files=self.unnamed, dry_run=dry_run,
        )  # fmt: skip

    def delete(self, unit: Work, grace: str) -> None:
        """Delete it, but for the files of pictures, which go once their rows are gone for good."""
        size = _bytes(self.blobs.values())
        for path in (*self.features, *self.tried, *self.blobs.values(), *self.temporaries):
            path.unlink(missing_ok=True)
        for row in self.expired:
            unit.session.delete(row)
        if self.blobs or self.temporaries or self.expired:
            told = {"exemplars": len(self.expired)} if self.expired else {}
            unit.record(
                "gc.collect", "blobs", blobs=len(self.blobs), bytes=size, grace=grace, **told
            )


def collect_garbage(
    workspace: Workspace, *, actor: str, grace: str = GRACE, dry_run: bool = False
) -> Collected:
    """Delete blobs that no row names and unfinished files, under the write lock.

    The lock keeps out every writer, so that no row can come to name a blob while it goes; the
    grace period is for readers of an older snapshot. Kept pictures have none: they were to be gone
    by now. An event is written when any of them went, and none for features and what was tried,
    which hold nothing of the registry.

    Args:
        workspace: The registry.
        actor: An admin.
        grace: Blobs written or wanted again within this time stay, such as "24h" or "7d".
        dry_run: Only report what would go.

    Raises:
        InputError: If the grace period cannot be read.
    """
    check_grace(grace)
    dry = dry_run or workspace.dry_run
    with workspace.work(actor, "admin") as unit:
        garbage = _find(unit, workspace, grace)
        collected = garbage.counted(dry)
        if not dry:
            garbage.delete(unit, grace)
    if not dry:
        sweep_pictures(workspace.engine, workspace.home)
    return collected


def _find(unit: Work, workspace: Workspace, grace: str) -> _Garbage:
    store, home, present = workspace.store, workspace.home, now()
    named = named_blobs(unit.session)
    orphans = {digest: store.path(digest) for digest in store.digests() if digest not in named}
    old = {digest: path for digest, path in orphans.items() if _is_old(path, grace, present)}
    return _Garbage(
        blobs=old,
        young=len(orphans) - len(old),
        temporaries=store.temporaries(),
        features=[path for path in left_features(home) if _is_old(path, grace, present)],
        tried=[path for path in left_tried(home) if _is_old(path, grace, present)],
        expired=expired_rows(unit.session, unit.present),
        unnamed=len(unnamed_pictures(unit.session, home)),
    )


def expired_rows(session: Session, present: str) -> Sequence[KeptExemplarRow]:
    """Return the kept pictures whose time is over."""
    query = select(KeptExemplarRow).where(KeptExemplarRow.retain_until <= present)
    return session.scalars(query).all()


def named_blobs(session: Session) -> set[str]:
    """Return the digests of the blobs that rows name."""
    columns = (AnchorSetRow.blob, VersionAnchors.scorer_blob)
    return {digest for column in columns for digest in session.scalars(select(column).distinct())}


def check_grace(grace: str) -> None:
    """Check that a grace period is a length of time; InputError otherwise."""
    try:
        parse_instant(grace)
        valid = grace.strip()[-1] in "dhm"  # An instant is not a length of time.
    except (ValueError, IndexError):
        valid = False
    if not valid:
        raise InputError(
            f"The grace period '{grace}' is not a length of time. Give one such as 24h or 7d."
        )


def _is_old(path: Path, grace: str, present: str) -> bool:
    written = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat()
    return parse_instant(grace, written) <= present


def _bytes(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths)
