import contextlib
import json
import sqlite3

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import UniqueConstraint, inspect, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from concepts.digest import json_digest
from concepts.errors import PolicyError
from concepts.words import STATES
from migrations.versions import (
    r0001_first,
    r0002_registry_in_full,
    r0003_evaluations,
    r0004_jobs,
    r0005_kept_exemplars,
)
from registry import Registry
from registry.change.workspace import Workspace
from registry.store import db, guards, schema
from registry.store.db import connect, database_url, transaction
from registry.store.models import (
    APPEND_ONLY,
    MOVES,
    Base,
    ConceptVersion,
    Release,
    VersionAnchors,
)

AT = "2025-01-01T00:00:00.000000Z"
TIMES = f"'{AT}', 'ann'"
MADE = {"created_at": AT, "created_by": "ann"}
EVENT = {
    "number": 1, "at": AT, "actor": "ann", "action": "x", "subject": "s", "details": "{}",
    "prev_digest": "0" * 64,
}  # fmt: skip
# A registry of schema 0001: version 1 was released, version 2 was not.
OLD_ROWS = [
    f"INSERT INTO concept VALUES (1, 'a', 'A', 'object', '{{}}', 'd', {TIMES})",
    "INSERT INTO anchor_space VALUES (1, 'd', '{}', 'm', 't2i', 3)",
    f"INSERT INTO anchor_set VALUES (1, 1, 'd', 'b', 2, 2, {TIMES})",
    f"INSERT INTO concept_version VALUES (1, 1, 1, 'draft', '{{}}', 'd', {TIMES})",
    f"INSERT INTO concept_version VALUES (2, 1, 2, 'draft', '{{}}', 'e', {TIMES})",
    "INSERT INTO version_anchors VALUES (1, 1, 1, '{}', 'b', 'd')",
    f"INSERT INTO bundle VALUES (1, 'a', {TIMES})",
    f"INSERT INTO release VALUES (1, 1, 1, 'l', 'd', {TIMES})",
    "INSERT INTO release_member VALUES (1, 1, 1, 'enforce')",
    "INSERT INTO audit_event VALUES (1, '{at}', 'ann', 'x', 's', '{{}}', '{prev_digest}', "
    "'{digest}')".format(**EVENT, digest=json_digest(EVENT)),
]
# One row of each guarded table of the present schema.
ROWS = {
    "concept": {
        "id": 1, "slug": "a", "name": "A", "category": "object", "definition": "{}",
        "definition_digest": "d", **MADE,
    },
    "anchor_space": {
        "id": 1, "digest": "d", "document": "{}", "model": "m", "task": "t2i", "dim": 3,
    },
    "anchor_set": {
        "id": 1, "space_id": 1, "digest": "d", "blob": "b", "anchors": 2, "counter_anchors": 2,
        **MADE,
    },
    "source_ref": {
        "id": 1, "anchor_set_id": 1, "sha256": "d", "origin": "o", "legal_basis": "l", **MADE,
    },
    "kept_exemplar": {
        "id": 1, "concept_id": 1, "sha256": "d", "picture": "p", "bytes": 1, "benign": False,
        "origin": "o", "legal_basis": "l", "retain_until": AT, **MADE,
    },
    "concept_version": {
        "id": 1, "concept_id": 1, "number": 1, "state": "draft", "definition": "{}",
        "content_digest": "d", **MADE,
    },
    "evaluation": {
        "id": 1, "concept_id": 1, "content_digest": "d", "digest": "e", "document": "{}", **MADE,
    },
    "version_anchors": {
        "version_id": 1, "space_id": 1, "anchor_set_id": 1, "scorer": "{}", "scorer_blob": "b",
        "scorer_digest": "d",
    },
    "change_request": {
        "id": 1, "version_id": 1, "content_digest": "d", "state": "open", "note": "",
        "opened_at": AT, "opened_by": "ann",
    },
    "review": {
        "id": 1, "change_request_id": 1, "content_digest": "d", "reviewer": "bob",
        "decision": "approve", "break_glass": False, "reason": "", "at": AT,
    },
    "bundle": {"id": 1, "name": "a", **MADE},
    "release": {
        "id": 1, "bundle_id": 1, "sequence": 1, "lock_digest": "l", "bundle_digest": "d", **MADE,
    },
    "release_member": {
        "release_id": 1, "concept_id": 1, "version_id": 1, "mode": "enforce", "thresholds": "{}",
    },
    "release_revocation": {"release_id": 1, "content_digest": "d"},
    "channel": {"id": 1, "name": "prod", "bundle_id": 1, **MADE},
    "channel_move": {
        "id": 1, "channel_id": 1, "number": 1, "release_id": 1, "reason": "", "at": AT,
        "by": "ann",
    },
    "signing_key": {"id": 1, "key_id": "k", "name": "key", "pem": "p", **MADE},
    "key_list": {"version": 1, "envelope": "{}", **MADE},
    "signature": {"release_id": 1, "key_id": "k", "value": "ab", "at": AT, "by": "ann"},
    "job": {
        "id": 1, "kind": "calibrate", "arguments": "[]", "asked_at": AT, "asked_by": "ann",
        "state": "waiting", "attempts": 0, "done": 0, "total": 0, "message": "",
    },
    "audit_event": {**EVENT, "digest": json_digest(EVENT)},
    "audit_checkpoint": {
        "id": 1, "event_number": 1, "event_digest": "d", "envelope": "{}", **MADE,
    },
}  # fmt: skip
FIXED = sorted(table.__tablename__ for table in APPEND_ONLY)


