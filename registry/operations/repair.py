"""Repair: remove what was left over in a registry's folder, and nothing that a row names."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from concepts.digest import is_digest
from concepts.files import remove_abandoned
from registry.change.workspace import Workspace
from registry.operations.index_files import stale_index_files
from registry.store.blobs import TEMPORARY
from registry.store.home import abandoned_in


@dataclass(frozen=True)
class Repaired:
    """What a repair removed: names of files, relative to the registry's folder."""

    temporaries: tuple[str, ...]
    index_files: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def repair(workspace: Workspace, actor: str) -> Repaired:
    """Remove unfinished files, and index files that are damaged or no longer used.

    Nothing that a row names is touched, and no index that a process builds at the moment. An event
    is written when anything went.

    Args:
        workspace: The registry.
        actor: An admin.
    """
    with workspace.work(actor, "admin") as unit:
        temporaries, partials = workspace.store.temporaries(), abandoned_in(workspace.home)
        stale = list(stale_index_files(workspace.home / "index"))
        if not workspace.dry_run:
            temporaries = [path for path in temporaries if _removed(path)]
            partials = [path for path in partials if remove_abandoned(path)]
            stale = [path for path in stale if _removed_unused(path)]
        temporaries += partials
        removed = Repaired(_names(workspace.home, temporaries), _names(workspace.home, stale))
        if temporaries or stale:
            unit.record("doctor.repair", "files", **removed.to_dict())
        return removed


def _removed_unused(path: Path) -> bool:
    """Remove a file of an index unless a process builds that index now; whether it is gone."""
    space = path.name.removeprefix(TEMPORARY)[:64]
    if not is_digest(space):  # Written atomically beside an index, and not its own file.
        return _removed(path)
    with path.with_name(f"{space}.lock").open("ab") as lease:
        try:
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return _removed(path)


def _removed(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    return True


def _names(home: Path, paths: Iterable[Path]) -> tuple[str, ...]:
    return tuple(str(path.relative_to(home)) for path in paths)
