"""Triggers that keep versions, reviews, releases and the audit trail as they were written.

SQLite's batch mode drops triggers silently and `alembic check` does not see them, so a revision
that touches guarded tables begins with `drop` and ends with `create` and its own list of guards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

FUNCTION = "uvr_refuse_change"


@dataclass(frozen=True)
class Guard:
    """One table's rules, as SQL conditions over OLD and NEW; empty means always.

    Attributes:
        table: The table.
        keys: Columns that identify a row, one string for each key.
        update: When an update is refused; None for never.
        delete: When a delete is refused.
        insert: When an insert is refused, beside that of a row whose key is taken.
    """

    table: str
    keys: tuple[str, ...]
    update: str | None = ""
    delete: str = ""
    insert: str = ""


def append_only(table: str, *keys: str) -> Guard:
    """No row of this table changes or goes."""
    return Guard(table, keys)


def changed(*columns: str) -> str:
    """Condition: one of the columns gets another value."""
    return " OR ".join(f"NEW.{name} IS DISTINCT FROM OLD.{name}" for name in columns)


def create(connection: Connection, guards: Sequence[Guard]) -> None:
    """Make the triggers of the guards."""
    statements = {"sqlite": _sqlite, "postgresql": _postgres}.get(connection.dialect.name)
    if statements is None:
        raise NotImplementedError(
            f"no triggers for {connection.dialect.name}: use SQLite or PostgreSQL"
        )
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(_FUNCTION_BODY)
    for guard in guards:
        for statement in statements(guard):
            connection.exec_driver_sql(statement)


def drop(connection: Connection) -> None:
    """Drop every trigger of this project, whichever revision made it."""
    if connection.dialect.name == "sqlite":
        for name, _ in installed(connection):
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        return
    for name, table in installed(connection):
        connection.exec_driver_sql(f"DROP TRIGGER {name} ON {table}")
    connection.exec_driver_sql(f"DROP FUNCTION IF EXISTS {FUNCTION}()")


def installed(connection: Connection) -> list[tuple[str, str]]:
    """Return name and table of the triggers that the database has, sorted."""
    if connection.dialect.name == "sqlite":
        query = "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'"
    else:
        query = (
            "SELECT tgname, relname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
            "WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace"
        )
    rows = connection.exec_driver_sql(query).all()
    return sorted((str(name), str(table)) for name, table in rows if str(name).startswith("uvr_"))


def names(guards: Sequence[Guard], dialect: str) -> list[tuple[str, str]]:
    """Return name and table of the triggers that the guards stand for, sorted."""
    third = "insert" if dialect == "sqlite" else "truncate"
    found = []
    for guard in guards:
        kinds = {"delete", third, *(["update"] if guard.update is not None else [])}
        if guard.insert:
            kinds.add("insert")
        found += [(f"uvr_{guard.table}_{kind}", guard.table) for kind in kinds]
    return sorted(found)


def _sqlite(guard: Guard) -> list[str]:
    table, refuse = guard.table, f"BEGIN SELECT RAISE(ABORT, '{_message(guard)}'); END"
    # INSERT OR REPLACE deletes the old row without its delete trigger unless the connection
    # asked for recursive triggers, which another program may not have.
    taken = [
        "EXISTS (SELECT 1 FROM {} WHERE {})".format(
            table, " AND ".join(f"{name} = NEW.{name}" for name in key.split(", "))
        )
        for key in guard.keys
    ]
    inserts = " OR ".join([*taken, *([f"({guard.insert})"] if guard.insert else [])])
    statements = [
        f"CREATE TRIGGER uvr_{table}_delete BEFORE DELETE ON {table} {_when(guard.delete)}{refuse}",
        f"CREATE TRIGGER uvr_{table}_insert BEFORE INSERT ON {table} WHEN {inserts} {refuse}",
    ]
    if guard.update is not None:
        when = _when(guard.update)
        statements.append(
            f"CREATE TRIGGER uvr_{table}_update BEFORE UPDATE ON {table} {when}{refuse}"
        )
    return statements


_FUNCTION_BODY = f"""
CREATE OR REPLACE FUNCTION {FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE refused boolean := true;
BEGIN
  IF TG_NARGS > 1 THEN
    EXECUTE 'SELECT ' || replace(replace(TG_ARGV[1], 'OLD.', '($1).'), 'NEW.', '($2).')
      INTO refused USING OLD, NEW;
  END IF;
  IF refused THEN
    RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN COALESCE(NEW, OLD);
END
$body$
"""


def _postgres(guard: Guard) -> list[str]:
    # The conditions may hold subqueries, which WHEN does not take here: the function asks them.
    table = guard.table
    statements = [
        _row_trigger(guard, "delete", guard.delete),
        f"CREATE TRIGGER uvr_{table}_truncate BEFORE TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {FUNCTION}('{_message(guard)}')",
    ]
    if guard.update is not None:
        statements.append(_row_trigger(guard, "update", guard.update))
    if guard.insert:
        statements.append(_row_trigger(guard, "insert", guard.insert))
    return statements


def _row_trigger(guard: Guard, kind: str, condition: str) -> str:
    arguments = f"'{_message(guard)}'"
    if condition:
        quoted = condition.replace("'", "''")
        arguments += f", '{quoted}'"
    return (
        f"CREATE TRIGGER uvr_{guard.table}_{kind} BEFORE {kind.upper()} ON {guard.table} "
        f"FOR EACH ROW EXECUTE FUNCTION {FUNCTION}({arguments})"
    )


def _when(condition: str) -> str:
    # SQLite knows IS DISTINCT FROM since 3.39 only; IS NOT means the same there.
    return f"WHEN {condition.replace('IS DISTINCT FROM', 'IS NOT')} " if condition else ""


def _message(guard: Guard) -> str:
    whole = not (guard.update or guard.delete or guard.insert) and guard.update is not None
    return f"{guard.table} is append-only" if whole else f"{guard.table} refuses this change"