def fill(engine):
    schema.upgrade(engine)
    with transaction(engine, write=True) as connection:
        for name, row in ROWS.items():
            connection.execute(Base.metadata.tables[name].insert().values(**row))
    return engine


@pytest.fixture
def filled(engine):
    return fill(engine)


@pytest.fixture
def filled_postgres(postgres_url):
    return fill(connect(database_url(None, postgres_url)))


@pytest.fixture
def old(engine):
    """A registry of schema 0001 that holds something."""
    schema.upgrade(engine, "0001")
    with transaction(engine, write=True) as connection:
        for row in OLD_ROWS:
            connection.execute(text(row))
    return engine


def tables(engine):
    with transaction(engine) as connection:
        found = inspect(connection)
        return {
            name: (
                sorted(column["name"] for column in found.get_columns(name)),
                found.get_pk_constraint(name)["name"],
                sorted(item["name"] for item in found.get_unique_constraints(name)),
                sorted(item["name"] for item in found.get_foreign_keys(name)),
                sorted(item["name"] for item in found.get_check_constraints(name)),
                sorted(item["name"] for item in found.get_indexes(name)),
            )
            for name in found.get_table_names()
            if name != db.VERSION_TABLE
        }


def content(engine):
    """Every row of every table as a mapping, in an order that an update does not change."""
    found = {}
    with transaction(engine) as connection:
        for name in set(inspect(connection).get_table_names()) - {db.VERSION_TABLE}:
            rows = connection.execute(text(f"SELECT * FROM {name}")).mappings()
            found[name] = sorted(
                (dict(row) for row in rows), key=lambda row: repr([*row.values()][:2])
            )
    return found


def installed(engine):
    with transaction(engine) as connection:
        return guards.installed(connection)


def refused(engine, statement, match, **values):
    with pytest.raises(IntegrityError, match=match), engine.begin() as connection:
        connection.execute(text(statement) if isinstance(statement, str) else statement, values)


def run(engine, *statements):
    with transaction(engine, write=True) as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_the_head_in_the_code_is_the_newest_script():
    assert ScriptDirectory.from_config(schema.config()).get_current_head() == db.HEAD


def test_upgraded_database_agrees_with_the_models(engine):
    schema.upgrade(engine)
    assert schema.differences(engine) == []


def test_migrated_and_created_schemas_have_the_same_names(engine):
    schema.upgrade(engine)
    migrated = tables(engine)
    schema.downgrade(engine, "base")
    with transaction(engine, write=True) as connection:
        Base.metadata.create_all(connection)
    assert tables(engine) == migrated


def test_down_to_base_leaves_nothing_and_up_again_agrees(engine):
    schema.upgrade(engine)
    made = installed(engine)
    schema.downgrade(engine, "base")
    assert tables(engine) == {}
    assert installed(engine) == {}
    schema.upgrade(engine)
    assert (schema.differences(engine), installed(engine)) == ([], made)


