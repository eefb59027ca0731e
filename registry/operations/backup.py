"""Backup and restore: the whole registry as one file, on either database.

The file is a ZIP archive without compression, written and read as a stream:

1. ``backup.json`` says which registry it is, which schema it has, how many rows each table has, and
   where the audit trail ends,
2. ``tables/<name>.jsonl`` holds the rows, one a line,
3. ``blobs/<digest>`` holds every blob that a row names.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, Table, func, inspect, select, text
from sqlalchemy.orm import Session

from concepts.canonical import canonical_json, strict_json
from concepts.digest import is_digest
from concepts.errors import ConflictError, NotFoundError, SchemaError, UVRError, VerificationError
from concepts.files import check_writable, replacing
from registry.audit.chain import Head, check_chain
from registry.change import event
from registry.change.work import NewBlobs, kept_blobs
from registry.operations.gc import named_blobs
from registry.registry import Registry
from registry.store.blobs import CHUNK, BlobStore
from registry.store.db import HEAD, VERSION_TABLE, connect, database_url, transaction
from registry.store.home import bind_home, make_home, require_home_of
from registry.store.models import Base
from registry.team import policy_row

FORMAT = "uvr-backup/1"
MAX_LINE = 64 << 20
MAX_ABOUT = MAX_LINE  # Each version may have its problem.
BATCH = 500
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class BackupInfo:
    """What a backup holds.

    Attributes:
        path: The file.
        registry: Id of the registry.
        schema: Schema of its database.
        tables: Number of rows by table.
        blobs: Number of blobs.
        events: Number of the newest audit event.
        digest: That event's digest.
        problems: What the doctor finds in it; a restored registry has the same.
    """

    path: str
    registry: str
    schema: str
    tables: dict[str, int]
    blobs: int
    events: int
    digest: str
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def backup(registry: Registry, path: Path, progress: Progress | None = None) -> BackupInfo:
    """Write one snapshot of a registry to a file; each blob is verified on its way.

    A registry that the doctor finds fault with is backed up all the same, and the file says so.

    Args:
        registry: Whose.
        path: The file; an older one is replaced once the new one is whole.
        progress: Called with the number of blobs written, and of all.

    Raises:
        VerificationError: If the audit chain is broken, or a blob is damaged or missing.
        ConflictError: If the file is a part of the registry itself.
        UVRError: If the file cannot be written.
    """
    path = Path(path)
    _refuse_own_files(registry, path)
    with _writing(path) as archive, registry.read() as session:
        blobs = sorted(named_blobs(session))
        info = _describe(session, registry.store, path, len(blobs))
        about = {"format": FORMAT, **info.to_dict()}
        del about["path"]
        with _entry(archive, "backup.json") as entry:
            entry.write(canonical_json(about))
        for table in Base.metadata.sorted_tables:
            with _entry(archive, f"tables/{table.name}.jsonl") as entry:
                for row in _rows(session, table):
                    entry.write(canonical_json(row) + b"\n")
        for done, digest in enumerate(blobs, 1):
            with _entry(archive, f"blobs/{digest}") as entry:
                for part in registry.store.read(digest):
                    entry.write(part)
            if progress:
                progress(done, len(blobs))
    return info


def restore(
    path: Path,
    home: Path,
    url: str | None = None,
    *,
    actor: str = "uvr-registry",
    accept_problems: bool = False,
    progress: Progress | None = None,
) -> Registry:
    """Make a registry from a backup; it is there in full, verified, or there is none.

    It keeps its id, so that its releases give the same bundle files, and its audit trail goes on
    with an event that tells of the restoring.

    Args:
        path: The backup.
        home: Folder for blobs and index; it holds no registry yet.
        url: Database URL as in ``Registry.create``, of either kind; it holds no registry yet.
        actor: Who does it.
        accept_problems: Restore also what the doctor found fault with when it was backed up.
        progress: Called with the number of blobs written, and of all.

    Raises:
        NotFoundError: If there is no such backup.
        ConflictError: If there is a registry already, or the folder is another one's.
        SchemaError: If the backup is of another schema.
        VerificationError: If anything in it is damaged or missing, or it says itself that it has
            problems, which nobody accepted.
    """
    home = Path(home)
    with _reading(Path(path)) as archive:
        about = _about(archive)
        _refuse_problems(about["problems"], accept_problems)
        require_home_of(home, about["registry"])
        engine = connect(database_url(home, url))
        make_home(home)
        registry = Registry(home, engine)
        with transaction(engine, write=True) as connection:
            _refuse_existing(connection)
            _load_tables(connection, archive, about["tables"])
            with Session(connection) as session:
                with kept_blobs(session, registry.store) as blobs:
                    _load_blobs(session, blobs, archive, progress)
                    _verify(session, registry.store, about)
                event.record(
                    session, "registry.restore", about["registry"], actor=actor,
                    at=event.clock(session), events=about["events"], digest=about["digest"],
                )  # fmt: skip
    bind_home(home, about["registry"])
    return registry


def _refuse_problems(problems: list[str], accept: bool) -> None:
    # Whoever can change the file can add to its list: that is for a person to judge.
    if problems and not accept:
        raise VerificationError(
            f"The backup says that the doctor found {len(problems)} problems in its registry, "
            f"first: {problems[0]} Restore them too with --accept-problems."
        )


def _refuse_own_files(registry: Registry, path: Path) -> None:
    """Refuse to write a backup over the registry that it is made of."""
    place, home = path.resolve(), registry.home.resolve()
    database = registry.engine.url.database if registry.engine.dialect.name == "sqlite" else None
    files = {Path(f"{database}{end}").resolve() for end in ("", "-wal", "-shm", "-journal")}
    inside = any(place.is_relative_to(home / folder) for folder in ("blobs", "index"))
    if inside or (database and place in files):
        raise ConflictError(f"'{path}' is a part of the registry. Back it up to another place.")


def _describe(session: Session, store: BlobStore, path: Path, blobs: int) -> BackupInfo:
    head = check_chain(session)
    counts = {
        table.name: session.execute(select(func.count()).select_from(table)).scalar_one()
        for table in Base.metadata.sorted_tables
    }
    registry_id = policy_row(session).registry_id
    found = _problems(session, store)
    return BackupInfo(str(path), registry_id, HEAD, counts, blobs, head.number, head.digest, found)


def _rows(session: Session, table: Table) -> Iterator[dict[str, Any]]:
    query = select(table).order_by(*table.primary_key.columns)
    for row in session.execute(query.execution_options(yield_per=BATCH)).mappings():
        yield dict(row)


@contextmanager
def _writing(path: Path) -> Iterator[zipfile.ZipFile]:
    """Write an archive beside its place, and put it there once it is whole and on disk."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise UVRError(f"'{path}' is no file: a backup is put in its place in one step.")
    try:
        check_writable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            replacing(path, durable=True) as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
        ):
            yield archive
    except OSError as error:
        raise UVRError(f"Cannot write the backup '{path}': {error.strerror or error}.") from error


