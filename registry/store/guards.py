"""Triggers that keep versions, reviews, releases and the audit trail as they were written.

SQLite's batch mode drops triggers silently and `alembic check` does not see them, so a revision
that touches guarded tables begins with `drop` and ends with `create` and its own list of guards.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

PREFIX = "uvr_"  # Of the names of all triggers of this project.
FUNCTION = "uvr_refuse_change"
DISABLED = "disabled"

# Name and table of a trigger, and the statement that makes it.
Triggers = dict[tuple[str, str], str]


@dataclass(frozen=True)
class Guard:
    """One table's rules, as SQL conditions over OLD and NEW; empty means always.

    A subquery names its table as `SCHEMA.name`, or PostgreSQL would take the caller's temporary one
    of that name, and ends in `FOR SHARE`, so that nobody changes meanwhile what it looked at.

    Attributes:
        table: The table.
        keys: Columns that identify a row, one string for each key.
        update: When an update is refused.
        delete: When a delete is refused.
        insert: When an insert is refused, beside that of a row whose key is taken.
    """

    table: str
    keys: tuple[str, ...]
    update: str = ""
    delete: str = ""
    insert: str = ""

    @property
    def append_only(self) -> bool:
        """Whether no row ever changes or goes."""
        return self.update == self.delete == ""


def append_only(table: str, *keys: str, insert: str = "") -> Guard:
    """No row of this table changes or goes."""
    return Guard(table, keys, insert=insert)


def changed(*columns: str) -> str:
    """Condition: one of the columns gets another value."""
    return " OR ".join(f"NEW.{name} IS DISTINCT FROM OLD.{name}" for name in columns)


def create(connection: Connection, guards: Sequence[Guard]) -> None:
    """Make the triggers of the guards."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(
            f"CREATE OR REPLACE FUNCTION {FUNCTION}() RETURNS trigger LANGUAGE plpgsql "
            f"SET search_path = {_PATH} AS $body${_BODY}$body$"
        )
    for statement in definitions(guards, connection.dialect.name).values():
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


def definitions(guards: Sequence[Guard], dialect: str) -> Triggers:
    """Return the triggers that the guards stand for, as the database would list them."""
    statements = {"sqlite": _sqlite, "postgresql": _postgres}.get(dialect)
    if statements is None:
        raise NotImplementedError(f"no triggers for {dialect}: use SQLite or PostgreSQL")
    return {
        (f"{PREFIX}{guard.table}_{kind}", guard.table): statement
        for guard in guards
        for kind, statement in statements(guard).items()
    }


def installed(connection: Connection) -> Triggers:
    """Return the triggers that the database has; one that does not fire counts as disabled."""
    if connection.dialect.name == "sqlite":
        query = "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'"
    else:
        # O and A fire in ordinary sessions, D and R (replica) do not.
        query = (
            "SELECT tgname, relname, CASE WHEN tgenabled IN ('O', 'A') "
            f"THEN pg_get_triggerdef(pg_trigger.oid, true) ELSE '{DISABLED}' END "
            "FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
            "JOIN pg_namespace ON pg_namespace.oid = relnamespace "
            "WHERE NOT tgisinternal AND nspname = current_schema()"
        )
    rows = connection.exec_driver_sql(query).all()
    return {
        (str(name), str(table)): str(statement)
        for name, table, statement in rows
        if str(name).startswith(PREFIX)
    }


def differences(connection: Connection, guards: Sequence[Guard]) -> Iterator[str]:
    """Yield a sentence for each trigger that is not as the guards ask for."""
    expected, found = definitions(guards, connection.dialect.name), installed(connection)
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) == found.get(key):
            continue
        if key not in found:
            what = "is missing"
        elif key not in expected:
            what = "is not one of this program's"
        elif found[key] == DISABLED:
            what = "is disabled"
        else:
            what = "differs from this program's"
        yield f"The trigger {key[0]} of table '{key[1]}' {what}."
    if connection.dialect.name == "postgresql" and not _function_is_ours(connection):
        yield f"The function {FUNCTION}, which the triggers call, differs from this program's."


