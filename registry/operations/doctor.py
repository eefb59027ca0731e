"""Doctor: whether a registry is consistent, in all its parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from concepts.errors import UVRError
from concepts.instant import now
from registry.change.clock import clock_doubt
from registry.change.workspace import Workspace
from registry.operations import checks, measured, rows
from registry.operations.gc import expired_rows, named_blobs
from registry.operations.index_files import damaged_indexes
from registry.store import tables
from registry.store.blobs import BlobStore
from registry.store.db import transaction
from registry.store.home import abandoned_in
from registry.store.pictures import named_pictures, picture_store, unnamed_pictures

OURS = "uvr-registry"
# What reading a row or a file raises that is not what the program wrote.
READING = (
    UVRError, SQLAlchemyError, ValueError, LookupError, TypeError, OSError, AttributeError,
    ArithmeticError, RecursionError,
)  # fmt: skip
NAMES = ("cli", "commands", "concepts", "migrations", "registry", "uvr")


@dataclass(frozen=True)
class Check:
    """One part that was looked at.

    Attributes:
        name: What.
        problems: What is wrong, a sentence each; none when all is well.
        notes: What is no fault, and worth knowing.
    """

    name: str
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems


@dataclass(frozen=True)
class Diagnosis:
    """What was found in all parts.

    Attributes:
        checks: The parts, in the order they were looked at.
        quick: Whether the bytes of blobs were left out.
    """

    checks: tuple[Check, ...]
    quick: bool

    @property
    def ok(self) -> bool:
        """Whether the registry is consistent."""
        return all(check.ok for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        listed = [{**asdict(check), "ok": check.ok} for check in self.checks]
        return {"ok": self.ok, "quick": self.quick, "checks": listed}


def diagnose(workspace: Workspace, *, quick: bool = False) -> Diagnosis:
    """Check a registry, in one snapshot; nothing is changed, and no finding raises.

    Args:
        workspace: The registry.
        quick: Look at rows and names only, not at the bytes of blobs and bundles.
    """
    results = [
        _check("database", partial(_database, workspace.engine)),
        _check("schema", partial(_schema, workspace.engine)),
        _check("triggers", partial(_triggers, workspace.engine)),
        _check("tables", partial(_tables, workspace.engine)),
    ]
    with workspace.read() as session:
        results += check_content(session, workspace.store, quick=quick)
        clock = _check("clock", partial(_clock, session))
        left = _check("", partial(_left_over, session, workspace))
        live = _check("", partial(checks.live_revoked, session, workspace.store))
    results.append(clock)
    results.append(Check("leftovers", notes=left.problems))
    results.append(Check("live", notes=live.problems))
    results.append(_check("index", partial(_indexes, workspace.home / "index")))
    results.append(_check("names", _clashes))
    return Diagnosis(tuple(results), quick)


def check_content(session: Session, store: BlobStore, *, quick: bool = False) -> list[Check]:
    """Check the rows of a session and the blobs that they name."""
    parts: dict[str, Callable[[Session, BlobStore], Iterable[str]]] = {
        "blobs": checks.blobs,
        **({} if quick else {"values": rows.check}),
        **({} if quick else {"anchors": checks.anchors, "scorers": checks.scorers}),
        "spaces": checks.spaces,
        "versions": checks.versions,
        "evaluations": measured.check,
        "reviews": checks.reviews,
        "keys": checks.keys,
        "releases": partial(checks.releases, quick=quick),
        "channels": checks.channels,
        "audit": checks.trail,
        "rows": checks.rows,
    }
    return [_check(name, partial(part, session, store)) for name, part in parts.items()]


def content_problems(session: Session, store: BlobStore) -> tuple[str, ...]:
    """Return what is wrong with the rows of a session and the blobs that they name."""
    return tuple(line for check in check_content(session, store) for line in check.problems)


def _check(name: str, part: Callable[[], Iterable[str]]) -> Check:
    """Run one check; what it raises is a problem as well."""
    problems: list[str] = []
    try:
        problems.extend(part())
    except READING as error:
        problems.append(str(error).splitlines()[0] if str(error) else repr(error))
    return Check(name, tuple(problems))


def _database(engine: Engine) -> Iterator[str]:
    with transaction(engine) as connection:
        if engine.dialect.name == "postgresql":
            query = (
                "SELECT conname FROM pg_constraint "
                "JOIN pg_namespace ON pg_namespace.oid = connamespace "
                "WHERE NOT convalidated AND nspname = current_schema()"
            )
            for name in connection.execute(text(query)).scalars():
                yield f"The constraint '{name}' was never checked."
            return
        for line in connection.exec_driver_sql("PRAGMA integrity_check").scalars():
            if line != "ok":
                yield f"SQLite finds: {line}."
        for row in connection.exec_driver_sql("PRAGMA foreign_key_check"):
            yield f"A row of table '{row[0]}' refers to a missing row of table '{row[2]}'."


def _schema(engine: Engine) -> Iterator[str]:
    # Alembic takes half a second to import, which only this check should pay for.
    from registry.store.schema import differences  # noqa: PLC0415

    for difference in differences(engine):
        yield f"The schema differs from the program's: {difference}."


def _triggers(engine: Engine) -> Iterator[str]:
    from registry.store import guards  # noqa: PLC0415
    from registry.store.schema import newest_guards  # noqa: PLC0415

    with transaction(engine) as connection:
        for difference in guards.differences(connection, newest_guards()):
            yield f"{difference} `uvr-registry init` re-creates the triggers."


def _tables(engine: Engine) -> Iterator[str]:
    with transaction(engine) as connection:
        yield from tables.differences(connection)


def _clock(session: Session) -> Iterator[str]:
    doubt = clock_doubt(session)
    if doubt is not None:
        yield doubt


def _left_over(session: Session, workspace: Workspace) -> Iterator[str]:
    store, named = workspace.store, named_blobs(session)
    orphans = sum(digest not in named for digest in store.digests())
    if orphans:
        yield f"Blobs that no row names: {orphans}. `uvr-registry gc` deletes them."
    yield from _left_pictures(session, workspace.home)
    if files := store.temporaries() + abandoned_in(workspace.home):
        yield f"Unfinished files: {len(files)}. `uvr-registry doctor --repair` removes them."


def _left_pictures(session: Session, home: Path) -> Iterator[str]:
    """Tell of kept pictures that should be gone, and of those that should be there."""
    pictures = picture_store(home)
    if expired := len(expired_rows(session, now())):
        yield f"Kept pictures whose time is over: {expired}. `uvr-registry gc` deletes them."
    if files := len(unnamed_pictures(session, home) + pictures.temporaries()):
        yield f"Files of pictures that are no longer kept: {files}. `uvr-registry gc` deletes them."
    if missing := sum(digest not in pictures for digest in named_pictures(session)):
        yield (
            f"Files of kept pictures that are not here: {missing}. No backup holds them: keep the "
            "pictures again, or forget them."
        )


def _indexes(folder: Path) -> Iterator[str]:
    for error in damaged_indexes(folder):
        yield f"{error} It is rebuilt when it is needed; `doctor --repair` removes it."


def _clashes() -> Iterator[str]:
    packages = packages_distributions()
    for name in NAMES:
        others = sorted({other for other in packages.get(name, ()) if other.lower() != OURS})
        if others:
            yield (
                f"The package '{name}' is also installed by {', '.join(others)}, which overwrites "
                f"this program's. Uninstall that, then install {OURS} again."
            )