def test_each_schema_has_the_triggers_of_its_guards(engine):
    dialect = engine.dialect.name
    schema.upgrade(engine)
    newest = guards.definitions(r0005_kept_exemplars.GUARDS, dialect)
    assert installed(engine) == newest
    for number, revision in (
        ("0004", r0004_jobs), ("0003", r0003_evaluations), ("0002", r0002_registry_in_full),
        ("0001", r0001_first),
    ):  # fmt: skip
        schema.downgrade(engine, number)
        assert installed(engine) == guards.definitions(revision.GUARDS, dialect)
    schema.upgrade(engine)
    assert installed(engine) == newest


def test_the_database_guards_what_the_models_guard():
    guards = r0005_kept_exemplars.GUARDS
    fixed = {guard.table for guard in guards if guard.append_only}
    assert fixed == set(FIXED)
    others = {"concept_version", "version_anchors", "change_request", "source_ref",
              "kept_exemplar", "job"}  # fmt: skip
    assert {guard.table for guard in guards} == fixed | others == set(ROWS) - {"concept"}


def test_upgrading_twice_changes_nothing(filled):
    before = content(filled)
    schema.upgrade(filled)
    assert content(filled) == before


def test_an_old_registry_keeps_its_rows(old):
    before = content(old)
    schema.upgrade(old)
    after = content(old)
    for name, rows in before.items():
        kept = [{key: row[key] for key in rows[0]} for row in after[name]]
        if name == "concept_version":
            rows[0]["state"] = "approved"
        if name == "audit_event":
            kept = kept[: len(rows)]
        assert kept == rows, name
    assert [json.loads(row["authors"]) for row in after["concept_version"]] == [["ann"], ["ann"]]
    assert json.loads(after["concept"][0]["defined_by"]) == ["ann"]
    assert (after["release"][0]["format"], after["release"][0]["key_list"]) == (0, 0)
    assert schema.differences(old) == []


def test_what_was_released_counts_as_approved_and_one_event_says_so(old, tmp_path):
    schema.upgrade(old)
    registry = Registry(Workspace.of(tmp_path, old))
    assert [item.state for item in states(old)] == ["approved", "draft"]
    event = registry.audit.events()[-1]
    assert (event.number, event.action, event.subject) == (2, "schema.migrate", "0002")
    assert event.details == {"approved_since_released": 1}
    assert registry.audit.verify().events == 2
    assert registry.team.policy().approvals == 0


def states(engine):
    with transaction(engine) as connection:
        return connection.execute(text("SELECT state FROM concept_version ORDER BY id")).all()


def test_a_registry_without_releases_gets_no_event(engine):
    schema.upgrade(engine, "0001")
    run(engine, *OLD_ROWS[:5], OLD_ROWS[-1])
    schema.upgrade(engine)
    assert [row["number"] for row in content(engine)["audit_event"]] == [1]
    assert [item.state for item in states(engine)] == ["draft", "draft"]


def test_down_to_the_first_schema_and_up_again_keeps_what_both_know(filled):
    before = content(filled)
    schema.downgrade(filled, "0001")
    middle = content(filled)
    assert set(middle) == {statement.split()[2] for statement in OLD_ROWS}
    for name, rows in middle.items():
        assert rows == [{key: row[key] for key in rows[0]} for row in before[name]], name
    schema.upgrade(filled)
    assert schema.differences(filled) == []


def test_a_registry_of_the_schema_before_keeps_every_row_and_gets_no_event(filled):
    schema.downgrade(filled, "0002")
    before = content(filled)
    assert "evaluation" not in before
    schema.upgrade(filled)
    after = content(filled)
    assert [after.pop(name) for name in ("evaluation", "job", "kept_exemplar")] == [[], [], []]
    assert {row.pop("gate") for row in after["policy"]} == {None}
    assert {row.pop("evaluation") for row in after["review"]} == {None}
    assert after == before


def test_a_job_moves_until_it_has_ended_and_stays_what_it_was_asked_to_be(filled):
    for column in ("id", "kind", "arguments", "asked_at", "asked_by"):
        value = 7 if column == "id" else "'x'"
        refused(filled, f"UPDATE job SET {column} = {value}", "job refuses this change")
    run(filled, "UPDATE job SET state = 'running', done = 1", "UPDATE job SET state = 'done'")
    refused(filled, "UPDATE job SET state = 'waiting'", "job refuses this change")
    refused(filled, "DELETE FROM job", "job refuses this change")


