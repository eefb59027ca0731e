"""A registry's folder: made once, and bound to one registry.

Blobs are named by their content alone. Two registries that shared a folder would take each other's
for garbage, so the folder says whose it is, in ``blobs/registry``.
"""

from __future__ import annotations

import errno
from pathlib import Path

from sqlalchemy import URL, Engine, inspect, select

from concepts.errors import ConflictError, UVRError
from concepts.files import LOCK, abandoned, is_in_use, read_bytes, write_file
from registry.store.db import DATABASE_FILE, transaction
from registry.store.models import PolicyRow

MARK = Path("blobs") / "registry"
FEATURES = Path("cache") / "features"
"""What collections keep on the way, in the registry's folder; never backed up."""
TRIED = Path("cache") / "tried"
"""What was tried for somebody to look at, in the registry's folder; never backed up."""
EXEMPLARS = Path("exemplars")
"""Pictures that were kept on purpose, in the registry's folder; never backed up."""
SCORED = Path("cache") / "exemplars"
"""What versions make of those, without the pictures; never backed up."""
DATABASE_ENDS = ("", "-wal", "-shm", "-journal")  # The files that SQLite makes of one.


def make_home(home: Path) -> None:
    """Make the folder, where it is missing; UVRError if that cannot be."""
    try:
        (home / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        why = "the disk is full" if full else error.strerror
        raise UVRError(f"Cannot make a registry at '{home}': {why}.") from error


def refuse_own_file(path: Path, home: Path, database: URL) -> None:
    """Refuse to write a file over the registry itself.

    Args:
        path: Where somebody wants to write; a link counts as what it leads to.
        home: The registry's folder.
        database: Its database.

    Raises:
        ConflictError: The file is the database, or in the folder of blobs, of indexes or of kept
            pictures.
    """
    place, home = path.resolve(), home.resolve()
    named = [home / DATABASE_FILE]  # One that is left from before PostgreSQL is no place either.
    if database.get_backend_name() == "sqlite" and database.database:
        named.append(Path(database.database).resolve())
    files = {file.with_name(file.name + end) for file in named for end in DATABASE_ENDS}
    own = ("blobs", "exemplars", "index")
    if place in files or any(place.is_relative_to(home / name) for name in own):
        raise ConflictError(f"'{path}' is a part of the registry. Name another place.")


def abandoned_in(home: Path) -> list[Path]:
    """Return the partial files that killed writers left in the folder, such as of a backup."""
    folders = (home, home / "blobs")
    return [path for folder in folders for path in abandoned(folder)]


def left_features(home: Path) -> list[Path]:
    """Return the files that collections left in the folder; none while one is under way."""
    folder = home / FEATURES
    if is_in_use(folder):
        return []
    return [path for path in sorted(folder.glob("*")) if path.is_file() and path.name != LOCK]


def left_tried(home: Path) -> list[Path]:
    """Return the files of what was tried in the folder, and of pictures given for that."""
    return [path for path in sorted((home / TRIED).rglob("*")) if path.is_file()]


def registry_id(engine: Engine) -> str | None:
    """Return the id of a database's registry; None where there is none, or none with an id."""
    with transaction(engine) as connection:
        if not inspect(connection).has_table(PolicyRow.__tablename__):
            return None
        return connection.scalar(select(PolicyRow.registry_id))


def bind_home(home: Path, registry_id: str) -> None:
    """Say whose the folder is."""
    if _owner(home) is None:
        write_file(home / MARK, registry_id.encode(), durable=True)


def require_home_of(home: Path, registry_id: str | None) -> None:
    """Check that the folder is this registry's, or nobody's; None is one that is still to be made.

    Raises:
        ConflictError: It belongs to another registry.
    """
    owner = _owner(home)
    if owner not in (None, registry_id):
        other = "holds none" if registry_id is None else f"holds registry {registry_id}"
        raise ConflictError(
            f"The folder '{home}' belongs to registry {owner}, but the database {other}. Name that "
            "registry's database with UVR_DATABASE_URL, or another folder with --home."
        )


def _owner(home: Path) -> str | None:
    try:
        return read_bytes(home / MARK).decode().strip()
    except FileNotFoundError:
        return None
