"""Triggers that keep versions, releases and the audit trail as they were written.

SQLite's batch mode drops triggers silently, so each revision that rebuilds a guarded table drops
and creates all of them through this module.
"""

from sqlalchemy import Connection

# Table: the columns that identify a row. No row of these changes or goes.
APPEND_ONLY = {
    "anchor_space": ("id", "digest"),
    "anchor_set": ("id", "blob"),
    "version_anchors": ("version_id, space_id",),
    "release": ("id", "bundle_id, sequence"),
    "release_member": ("release_id, concept_id",),
    "audit_event": ("number", "digest", "prev_digest"),
}
# Only the state of a version may change.
VERSION_KEYS = ("id", "concept_id, number", "concept_id, content_digest")
VERSION_CONTENT = (
    "id", "concept_id", "number", "definition", "content_digest", "created_at", "created_by",
)  # fmt: skip
FUNCTION = "uvr_refuse_change"


def create(connection: Connection) -> None:
    for statement in _statements(connection.dialect.name):
        connection.exec_driver_sql(statement)


def drop(connection: Connection) -> None:
    postgres = connection.dialect.name == "postgresql"
    for table in (*APPEND_ONLY, "concept_version"):
        for kind in ("update", "delete", "truncate" if postgres else "insert"):
            on = f" ON {table}" if postgres else ""
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS uvr_{table}_{kind}{on}")
    if postgres:
        connection.exec_driver_sql(f"DROP FUNCTION IF EXISTS {FUNCTION}()")


def _statements(dialect: str) -> list[str]:
    content = ", ".join(VERSION_CONTENT)
    if dialect == "sqlite":
        guarded = [_sqlite(table, "UPDATE", keys) for table, keys in APPEND_ONLY.items()]
        guarded.append(_sqlite("concept_version", f"UPDATE OF {content}", VERSION_KEYS))
        return [statement for group in guarded for statement in group]
    if dialect == "postgresql":
        guarded = [_postgres(table, "UPDATE") for table in APPEND_ONLY]
        guarded.append(_postgres("concept_version", f"UPDATE OF {content}"))
        return [_FUNCTION_BODY, *(statement for group in guarded for statement in group)]
    raise NotImplementedError(f"no triggers for {dialect}: use SQLite or PostgreSQL")


def _sqlite(table: str, update: str, keys: tuple[str, ...]) -> list[str]:
    refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    # INSERT OR REPLACE deletes the old row without its delete trigger unless the connection
    # asked for recursive triggers, which another program may not have.
    taken = " OR ".join(
        "EXISTS (SELECT 1 FROM {} WHERE {})".format(
            table, " AND ".join(f"{name} = NEW.{name}" for name in key.split(", "))
        )
        for key in keys
    )
    return [
        f"CREATE TRIGGER uvr_{table}_update BEFORE {update} ON {table} {refuse}",
        f"CREATE TRIGGER uvr_{table}_delete BEFORE DELETE ON {table} {refuse}",
        f"CREATE TRIGGER uvr_{table}_insert BEFORE INSERT ON {table} WHEN {taken} {refuse}",
    ]


_FUNCTION_BODY = f"""
CREATE FUNCTION {FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
  RAISE EXCEPTION USING
    MESSAGE = TG_TABLE_NAME || ' is append-only', ERRCODE = 'integrity_constraint_violation';
END
$body$
"""


def _postgres(table: str, update: str) -> list[str]:
    call = f"EXECUTE FUNCTION {FUNCTION}()"
    return [
        f"CREATE TRIGGER uvr_{table}_update BEFORE {update} ON {table} FOR EACH ROW {call}",
        f"CREATE TRIGGER uvr_{table}_delete BEFORE DELETE ON {table} FOR EACH ROW {call}",
        f"CREATE TRIGGER uvr_{table}_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {call}",
    ]
