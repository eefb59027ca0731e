import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from concepts.errors import PolicyError
from migrations import triggers
from registry import db, migrate
from registry.db import connect, database_url, session, transaction
from registry.models import Base, ConceptVersion, Release

TIMES = "'2025-01-01T00:00:00.000000Z', 'ann'"
ROWS = [
    f"INSERT INTO concept VALUES (1, 'a', 'A', 'object', '{{}}', 'd', {TIMES})",
    "INSERT INTO anchor_space VALUES (1, 'd', '{}', 'm', 't2i', 3)",
    f"INSERT INTO anchor_set VALUES (1, 1, 'd', 'b', 2, 2, {TIMES})",
    f"INSERT INTO concept_version VALUES (1, 1, 1, 'draft', '{{}}', 'd', {TIMES})",
    "INSERT INTO version_anchors VALUES (1, 1, 1, '{}', 'b', 'd')",
    f"INSERT INTO bundle VALUES (1, 'a', {TIMES})",
    f"INSERT INTO release VALUES (1, 1, 1, 'l', 'd', {TIMES})",
    "INSERT INTO release_member VALUES (1, 1, 1, 'enforce')",
    "INSERT INTO audit_event VALUES (1, 't', 'ann', 'x', 's', '{}', 'p', 'd')",
]
GUARDED = {
    "anchor_space": "dim", "anchor_set": "anchors", "concept_version": "number",
    "version_anchors": "scorer", "release": "sequence", "release_member": "mode",
    "audit_event": "actor",
}  # fmt: skip


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, tmp_path, monkeypatch):
    monkeypatch.delenv("UVR_DATABASE_URL", raising=False)
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    return connect(database_url(tmp_path, url))


@pytest.fixture
def filled(engine):
    migrate.upgrade(engine)
    with transaction(engine, write=True) as connection:
        for row in ROWS:
            connection.execute(text(row))
    return engine


def schema(engine):
    with transaction(engine) as connection:
        found = inspect(connection)
        return {
            name: (
                [column["name"] for column in found.get_columns(name)],
                found.get_pk_constraint(name)["name"],
                sorted(item["name"] for item in found.get_unique_constraints(name)),
                sorted(item["name"] for item in found.get_foreign_keys(name)),
                sorted(item["name"] for item in found.get_check_constraints(name)),
            )
            for name in found.get_table_names()
            if name != db.VERSION_TABLE
        }


def trigger_names(engine):
    query = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
        "postgresql": "SELECT tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
        "WHERE NOT tgisinternal AND c.relnamespace = current_schema()::regnamespace",
    }[engine.dialect.name]
    with transaction(engine) as connection:
        return sorted(connection.execute(text(query)).scalars())


def test_the_head_in_the_code_is_the_newest_script():
    assert migrate.head_revision() == db.HEAD


def test_upgraded_database_agrees_with_the_models(engine):
    migrate.upgrade(engine)
    assert migrate.differences(engine) == []


def test_migrated_and_created_schemas_have_the_same_names(engine):
    migrate.upgrade(engine)
    migrated = schema(engine)
    migrate.downgrade(engine, "base")
    with transaction(engine, write=True) as connection:
        Base.metadata.create_all(connection)
    assert schema(engine) == migrated


def test_down_to_base_leaves_nothing_and_up_again_agrees(engine):
    migrate.upgrade(engine)
    names = trigger_names(engine)
    migrate.downgrade(engine, "base")
    assert schema(engine) == {}
    assert trigger_names(engine) == []
    migrate.upgrade(engine)
    assert (migrate.differences(engine), trigger_names(engine)) == ([], names)


def test_upgrading_twice_changes_nothing(filled):
    migrate.upgrade(filled)
    with transaction(filled) as connection:
        assert connection.execute(text("SELECT count(*) FROM audit_event")).scalar() == 1


def test_every_guarded_table_has_three_triggers(engine):
    migrate.upgrade(engine)
    last = "insert" if engine.dialect.name == "sqlite" else "truncate"
    tables = (*triggers.APPEND_ONLY, "concept_version")
    assert set(tables) == set(GUARDED)
    assert trigger_names(engine) == sorted(
        f"uvr_{table}_{kind}" for table in tables for kind in ("update", "delete", last)
    )


@pytest.mark.parametrize(("table", "column"), GUARDED.items(), ids=list(GUARDED))
def test_rows_neither_change_nor_go(filled, table, column):
    statements = [f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"]
    if filled.dialect.name == "postgresql":
        statements.append(f"TRUNCATE {table} CASCADE")
    for statement in statements:
        with pytest.raises(IntegrityError, match="append-only"), filled.connect() as connection:
            connection.execute(text(statement))


def test_a_version_may_change_its_state_only(filled):
    with transaction(filled, write=True) as connection:
        connection.execute(text("UPDATE concept_version SET state = 'in_review'"))
    with pytest.raises(IntegrityError, match="state"), filled.connect() as connection:
        connection.execute(text("UPDATE concept_version SET state = 'published'"))


@pytest.mark.parametrize("recursive", ["ON", "OFF"])
@pytest.mark.parametrize("row", [r for r in ROWS if r.split()[2] in GUARDED])
def test_sqlite_rows_cannot_be_replaced(tmp_path, row, recursive):
    engine = connect(database_url(tmp_path))
    migrate.upgrade(engine)
    with transaction(engine, write=True) as connection:
        for statement in ROWS:
            connection.execute(text(statement))
    replace = row.replace("INSERT", "INSERT OR REPLACE", 1)
    # Another program has its own pragmas.
    with engine.connect() as connection:
        connection.rollback()
        raw = connection.connection.cursor()
        raw.execute(f"PRAGMA recursive_triggers = {recursive}")
        with pytest.raises(Exception, match="append-only"):
            raw.execute(replace)
        raw.close()


def test_the_orm_refuses_before_the_database(filled):
    with session(filled) as opened:
        opened.get(ConceptVersion, 1).state = "in_review"
        opened.flush()
        opened.get(ConceptVersion, 1).content_digest = "other"
        with pytest.raises(PolicyError, match="'concept_version' never changes"):
            opened.flush()
    with session(filled) as opened:
        opened.get(Release, 1).sequence = 2
        with pytest.raises(PolicyError, match="'release' never changes"):
            opened.flush()
    with session(filled) as opened:
        opened.delete(opened.get(Release, 1))
        with pytest.raises(PolicyError, match="'release' never changes"):
            opened.flush()


def test_migrating_from_another_folder(engine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    migrate.upgrade(engine)
    assert migrate.differences(engine) == []


def test_a_failed_migration_leaves_the_old_schema(engine, monkeypatch):
    def fail(_connection):
        raise RuntimeError("power cut")

    monkeypatch.setattr(triggers, "create", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        migrate.upgrade(engine)
    assert schema(engine) == {}