def test_a_kept_picture_is_masked_left_out_and_forgotten_and_never_becomes_another(filled):
    for column in ("id", "concept_id", "sha256", "created_by"):
        value = 7 if column in ("id", "concept_id") else "'x'"
        refused(filled, f"UPDATE kept_exemplar SET {column} = {value}", "refuses this change")
    run(filled, "UPDATE kept_exemplar SET mask = 'm', excluded = 'blurred', benign = true",
        "DELETE FROM kept_exemplar")  # fmt: skip
    row = {name: value for name, value in ROWS["kept_exemplar"].items() if name != "id"}
    with transaction(filled, write=True) as connection:
        insert = Base.metadata.tables["kept_exemplar"].insert().values(**row)
        new = connection.execute(insert).inserted_primary_key
    if filled.dialect.name == "sqlite":  # PostgreSQL's sequence saw no number that was given.
        assert new == (2,)


@pytest.mark.parametrize("table", FIXED)
def test_rows_neither_change_nor_go(filled, table):
    for column in ROWS[table]:
        refused(filled, f'UPDATE {table} SET "{column}" = "{column}"', "append-only")
    refused(filled, f"DELETE FROM {table}", "append-only")
    if filled.dialect.name == "postgresql":
        refused(filled, f"TRUNCATE {table} CASCADE", "append-only")


def keys_of(table):
    """The columns of every unique key of a table, the primary key first."""
    found = Base.metadata.tables[table]
    unique = [item for item in found.constraints if isinstance(item, UniqueConstraint)]
    return [tuple(item.columns.keys()) for item in (found.primary_key, *unique)]


def other(table, step):
    """A row of a table that shares no key with the one of ``ROWS``; versions share a concept."""
    row = dict(ROWS[table])
    for column in {name for key in keys_of(table) for name in key} - {"concept_id"}:
        value = row[column]
        row[column] = not value if value is False else value + (step if value == 1 else "x" * step)
    return row


def write(connection, verb, table, row):
    names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
    connection.execute(f"{verb} INTO {table} ({names}) VALUES ({marks})", list(row.values()))


@pytest.fixture(scope="module")
def with_two_rows(tmp_path_factory):
    """A SQLite database with two rows of each guarded table; the first version is approved."""
    home = tmp_path_factory.mktemp("guarded")
    schema.upgrade(connect(f"sqlite:///{home / db.DATABASE_FILE}"))
    with contextlib.closing(sqlite3.connect(home / db.DATABASE_FILE)) as connection:
        for table, row in ROWS.items():
            write(connection, "INSERT", table, row)
            write(connection, "INSERT", table, other(table, 1))
        for state in ("in_review", "approved"):
            connection.execute("UPDATE concept_version SET state = ? WHERE id = 1", [state])
        connection.commit()
        yield connection


@pytest.mark.parametrize("guard", r0005_kept_exemplars.GUARDS, ids=lambda guard: guard.table)
def test_a_guard_knows_every_key_of_its_table(guard):
    assert {tuple(key.split(", ")) for key in guard.keys} == set(keys_of(guard.table))


@pytest.mark.parametrize("recursive", ["OFF", "ON"])  # OFF is the default of another program.
@pytest.mark.parametrize(
    ("table", "key"),
    [
        (guard.table, key)
        for guard in r0005_kept_exemplars.GUARDS
        for key in [("rowid",), *keys_of(guard.table)]
    ],
)
def test_no_row_gives_way_to_another_of_its_key_on_sqlite(with_two_rows, table, key, recursive):
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        with_two_rows.backup(connection)
        connection.execute(f"PRAGMA recursive_triggers = {recursive}")
        first = ROWS[table] | {"rowid": 1}
        query = f"SELECT rowid, * FROM {table} ORDER BY rowid"
        before = connection.execute(query).fetchall()
        second = before[1][0]
        # A row that could come in but for this key, which is the first one's.
        row = other(table, 2) | {name: first[name] for name in key}
        refusal = f"{table} (is append-only|refuses this change)"
        with pytest.raises(sqlite3.IntegrityError, match=refusal):
            write(connection, "INSERT OR REPLACE", table, row)
        values = ", ".join(f'"{name}" = :{name}' for name in key)
        update = f"UPDATE OR REPLACE {table} SET {values} WHERE rowid = :second"
        its = {**{name: first[name] for name in key}, "second": second}
        with pytest.raises(sqlite3.IntegrityError, match=refusal):
            connection.execute(update, its)
        assert connection.execute(query).fetchall() == before