def _function_is_ours(connection: Connection) -> bool:
    query = (
        "SELECT prosrc, proconfig FROM pg_proc "
        "JOIN pg_namespace ON pg_namespace.oid = pronamespace "
        f"WHERE proname = '{FUNCTION}' AND pronargs = 0 AND nspname = current_schema()"
    )
    rows = connection.exec_driver_sql(query).all()
    return [tuple(row) for row in rows] == [(_BODY, [f"search_path={_PATH}"])]


def _sqlite(guard: Guard) -> dict[str, str]:
    # With OR REPLACE, an insert or update deletes the rows whose keys it takes, and the delete
    # trigger does not fire unless the connection asked for recursive triggers. So taken keys are
    # refused here, the rowid among them: another program may name it, whatever the primary key.
    keys = ("rowid", *guard.keys)
    insert = [_taken(guard.table, key) for key in keys] + _listed(guard.insert)
    others = [_taken(guard.table, key, " AND rowid <> OLD.rowid") for key in keys]
    update = [*_listed(guard.update), *others] if guard.update else []
    when = {"delete": _listed(guard.delete), "insert": insert, "update": update}
    return {kind: _sqlite_trigger(guard, kind, " OR ".join(when[kind])) for kind in when}


def _taken(table: str, key: str, besides: str = "") -> str:
    same = " AND ".join(f"{name} = NEW.{name}" for name in key.split(", "))
    return f"EXISTS (SELECT 1 FROM {table} WHERE {same}{besides})"


def _listed(condition: str) -> list[str]:
    return [f"({condition})"] if condition else []


def _sqlite_trigger(guard: Guard, kind: str, condition: str) -> str:
    # SQLite knows IS DISTINCT FROM since 3.39 only; IS NOT means the same there. A trigger looks
    # for tables in its own schema only, and a writer locks the whole file.
    for ours, its in (("IS DISTINCT FROM", "IS NOT"), ("SCHEMA.", ""), (" FOR SHARE", "")):
        condition = condition.replace(ours, its)
    return (
        f"CREATE TRIGGER {PREFIX}{guard.table}_{kind} BEFORE {kind.upper()} ON {guard.table} "
        f"{f'WHEN {condition} ' if condition else ''}"
        f"BEGIN SELECT RAISE(ABORT, '{_message(guard)}'); END"
    )


# No name of the caller's comes before the database's own, not even an operator.
_PATH = "pg_catalog, pg_temp"
_BODY = """
DECLARE refused boolean := true;
BEGIN
  IF TG_NARGS > 1 THEN
    EXECUTE 'SELECT ' || replace(
      replace(replace(TG_ARGV[1], 'OLD.', '($1).'), 'NEW.', '($2).'),
      'SCHEMA.', quote_ident(TG_TABLE_SCHEMA) || '.'
    ) INTO refused USING OLD, NEW;
  END IF;
  IF refused THEN
    RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN COALESCE(NEW, OLD);
END
"""


def _postgres(guard: Guard) -> dict[str, str]:
    # The conditions may hold subqueries, which WHEN does not take here: the function asks them.
    statements = {
        "delete": _postgres_trigger(guard, "delete", "ROW", guard.delete),
        "truncate": _postgres_trigger(guard, "truncate", "STATEMENT"),
        "update": _postgres_trigger(guard, "update", "ROW", guard.update),
    }
    if guard.insert:
        statements["insert"] = _postgres_trigger(guard, "insert", "ROW", guard.insert)
    return statements


def _postgres_trigger(guard: Guard, kind: str, each: str, condition: str = "") -> str:
    arguments = f"'{_message(guard)}'"
    if condition:
        quoted = condition.replace("'", "''")
        arguments += f", '{quoted}'"
    return (
        f"CREATE TRIGGER {PREFIX}{guard.table}_{kind} BEFORE {kind.upper()} ON {guard.table} "
        f"FOR EACH {each} EXECUTE FUNCTION {FUNCTION}({arguments})"
    )


def _message(guard: Guard) -> str:
    what = "is append-only" if guard.append_only else "refuses this change"
    return f"{guard.table} {what}"
