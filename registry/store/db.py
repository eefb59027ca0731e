"""Database access: where it is, how SQLite is set up, and transactions with named errors."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from platformdirs import user_data_path
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
)
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from concepts.errors import (
    BusyError,
    ConflictError,
    InputError,
    NotFoundError,
    SchemaError,
    UVRError,
    VerificationError,
)

HEAD = "0005"  # The newest migration; kept here so that a command need not import alembic.
VERSION_TABLE = "uvr_alembic_version"
DATABASE_FILE = "registry.db"
BUSY_SECONDS = 30
# All writers of one PostgreSQL database queue on this advisory lock, as they do on SQLite's.
WRITE_LOCK = 0x5556_5201
# Codes of errors: PostgreSQL's SQLSTATE, and SQLite's names, which may go on.
BUSY = ("55P03", "40001", "40P01", "SQLITE_BUSY", "SQLITE_LOCKED")
FULL = ("53100", "SQLITE_FULL")
# What SQLite also says of a full disk, where it is not its database that finds no room.
SQLITE_ON_FULL = ("SQLITE_IOERR", "SQLITE_CANTOPEN")
SHARED_BYTES = 64 << 10  # More than the first part of its file of shared memory.
CORRUPT = ("XX001", "XX002", "SQLITE_CORRUPT", "SQLITE_NOTADB")
UNDEFINED_TABLE = "42P01"

SQLITE_PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}",
    "PRAGMA foreign_keys = ON",
    # Without it, INSERT OR REPLACE deletes rows and walks around the triggers that forbid it.
    "PRAGMA recursive_triggers = ON",
    # What is forgotten is overwritten in the file.
    "PRAGMA secure_delete = ON",
)


def default_home() -> Path:
    """Return the registry's folder: ``UVR_HOME``, or where the system keeps a user's data."""
    if named := os.environ.get("UVR_HOME"):
        return Path(named)
    # Where every registry was up to 0.2; one that is there is not lost on another system, nor when
    # XDG_DATA_HOME names another folder.
    before = Path.home() / ".local" / "share" / "uvr"
    return before if before.exists() else user_data_path("uvr", appauthor=False)


def default_url() -> str | None:
    """Return ``UVR_DATABASE_URL``, or None for SQLite in the registry's folder."""
    return os.environ.get("UVR_DATABASE_URL") or None


def database_url(home: Path, url: str | None = None) -> str:
    """Return the URL to connect to: the one given, the environment's, or SQLite in the folder."""
    url = url or default_url() or f"sqlite:///{home / DATABASE_FILE}"
    for short in ("postgres://", "postgresql://"):
        if url.startswith(short):
            return f"postgresql+psycopg://{url.removeprefix(short)}"
    return url


def connect(url: str) -> Engine:
    """Make the engine for a URL; nothing is opened yet."""
    try:
        parsed = make_url(url)
        # One connection for each transaction: nothing is left open when a command ends.
        engine = create_engine(parsed, poolclass=NullPool)
    except ArgumentError as error:
        # Not chained and not quoted: the URL may hold a password.
        raise UVRError("The database URL cannot be read; expected dialect://...") from error
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise UVRError(f"No driver for the database '{parsed.drivername}'.") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def impatient(engine: Engine, seconds: float) -> Engine:
    """Return the same database, whose lock is waited for so long at most."""
    return engine.execution_options(uvr_wait=seconds)


def _configure_sqlite(connection: Any, _record: object) -> None:
    # None turns off the driver's own BEGIN, which is deferred; `_begin_sqlite` sends ours.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in SQLITE_PRAGMAS:
        cursor.execute(pragma)
    _use_write_ahead_log(cursor)
    cursor.close()


def _use_write_ahead_log(cursor: Any) -> None:
    # The switch, once in the life of a file, does not wait for the busy timeout.
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # A deferred BEGIN fails under concurrent read-then-write: writers take the lock at once.
    options = connection.get_execution_options()
    write = options.get("uvr_write")
    if (wait := options.get("uvr_wait")) is not None:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(wait * 1000)}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


