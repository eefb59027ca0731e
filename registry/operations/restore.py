"""Restore: a registry made again from a backup, in full and verified, or not at all."""

from __future__ import annotations

import json
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, func, inspect, select, text
from sqlalchemy.orm import Session

from concepts.canonical import strict_json
from concepts.digest import is_digest
from concepts.errors import ConflictError, VerificationError
from registry.audit.chain import Head, check_chain
from registry.change import event
from registry.change.clock import read_times
from registry.change.policy import policy_row
from registry.change.work import NewBlobs, kept_blobs
from registry.change.workspace import Workspace
from registry.jobs import close_open_jobs
from registry.operations.archive import (
    BATCH,
    MAX_LINE,
    Progress,
    open_entry,
    read_about,
    reading,
)
from registry.operations.doctor import content_problems
from registry.operations.gc import named_blobs
from registry.store.blobs import CHUNK, BlobStore
from registry.store.db import VERSION_TABLE, connect, database_url, transaction
from registry.store.home import bind_home, make_home, require_home_of
from registry.store.models import AuditEventRow, Base, KeptExemplarRow
from registry.versions.keeping import KEEP


def restore(
    path: Path,
    home: Path,
    url: str | None = None,
    *,
    actor: str = "uvr-registry",
    accept_problems: bool = False,
    progress: Progress | None = None,
) -> Workspace:
    """Make a registry from a backup; it is there in full, verified, or there is none.

    It keeps its id, so that its releases give the same bundle files, and its audit trail goes on
    with an event that records it.

    Args:
        path: The backup.
        home: Folder for blobs and index; it holds no registry yet.
        url: Database URL as in ``Registry.create``, of either kind; it holds no registry yet.
        actor: Who does it.
        accept_problems: Restore although the backup lists problems that the doctor found.
        progress: Called with the number of blobs written, and of all.

    Raises:
        NotFoundError: If there is no such backup.
        ConflictError: If there is a registry already, or the folder is another one's.
        SchemaError: If the backup is of another schema.
        VerificationError: If anything in it is damaged or missing, or it says itself that it has
            problems, which nobody accepted.
    """
    home = Path(home)
    with reading(Path(path)) as archive:
        about = read_about(archive)
        _refuse_problems(about["problems"], accept_problems)
        require_home_of(home, about["registry"])
        engine = connect(database_url(home, url))
        make_home(home)
        workspace = Workspace.of(home, engine)
        with transaction(engine, write=True) as connection:
            _refuse_existing(connection)
            _load_tables(connection, archive, about["tables"])
            with Session(connection) as session:
                at = read_times(session).at
                with kept_blobs(session, workspace.store) as blobs:
                    _load_blobs(session, blobs, archive, progress)
                    _verify(session, workspace.store, about)
                _continue_pictures(session)
                close_open_jobs(session, at)
                event.record(
                    session, "registry.restore", about["registry"], actor=actor,
                    at=at, events=about["events"], digest=about["digest"],
                )  # fmt: skip
    bind_home(home, about["registry"])
    return workspace


def _refuse_problems(problems: list[str], accept: bool) -> None:
    # Whoever can change the file can add to its list: that is for a person to judge.
    if problems and not accept:
        raise VerificationError(
            f"The backup says that the doctor found {len(problems)} problems in its registry, "
            f"first: {problems[0]} To restore it all the same, add --accept-problems."
        )


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
        count = _load_table(connection, archive, table)
        if count != counts[table.name]:
            raise VerificationError(
                f"The backup is corrupt: table '{table.name}' has {count} rows, not the "
                f"{counts[table.name]} it should have."
            )
    _continue_numbers(connection)
    guards.create(connection, newest_guards())


def _load_table(connection: Connection, archive: zipfile.ZipFile, table: Table) -> int:
    columns = set(table.columns.keys())
    count, rows = 0, []
    with open_entry(archive, f"tables/{table.name}.jsonl") as file:
        while line := file.readline(MAX_LINE + 1):
            row = strict_json(line, f"backup's table '{table.name}'")
            if not isinstance(row, dict) or set(row) != columns or len(line) > MAX_LINE:
                raise VerificationError(
                    f"The backup is corrupt: a row of table '{table.name}' cannot be read."
                )
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


def _continue_pictures(session: Session) -> None:
    """Let no picture have the number of one that was forgotten: the trail still names that."""
    query = select(AuditEventRow.details).where(AuditEventRow.action == KEEP)
    told = [number for details in session.scalars(query) for number in json.loads(details)["ids"]]
    if not told:
        return
    name = KeptExemplarRow.__tablename__
    if session.get_bind().dialect.name == "postgresql":
        sequence = func.pg_get_serial_sequence(f'"{name}"', "id")
        session.execute(select(func.setval(sequence, max(told))))
        return
    session.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": name})
    session.execute(text("INSERT INTO sqlite_sequence VALUES (:name, :last)"),
                    {"name": name, "last": max(told)})  # fmt: skip


def _load_blobs(
    session: Session, blobs: NewBlobs, archive: zipfile.ZipFile, progress: Progress | None
) -> None:
    digests = [name.removeprefix("blobs/") for name in archive.namelist() if name[:6] == "blobs/"]
    if set(digests) != named_blobs(session) or not all(map(is_digest, digests)):
        raise VerificationError("The backup is corrupt: its blobs are not those that rows name.")
    for done, digest in enumerate(digests, 1):
        with open_entry(archive, f"blobs/{digest}") as file:
            blobs.write(digest, iter(partial(file.read, CHUNK), b""))
        if progress:
            progress(done, len(digests))


def _verify(session: Session, store: BlobStore, about: dict[str, Any]) -> None:
    head = check_chain(session)
    if head != Head(about["events"], about["digest"], head.at):
        raise VerificationError("The backup is corrupt: its audit trail does not end as it says.")
    if policy_row(session).registry_id != about["registry"]:
        raise VerificationError("The backup is corrupt: it is of another registry than it says.")
    known = about["problems"]
    problems = [problem for problem in content_problems(session, store) if problem not in known]
    if problems:
        more = f" ({len(problems) - 1} more)" if problems[1:] else ""
        raise VerificationError(f"The backup is corrupt: {problems[0]}{more}")