def test_a_free_key_may_be_taken_on_sqlite(with_two_rows):
    # What the test before refuses is refused for its key alone.
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        with_two_rows.backup(connection)
        for table in ROWS:
            write(connection, "INSERT OR REPLACE", table, other(table, 2))
        connection.execute("UPDATE OR REPLACE concept_version SET content_digest = 'z' WHERE id=2")


ANCHORS_CHANGE = {
    "insert": Base.metadata.tables["version_anchors"].insert().values(**ROWS["version_anchors"]),
    "delete": text("DELETE FROM version_anchors"),
}
IN_REVIEW = text("UPDATE concept_version SET state = 'in_review'")
# What another program may put before the tables and operators that a trigger looks for.
STAND_INS = {
    "table": ["CREATE TEMP TABLE concept_version AS SELECT 1 AS id, 'draft' AS state"],
    "operator": [
        "CREATE FUNCTION never(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT false'",
        "CREATE OPERATOR <> (FUNCTION = never, LEFTARG = text, RIGHTARG = text)",
        "SELECT set_config('search_path', current_schema() || ', pg_catalog', true)",
    ],
}


@pytest.mark.parametrize("stand_in", list(STAND_INS))
@pytest.mark.parametrize("change", list(ANCHORS_CHANGE))
def test_what_a_trigger_asks_is_not_the_callers_to_replace(filled_postgres, change, stand_in):
    run(filled_postgres, "UPDATE concept_version SET state = 'in_review'")
    with filled_postgres.connect() as connection:
        for statement in STAND_INS[stand_in]:
            connection.execute(text(statement))
        with pytest.raises(IntegrityError, match="version_anchors refuses this change"):
            connection.execute(ANCHORS_CHANGE[change])


@pytest.mark.parametrize("change", list(ANCHORS_CHANGE))
def test_anchors_and_state_do_not_change_at_the_same_time(filled_postgres, change):
    if change == "insert":
        run(filled_postgres, "DELETE FROM version_anchors")
    changes = [ANCHORS_CHANGE[change], IN_REVIEW]
    for first, second in (changes, changes[::-1]):
        with filled_postgres.connect() as one, filled_postgres.connect() as two:
            one.execute(first)
            two.execute(text("SET LOCAL lock_timeout = '100ms'"))
            with pytest.raises(OperationalError, match="lock timeout"):
                two.execute(second)


def test_an_event_below_the_first_is_refused(filled):
    insert = Base.metadata.tables["audit_event"].insert()
    for number in (0, -7):
        row = {**ROWS["audit_event"], "number": number, "digest": "x", "prev_digest": "y"}
        refused(filled, insert.values(row), "audit_event is append-only")


def test_upgrading_at_head_makes_the_triggers_as_they_should_be(filled):
    before, rows = installed(filled), content(filled)
    on = "" if filled.dialect.name == "sqlite" else " ON release"
    run(filled, f"DROP TRIGGER uvr_release_update{on}", f"DROP TRIGGER uvr_release_delete{on}")
    assert installed(filled) != before
    schema.upgrade(filled)
    assert (installed(filled), content(filled)) == (before, rows)


def test_content_changes_only_while_a_version_is_a_draft(filled):
    edit = "UPDATE concept_version SET {} = 'x'"
    for column in ("definition", "content_digest", "authors"):
        run(filled, edit.format(column))
    run(filled, "UPDATE concept_version SET state = 'in_review'")
    for column in ("definition", "content_digest", "authors"):
        for also in ("", ", state = 'draft'"):
            statement = f"UPDATE concept_version SET {column} = 'y'{also}"
            refused(filled, statement, "refuses this change")
    run(filled, "UPDATE concept_version SET state = 'draft'")
    refused(
        filled, "UPDATE concept_version SET definition = 'y', state = 'in_review'",
        "refuses this change",
    )  # fmt: skip
    for column in ("id", "concept_id", "number"):
        refused(filled, f"UPDATE concept_version SET {column} = 2", "refuses this change")
    refused(filled, "DELETE FROM concept_version", "refuses this change")