@contextmanager
def _entry(archive: zipfile.ZipFile, name: str) -> Iterator[IO[bytes]]:
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o600 << 16
    with archive.open(entry, "w", force_zip64=True) as file:
        yield file


@contextmanager
def _reading(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a backup; whatever is wrong with it is a VerificationError."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [item.filename for item in archive.infolist()]
            if len(set(names)) != len(names):
                raise VerificationError("The backup is corrupt: a file occurs twice in it.")
            if any(item.compress_type != zipfile.ZIP_STORED for item in archive.infolist()):
                raise VerificationError("The backup is corrupt: a file in it is compressed.")
            yield archive
    except FileNotFoundError as error:
        raise NotFoundError(f"No backup at '{path}'.") from error
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise VerificationError(f"The backup '{path}' is corrupt: {error}.") from error
    except OSError as error:
        raise VerificationError(f"'{path}' cannot be read: {error.strerror or error}.") from error


def _about(archive: zipfile.ZipFile) -> dict[str, Any]:
    if "backup.json" not in archive.namelist():
        raise VerificationError("This is not a backup: it has no backup.json.")
    with archive.open("backup.json") as file:
        about = strict_json(file.read(MAX_ABOUT), "backup's description")
    if isinstance(about, dict):
        about.setdefault("problems", [])  # Older ones have no such list.
    names = {"format", "registry", "schema", "tables", "blobs", "events", "digest", "problems"}
    if not isinstance(about, dict) or set(about) != names or about["format"] != FORMAT:
        raise VerificationError(f"This is not a backup of format '{FORMAT}'.")
    found = about["problems"]
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise VerificationError("The backup is corrupt: its problems are not a list of texts.")
    if about["schema"] != HEAD:
        raise SchemaError(
            f"The backup has schema {about['schema']}, this program works with {HEAD}. Restore it "
            "with the release of the program that made it, then migrate."
        )
    return about


def _refuse_existing(connection: Connection) -> None:
    # Under the write lock: another process may be making one right now.
    if inspect(connection).has_table(VERSION_TABLE):
        where = connection.engine.url.render_as_string(hide_password=True)
        raise ConflictError(f"There is a registry in {where} already. Restore to another place.")


def _load_tables(connection: Connection, archive: zipfile.ZipFile, counts: Any) -> None:
    # Alembic takes half a second to import, which only this command should pay for.
    from registry.store import guards  # noqa: PLC0415
    from registry.store.schema import create_schema, newest_guards  # noqa: PLC0415

    create_schema(connection)
    guards.drop(connection)  # They let no version come in that is not a draft.
    tables = Base.metadata.sorted_tables
    if not isinstance(counts, dict) or set(counts) != {table.name for table in tables}:
        raise VerificationError("The backup is corrupt: its tables are not those of its schema.")
    for table in reversed(tables):
        connection.execute(table.delete())  # what the migrations put there
    for table in tables:
        found = _load_table(connection, archive, table)
        if found != counts[table.name]:
            raise VerificationError(
                f"The backup is corrupt: table '{table.name}' has {found} rows, not the "
                f"{counts[table.name]} it should have."
            )
    _continue_numbers(connection)
    guards.create(connection, newest_guards())


def _load_table(connection: Connection, archive: zipfile.ZipFile, table: Table) -> int:
    columns = set(table.columns.keys())
    count, rows = 0, []
    with _open(archive, f"tables/{table.name}.jsonl") as file:
        while line := file.readline(MAX_LINE + 1):
            row = strict_json(line, f"backup's table '{table.name}'")
            if not isinstance(row, dict) or set(row) != columns or len(line) > MAX_LINE:
                raise VerificationError(f"The backup is corrupt: a row of '{table.name}' is not.")
            rows.append(row)
            count += 1
            if len(rows) == BATCH:
                connection.execute(table.insert(), rows)
                rows = []
    if rows:
        connection.execute(table.insert(), rows)
    return count


def _continue_numbers(connection: Connection) -> None:
    # PostgreSQL's sequences know nothing of rows that came with their ids.
    if connection.dialect.name != "postgresql":
        return
    for table in Base.metadata.sorted_tables:
        sequence = connection.scalar(
            select(func.pg_get_serial_sequence(f'"{table.name}"', "id"))
            if "id" in table.columns
            else text("SELECT NULL")
        )
        last = connection.scalar(select(func.max(table.c.id))) if sequence else None
        if last is not None:
            connection.execute(select(func.setval(sequence, last)))


def _load_blobs(
    session: Session, blobs: NewBlobs, archive: zipfile.ZipFile, progress: Progress | None
) -> None:
    held = [name.removeprefix("blobs/") for name in archive.namelist() if name[:6] == "blobs/"]
    if set(held) != named_blobs(session) or not all(map(is_digest, held)):
        raise VerificationError("The backup is corrupt: its blobs are not those that rows name.")
    for done, digest in enumerate(held, 1):
        with _open(archive, f"blobs/{digest}") as file:
            blobs.write(digest, iter(partial(file.read, CHUNK), b""))
        if progress:
            progress(done, len(held))


def _open(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    try:
        return archive.open(name)
    except KeyError as error:
        raise VerificationError(f"The backup is corrupt: it has no file '{name}'.") from error


def _verify(session: Session, store: BlobStore, about: dict[str, Any]) -> None:
    head = check_chain(session)
    if head != Head(about["events"], about["digest"], head.at):
        raise VerificationError("The backup is corrupt: its audit trail does not end as it says.")
    if policy_row(session).registry_id != about["registry"]:
        raise VerificationError("The backup is corrupt: it is of another registry than it says.")
    problems = [found for found in _problems(session, store) if found not in about["problems"]]
    if problems:
        more = f" ({len(problems) - 1} more)" if problems[1:] else ""
        raise VerificationError(f"The backup is corrupt: {problems[0]}{more}")


def _problems(session: Session, store: BlobStore) -> tuple[str, ...]:
    from registry.operations.doctor import check_content  # noqa: PLC0415 (its parts are needed here only)

    return tuple(line for check in check_content(session, store) for line in check.problems)
