"""What stands on a registry's tables and is not this program's, and which CHECKs are missing.

A trigger of any other name, a rule, a policy that hides rows or a child table can approve, change
or hide what the program writes and reads; a CHECK that is gone lets in what it never writes. The
triggers of this program are looked at by ``registry.store.guards``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlalchemy import CheckConstraint, Connection

from registry.store import guards
from registry.store.db import VERSION_TABLE
from registry.store.models import Base

TABLES = (*sorted(Base.metadata.tables), VERSION_TABLE)
Checks = dict[tuple[str, str], str]

# What PostgreSQL may have on a table, and how it is told; each query gives a table and a name.
_ADDITIONS = {
    "the trigger '{}', which is not this program's": (
        "SELECT relname, tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
        f"WHERE NOT tgisinternal AND NOT starts_with(tgname, '{guards.PREFIX}')"
    ),
    "the rule '{}', which is not this program's": (
        "SELECT relname, rulename FROM pg_rewrite JOIN pg_class ON pg_class.oid = ev_class "
        "WHERE true"
    ),
    "row security ({}), which may hide rows": (
        "SELECT relname, 'enabled' FROM pg_class WHERE (relrowsecurity OR relforcerowsecurity)"
    ),
    "the row policy '{}', which is not this program's": (
        "SELECT relname, polname FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid WHERE true"
    ),
    "the child table '{}', whose rows count as its own": (
        "SELECT relname, inhrelid::regclass::text FROM pg_inherits "
        "JOIN pg_class ON pg_class.oid = inhparent WHERE true"
    ),
    "the parent table '{}', which has its rows, too": (
        "SELECT relname, inhparent::regclass::text FROM pg_inherits "
        "JOIN pg_class ON pg_class.oid = inhrelid WHERE true"
    ),
}
_HERE = " AND relnamespace = current_schema()::regnamespace"
_CAST = re.compile(r"::[a-z]+( (varying|precision))?(\[\])?")
_CHECK = re.compile(r"(?:\bCONSTRAINT\s+(\S+)\s+)?\bCHECK\b[^(]*", re.IGNORECASE)
_QUOTED = re.compile(r"'[^']*'|[()]")


def differences(connection: Connection) -> Iterator[str]:
    """Yield a sentence for each thing on the tables that is not this program's, or is missing."""
    postgres = connection.dialect.name == "postgresql"
    yield from (_postgres if postgres else _sqlite)(connection)
    expected = expected_checks()
    found = _postgres_checks(connection) if postgres else _sqlite_checks(connection)
    for table, name in sorted(expected.keys() | found.keys()):
        if (table, name) not in found:
            yield f"Table '{table}' lacks the CHECK '{name}'. Restore a backup to a new database."
        elif (table, name) not in expected:
            yield f"Table '{table}' has the CHECK '{name}', which is not this program's."
        elif found[table, name] != expected[table, name]:
            yield f"The CHECK '{name}' of table '{table}' differs from this program's."


def expected_checks() -> Checks:
    """Return the CHECKs of this program's tables, as ``plain`` writes them."""
    return {
        (table.name, str(constraint.name)): plain(str(constraint.sqltext))
        for table in Base.metadata.sorted_tables
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }


def plain(condition: str) -> str:
    """Return a condition without what a database adds: casts, parentheses, spaces, ``ANY``."""
    bare = re.sub(r"[()\s]", "", _CAST.sub("", condition.replace("= ANY", "IN")))
    return re.sub(r"ARRAY\[(.*?)\]", r"\1", bare)


def _postgres(connection: Connection) -> Iterator[str]:
    for what, query in _ADDITIONS.items():
        for table, name in sorted(connection.exec_driver_sql(query + _HERE).all()):
            if table in TABLES:
                yield f"Table '{table}' has {what.format(name)}. See what it does, and drop it."


def _sqlite(connection: Connection) -> Iterator[str]:
    query = "SELECT tbl_name, name FROM sqlite_master WHERE type = 'trigger' ORDER BY 1, 2"
    for table, name in connection.exec_driver_sql(query):
        if not name.startswith(guards.PREFIX):
            yield (
                f"Table '{table}' has the trigger '{name}', which is not this program's. See what "
                "it does, and drop it."
            )


def _postgres_checks(connection: Connection) -> Checks:
    query = (
        "SELECT relname, conname, pg_get_constraintdef(pg_constraint.oid) FROM pg_constraint "
        "JOIN pg_class ON pg_class.oid = conrelid WHERE contype = 'c'" + _HERE
    )
    return {
        (table, name): plain(definition.removeprefix("CHECK "))
        for table, name, definition in connection.exec_driver_sql(query)
        if table in TABLES
    }


def _sqlite_checks(connection: Connection) -> Checks:
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'table'"
    return {
        (table, name): condition
        for table, statement in connection.exec_driver_sql(query)
        if table in TABLES
        for name, condition in _written_checks(statement)
    }


def _written_checks(statement: str) -> Iterator[tuple[str, str]]:
    """Yield name and condition of each CHECK in a CREATE TABLE; one without a name is its own."""
    for found in _CHECK.finditer(statement):
        condition = plain(_in_parentheses(statement[found.end() :]))
        yield found[1] or condition, condition


def _in_parentheses(text: str) -> str:
    """Return a text up to the parenthesis that closes its first."""
    depth = 0
    for found in _QUOTED.finditer(text):
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        if depth == 0:
            return text[: found.end()]
    return text
