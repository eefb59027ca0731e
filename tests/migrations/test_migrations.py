import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from concepts.errors import PolicyError
from migrations import triggers
from migrations.versions.r0002_registry_in_full import GUARDS
from registry import db, migrate
from registry.chain import check_chain
from registry.db import connect, database_url, session, transaction
from registry.models import Base, ConceptVersion, Release

TIMES = "'2025-01-01T00:00:00.000000Z', 'ann'"
REFUSED = r"append-only|refuses this change"
AT = "'2025-01-01T00:00:00.000000Z'"
OLD_ROWS = [  # as schema 0001 held them
    f"INSERT INTO concept VALUES (1, 'a', 'A', 'object', '{{}}', 'd', {TIMES})",
    "INSERT INTO anchor_space VALUES (1, 'd', '{}', 'm', 't2i', 3)",
    f"INSERT INTO anchor_set VALUES (1, 1, 'd', 'b', 2, 2, {TIMES})",
    f"INSERT INTO concept_version VALUES (1, 1, 1, 'draft', '{{}}', 'd', {TIMES})",
    f"INSERT INTO concept_version VALUES (2, 1, 2, 'draft', '{{}}', 'e', {TIMES})",
    "INSERT INTO version_anchors VALUES (1, 1, 1, '{}', 'b', 'd')",
    f"INSERT INTO bundle VALUES (1, 'a', {TIMES})",
    f"INSERT INTO release VALUES (1, 1, 1, 'l', 'd', {TIMES})",
    "INSERT INTO release_member VALUES (1, 1, 1, 'enforce')",
]


def row(table, columns, values):
    columns = columns.replace("BY", "created_at, created_by")
    return f"INSERT INTO {table} ({columns}) VALUES ({values})"


ROWS = [  # a row of every guarded table
    row("concept", "id, slug, name, category, definition, definition_digest, BY",
        f"1, 'a', 'A', 'object', '{{}}', 'd', {TIMES}"),
    row("anchor_space", "id, digest, document, model, task, dim", "1, 'd', '{}', 'm', 't2i', 3"),
    row("anchor_set", "id, space_id, digest, blob, anchors, counter_anchors, BY",
        f"1, 1, 'd', 'b', 2, 2, {TIMES}"),
    row("concept_version", "id, concept_id, number, state, definition, content_digest, BY",
        f"1, 1, 1, 'draft', '{{}}', 'd', {TIMES}"),
    row("version_anchors", "version_id, space_id, anchor_set_id, scorer, scorer_blob, "
        "scorer_digest", "1, 1, 1, '{}', 'b', 'd'"),
    row("source_ref", "id, anchor_set_id, sha256, origin, legal_basis, BY",
        f"1, 1, 's', 'o', 'l', {TIMES}"),
    row("change_request", "id, version_id, content_digest, state, note, opened_at, opened_by",
        f"1, 1, 'd', 'open', '', {TIMES}"),
    row("review", "id, change_request_id, content_digest, reviewer, decision, "
        "break_glass, reason, at", f"1, 1, 'd', 'ann', 'approve', false, '', {AT}"),
    row("bundle", "id, name, BY", f"1, 'a', {TIMES}"),
    row("release", "id, bundle_id, sequence, lock_digest, bundle_digest, BY",
        f"1, 1, 1, 'l', 'd', {TIMES}"),
    row("release_member", "release_id, concept_id, version_id, mode, thresholds",
        "1, 1, 1, 'enforce', '{}'"),
    row("release_revocation", "release_id, content_digest", "1, 'd'"),
    row("channel", "id, name, bundle_id, BY", f"1, 'prod', 1, {TIMES}"),
    row("channel_move", 'id, channel_id, number, release_id, reason, at, "by"',
        f"1, 1, 1, 1, '', {TIMES}"),
    row("signing_key", "id, key_id, name, pem, BY", f"1, 'k', 'k', 'p', {TIMES}"),
    row("key_list", "version, envelope, BY", f"1, '{{}}', {TIMES}"),
    row("signature", 'release_id, key_id, value, at, "by"', f"1, 'k', 'v', {TIMES}"),
    row("audit_event", "number, at, actor, action, subject, details, prev_digest, digest",
        "1, 't', 'ann', 'x', 's', '{}', 'p', 'd'"),
    row("audit_checkpoint", "id, event_number, event_digest, envelope, BY",
        f"1, 1, 'd', '{{}}', {TIMES}"),
]  # fmt: skip
APPEND_ONLY = {
    "anchor_space": "dim", "anchor_set": "anchors", "review": "reviewer", "bundle": "name",
    "release": "sequence", "release_member": "mode", "release_revocation": "content_digest",
    "channel": "name", "channel_move": "reason", "signing_key": "pem", "key_list": "envelope",
    "signature": "value", "audit_event": "actor", "audit_checkpoint": "envelope",
}  # fmt: skip
GUARDED = {*APPEND_ONLY, "concept_version", "version_anchors", "change_request", "source_ref"}


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
                sorted(column["name"] for column in found.get_columns(name)),
                found.get_pk_constraint(name)["name"],
                sorted(item["name"] for item in found.get_unique_constraints(name)),
                sorted(item["name"] for item in found.get_foreign_keys(name)),
                sorted(item["name"] for item in found.get_check_constraints(name)),
            )
            for name in found.get_table_names()
            if name != db.VERSION_TABLE
        }


def trigger_names(engine):
    with transaction(engine) as connection:
        return triggers.installed(connection)