def test_anchors_of_a_version_come_and_go_only_while_it_is_a_draft(filled):
    row = dict(ROWS["version_anchors"])
    insert = Base.metadata.tables["version_anchors"].insert().values(**row)
    refused(filled, "UPDATE version_anchors SET scorer = scorer", "refuses this change")
    with transaction(filled, write=True) as connection:
        connection.execute(text("DELETE FROM version_anchors"))
        connection.execute(insert)
    run(filled, "UPDATE concept_version SET state = 'in_review'")
    refused(filled, "DELETE FROM version_anchors", "refuses this change")
    other = (
        Base.metadata.tables["anchor_space"]
        .insert()
        .values(**ROWS["anchor_space"] | {"id": 2, "digest": "e"})
    )
    with transaction(filled, write=True) as connection:
        connection.execute(other)
    refused(filled, insert.values(space_id=2), "refuses this change")


@pytest.mark.parametrize("first", STATES)
def test_a_version_goes_only_where_the_machine_says(filled, first):
    way = {
        "draft": (), "in_review": ("in_review",), "approved": ("in_review", "approved"),
        "deprecated": ("in_review", "approved", "deprecated"), "revoked": ("in_review", "revoked"),
    }  # fmt: skip
    run(filled, *(f"UPDATE concept_version SET state = '{state}'" for state in way[first]))
    for second in STATES:
        statement = f"UPDATE concept_version SET state = '{second}'"
        if first == second or (first, second) in MOVES:
            with transaction(filled, write=True, keep=False) as connection:
                connection.execute(text(statement))
        else:
            refused(filled, statement, "refuses this change")


def test_a_version_begins_as_a_draft_in_a_known_state(filled):
    table = Base.metadata.tables["concept_version"]
    new = ROWS["concept_version"] | {"id": 2, "number": 2, "content_digest": "e"}
    for state in STATES[1:]:
        insert = table.insert().values(**new | {"state": state})
        refused(filled, insert, "refuses this change")
    refused(filled, "UPDATE concept_version SET state = 'published'", "state|refuses this change")


def test_a_closed_request_stays_as_it_was(filled):
    for column in ("version_id", "content_digest", "note", "opened_at", "opened_by"):
        value = 2 if column == "version_id" else "'x'"
        refused(filled, f"UPDATE change_request SET {column} = {value}", "refuses this change")
    run(
        filled,
        f"UPDATE change_request SET state = 'rejected', closed_by = 'bob', closed_at = '{AT}'",
    )
    refused(filled, "UPDATE change_request SET state = 'open'", "refuses this change")
    refused(filled, "UPDATE change_request SET closed_by = 'eve'", "refuses this change")
    refused(filled, "DELETE FROM change_request", "refuses this change")


def test_a_source_may_be_forgotten_and_not_rewritten(filled):
    refused(filled, "UPDATE source_ref SET origin = 'x'", "refuses this change")
    run(filled, "DELETE FROM source_ref")
    assert content(filled)["source_ref"] == []


def test_the_orm_refuses_before_the_database(filled):
    with Session(filled) as session:
        version = session.get(ConceptVersion, 1)
        version.definition = "other"
        session.flush()
        version.state = "in_review"
        session.flush()
        version.content_digest = "other"
        with pytest.raises(PolicyError, match="Version 1 is in_review: its content is fixed"):
            session.flush()
    with Session(filled) as session:
        session.get(ConceptVersion, 1).state = "approved"
        with pytest.raises(PolicyError, match="never goes from draft to approved"):
            session.flush()
    with Session(filled) as session:
        session.get(ConceptVersion, 1).number = 7
        with pytest.raises(PolicyError, match="number and origin of a version never change"):
            session.flush()
    with Session(filled) as session:
        session.get(VersionAnchors, (1, 1)).scorer = "other"
        with pytest.raises(PolicyError, match="A row of 'version_anchors' never changes"):
            session.flush()
    with Session(filled) as session:
        session.get(Release, 1).sequence = 2
        with pytest.raises(PolicyError, match="A row of 'release' never changes"):
            session.flush()
    for table in (ConceptVersion, Release):
        with Session(filled) as session:
            session.delete(session.get(table, 1))
            with pytest.raises(PolicyError, match="never changes"):
                session.flush()


def test_migrating_from_another_folder(engine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    schema.upgrade(engine)
    assert schema.differences(engine) == []


def test_a_failed_migration_leaves_the_old_schema(old, monkeypatch):
    before = tables(old), installed(old), content(old)

    def fail(*_arguments):
        raise RuntimeError("power cut")

    monkeypatch.setattr(guards, "create", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        schema.upgrade(old)
    assert (tables(old), installed(old), content(old)) == before