@contextmanager
def transaction(engine: Engine, *, write: bool = False, keep: bool = True) -> Iterator[Connection]:
    """Open one transaction; a writer holds the registry's only write lock until it ends.

    Args:
        engine: The database.
        write: Whether it changes anything; a reader sees one snapshot.
        keep: False to roll back at the end, for a dry run.

    Raises:
        BusyError: If another process holds the lock for too long.
        ConflictError: If a row breaks a constraint.
        InputError: If the database cannot hold a value, such as a number that is too large.
        SchemaError: If the database has no registry.
        VerificationError: If the file is not a database.
        UVRError: For any other failure of the database, such as a full disk.
    """
    options: dict[str, Any] = {"uvr_write": write}
    postgres = engine.dialect.name == "postgresql"
    if postgres and write:
        # Whatever the server's default: a snapshot taken before the lock is held would be old.
        options["isolation_level"] = "READ COMMITTED"
    elif postgres:
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with (
        named_errors(engine),
        engine.connect().execution_options(**options) as connection,
        connection.begin() as begun,
    ):
        if write and postgres:
            wait = engine.get_execution_options().get("uvr_wait", BUSY_SECONDS)
            connection.execute(text(f"SET LOCAL lock_timeout = '{int(wait * 1000)}ms'"))
            connection.execute(text(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})"))
        yield connection
        if not keep:
            begun.rollback()


@contextmanager
def open_session(engine: Engine, *, write: bool = False, keep: bool = True) -> Iterator[Session]:
    """Open an ORM session inside one transaction; it is flushed before the commit."""
    with transaction(engine, write=write, keep=keep) as connection, Session(connection) as session:
        yield session
        if write:
            session.flush()


@contextmanager
def named_errors(engine: Engine) -> Iterator[None]:
    """Turn the database's errors into the project's, without statement or password."""
    try:
        yield
    except IntegrityError as error:
        raise ConflictError(f"The registry refused the change: {_cause(error)}.") from error
    except DataError as error:
        raise InputError(f"The registry cannot hold a value: {_cause(error)}.") from error
    except OverflowError as error:
        if "SQLite" not in str(error):
            raise
        raise InputError(f"The registry cannot hold a value: {error}.") from error
    except DBAPIError as error:
        raise _named(error, engine) from error


def _named(error: DBAPIError, engine: Engine) -> UVRError:
    where, cause = engine.url.render_as_string(hide_password=True), _cause(error)
    # Either may be there and None: a connection that was lost has no code.
    codes = (getattr(error.orig, name, None) for name in ("sqlstate", "sqlite_errorname"))
    code = next(filter(None, codes), "")
    if code.startswith(BUSY):
        return BusyError("Another process is writing to the registry. Try again in a moment.")
    if code.startswith(FULL) or (code.startswith(SQLITE_ON_FULL) and _has_no_room(engine)):
        return UVRError("The disk is full; the registry is unchanged. Free some space, try again.")
    if code.startswith(CORRUPT):
        return VerificationError(f"The database {where} is corrupt: {cause}.")
    # SQLite has no code of its own for it.
    if code == UNDEFINED_TABLE or "no such table" in cause:
        return SchemaError(f"The database {where} has no registry: {cause}.")
    return UVRError(f"The database {where} failed: {cause}.")


def _has_no_room(engine: Engine) -> bool:
    """Whether the disk of SQLite's file has no room for the file that it shares with others."""
    try:
        found = os.statvfs(Path(str(engine.url.database)).parent)
    except OSError:
        return False
    no_files = found.f_files > 0 and found.f_favail == 0
    return no_files or found.f_bavail * found.f_frsize < SHARED_BYTES


def _cause(error: DBAPIError) -> str:
    return str(error.orig).strip().splitlines()[0].rstrip(".") if str(error.orig).strip() else "?"


def require_head(engine: Engine, home: Path) -> None:
    """Check that the database exists and has the schema of this program.

    Raises:
        NotFoundError: If there is no registry.
        SchemaError: If its schema is older or newer.
    """
    missing = NotFoundError(f"No registry at '{home}'. Run `uvr-registry init` to make one.")
    if engine.dialect.name == "sqlite" and not _sqlite_file_exists(engine):
        raise missing
    with transaction(engine) as connection:
        if not inspect(connection).has_table(VERSION_TABLE):
            raise missing
        revisions = (
            connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars().all()
        )
    if list(revisions) != [HEAD]:
        raise SchemaError(
            f"The registry at '{home}' has schema {', '.join(revisions) or 'none'}, this program "
            f"works with {HEAD}. Run `uvr-registry init` to migrate it, or use the program's "
            "newer release."
        )


def _sqlite_file_exists(engine: Engine) -> bool:
    # Connecting would make an empty file.
    name = engine.url.database
    return bool(name) and (name == ":memory:" or Path(str(name)).is_file())