def refused(engine, statement, match=REFUSED):
    with pytest.raises(IntegrityError, match=match), engine.connect() as connection:
        connection.execute(text(statement))


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


def test_every_guarded_table_has_its_triggers(engine):
    migrate.upgrade(engine)
    assert {guard.table for guard in GUARDS} == GUARDED
    assert trigger_names(engine) == triggers.names(GUARDS, engine.dialect.name)


@pytest.mark.parametrize(("table", "column"), APPEND_ONLY.items(), ids=list(APPEND_ONLY))
def test_rows_neither_change_nor_go(filled, table, column):
    refused(filled, f"UPDATE {table} SET {column} = {column}", "append-only")
    refused(filled, f"DELETE FROM {table}", "append-only")
    if filled.dialect.name == "postgresql":
        refused(filled, f"TRUNCATE {table} CASCADE", REFUSED)


def change(engine, statement):
    with transaction(engine, write=True) as connection:
        connection.execute(text(statement))


def test_a_draft_may_change_and_nothing_else(filled):
    change(filled, "UPDATE concept_version SET content_digest = 'new'")
    change(filled, "UPDATE concept_version SET state = 'in_review'")
    for statement in (
        "UPDATE concept_version SET content_digest = 'other'",
        "UPDATE concept_version SET state = 'draft', definition = '[]'",
        "UPDATE concept_version SET number = 7",
        "DELETE FROM version_anchors",
        "INSERT INTO version_anchors VALUES (1, 2, 1, '{}', 'b', 'd')",
        "DELETE FROM concept_version",
    ):
        refused(filled, statement)


@pytest.mark.parametrize("jump", ["approved", "deprecated", "revoked"])
def test_states_are_not_skipped(filled, jump):
    refused(filled, f"UPDATE concept_version SET state = '{jump}'")
    refused(
        filled,
        "INSERT INTO concept_version (id, concept_id, number, state, definition, content_digest, "
        f"created_at, created_by) VALUES (9, 1, 9, '{jump}', '{{}}', 'z', {TIMES})",
    )


def test_a_revoked_version_stays_revoked(filled):
    for state in ("in_review", "approved", "revoked"):
        change(filled, f"UPDATE concept_version SET state = '{state}'")
    for state in ("draft", "in_review", "approved", "deprecated"):
        refused(filled, f"UPDATE concept_version SET state = '{state}'")


def test_a_reference_may_be_forgotten_but_not_rewritten(filled):
    refused(filled, "UPDATE source_ref SET origin = 'other'")
    change(filled, "DELETE FROM source_ref")


def test_a_closed_request_stays_closed(filled):
    refused(filled, "UPDATE change_request SET content_digest = 'other'")
    change(filled, "UPDATE change_request SET state = 'approved'")
    refused(filled, "UPDATE change_request SET state = 'open'")


def test_what_was_released_before_reviews_counts_as_approved(engine):
    migrate.upgrade(engine, "0001")
    for statement in OLD_ROWS:
        change(engine, statement)
    migrate.upgrade(engine)
    with transaction(engine) as connection:
        states = connection.execute(
            text("SELECT state, authors FROM concept_version ORDER BY number")
        ).all()
        (event,) = connection.execute(text("SELECT action, details FROM audit_event")).all()
        member = connection.execute(text("SELECT mode, thresholds FROM release_member")).one()
    assert [tuple(row) for row in states] == [("approved", '["ann"]'), ("draft", '["ann"]')]
    assert tuple(event) == ("schema.migrate", '{"approved_since_released":1}')
    assert tuple(member) == ("enforce", "{}")
    with session(engine) as opened:
        check_chain(opened)


def test_down_to_the_first_schema_and_up_keeps_the_rows(filled):
    before = trigger_names(filled)
    migrate.downgrade(filled, "0001")
    refused(filled, "DELETE FROM release_member", "append-only")
    migrate.upgrade(filled)
    assert (migrate.differences(filled), trigger_names(filled)) == ([], before)
    with transaction(filled) as connection:
        assert connection.execute(text("SELECT count(*) FROM release_member")).scalar() == 1


@pytest.mark.parametrize("recursive", ["ON", "OFF"])
@pytest.mark.parametrize(
    "row",
    [r for r in ROWS if r.split()[2] in GUARDED],
    ids=sorted(GUARDED, key=[r.split()[2] for r in ROWS].index),
)
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
        with pytest.raises(Exception, match=REFUSED):
            raw.execute(replace)
        raw.close()


def edit_in_review(opened):
    opened.get(ConceptVersion, 1).state = "in_review"
    opened.flush()
    opened.get(ConceptVersion, 1).content_digest = "other"


def skip_review(opened):
    opened.get(ConceptVersion, 1).state = "approved"


def renumber(opened):
    opened.get(Release, 1).sequence = 2


def delete(opened):
    opened.delete(opened.get(Release, 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit_in_review, "is in_review: its content is fixed"),
        (skip_review, "never goes from draft to approved"),
        (renumber, "'release' never changes"),
        (delete, "'release' never changes"),
    ],
)
def test_the_orm_refuses_before_the_database(filled, change, message):
    with pytest.raises(PolicyError, match=message), session(filled, write=True) as opened:
        change(opened)


def test_migrating_from_another_folder(engine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    migrate.upgrade(engine)
    assert migrate.differences(engine) == []


def test_a_failed_migration_leaves_the_old_schema(engine, monkeypatch):
    def fail(_connection, _guards):
        raise RuntimeError("power cut")

    monkeypatch.setattr(triggers, "create", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        migrate.upgrade(engine)
    assert schema(engine) == {}
