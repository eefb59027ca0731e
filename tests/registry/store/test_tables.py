"""What stands on a registry's tables and is not this program's is named, and what is missing."""

from sqlalchemy import text

from registry.operations.doctor import diagnose
from registry.store import tables
from registry.store.db import transaction

SNEAKY = "UPDATE concept_version SET state = 'approved' WHERE state = 'in_review'"
NOT_OURS = "which is not this program's. See what it does, and drop it."
ON_SQLITE = [
    (
        [f"CREATE TRIGGER sneaky AFTER INSERT ON change_request BEGIN {SNEAKY}; END"],
        [f"Table 'change_request' has the trigger 'sneaky', {NOT_OURS}"],
    ),
    (
        [
            "CREATE TRIGGER a AFTER INSERT ON review BEGIN SELECT 1; END",
            "CREATE TRIGGER b AFTER UPDATE ON uvr_alembic_version BEGIN SELECT 1; END",
        ],
        [
            f"Table 'review' has the trigger 'a', {NOT_OURS}",
            f"Table 'uvr_alembic_version' has the trigger 'b', {NOT_OURS}",
        ],
    ),
    (
        [
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_master SET sql = replace(sql, 'approvals >= 0', 'approvals = 0') "
            "WHERE name = 'policy'",
            "UPDATE sqlite_master SET sql = replace(sql, "
            "'CONSTRAINT ck_review_decision CHECK (decision IN (''approve'', ''reject'')), ', '') "
            "WHERE name = 'review'",
            "UPDATE sqlite_master SET sql = replace(sql, 'roles TEXT', "
            "'roles TEXT CHECK (roles <> '')'')') WHERE name = 'actor'",
        ],
        [
            "Table 'actor' has the CHECK 'roles<>''', which is not this program's.",
            "The CHECK 'ck_policy_approvals' of table 'policy' differs from this program's.",
            "Table 'review' lacks the CHECK 'ck_review_decision'. Restore a backup to a new "
            "database.",
        ],
    ),
]
SNEAKY_FUNCTION = (
    "CREATE FUNCTION sneaky() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$BEGIN {SNEAKY}; RETURN NULL; END$$"
)
ON_POSTGRESQL = [
    (
        [
            SNEAKY_FUNCTION,
            "CREATE TRIGGER sneaky AFTER INSERT ON change_request EXECUTE FUNCTION sneaky()",
        ],
        [f"Table 'change_request' has the trigger 'sneaky', {NOT_OURS}"],
    ),
    (
        [
            SNEAKY_FUNCTION,
            "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON change_request DEFERRABLE "
            "INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sneaky()",
        ],
        [f"Table 'change_request' has the trigger 'late', {NOT_OURS}"],
    ),
    (
        ["CREATE RULE deaf AS ON INSERT TO audit_event DO INSTEAD NOTHING"],
        [f"Table 'audit_event' has the rule 'deaf', {NOT_OURS}"],
    ),
    (
        [
            "CREATE POLICY hidden ON actor USING (false)",
            "ALTER TABLE actor ENABLE ROW LEVEL SECURITY",
        ],
        [
            "Table 'actor' has row security (enabled), which may hide rows. See what it does, and "
            "drop it.",
            f"Table 'actor' has the row policy 'hidden', {NOT_OURS}",
        ],
    ),
    (
        ["CREATE TABLE more () INHERITS (review)", "CREATE TABLE all_keys (key_id varchar(64))"],
        [
            "Table 'review' has the child table 'more', whose rows count as its own. See what it "
            "does, and drop it.",
        ],
    ),
    (
        [
            "CREATE TABLE parent (name varchar(128) NOT NULL)",
            "ALTER TABLE actor INHERIT parent",
        ],
        [
            "Table 'actor' has the parent table 'parent', which has its rows, too. See what it "
            "does, and drop it.",
        ],
    ),
    (
        [
            "ALTER TABLE policy DROP CONSTRAINT ck_policy_approvals, "
            "ADD CONSTRAINT ck_policy_approvals CHECK (approvals = 0)",
            "ALTER TABLE review DROP CONSTRAINT ck_review_decision",
            "ALTER TABLE actor ADD CONSTRAINT only_eve CHECK (name = 'eve')",
        ],
        [
            "Table 'actor' has the CHECK 'only_eve', which is not this program's.",
            "The CHECK 'ck_policy_approvals' of table 'policy' differs from this program's.",
            "Table 'review' lacks the CHECK 'ck_review_decision'. Restore a backup to a new "
            "database.",
        ],
    ),
]  # fmt: skip


def found_after(registry, *statements):
    """Return what is found after statements that are then taken back."""
    engine = registry.workspace.engine
    with transaction(engine, write=True, keep=False) as connection:
        for statement in statements:
            connection.execute(text(statement))
        return list(tables.differences(connection))


def test_nothing_is_found_on_the_tables_of_a_new_registry(registry):
    assert found_after(registry) == []


def test_what_is_not_this_programs_on_its_tables_is_named(registry):
    postgres = registry.workspace.engine.dialect.name == "postgresql"
    for statements, expected in ON_POSTGRESQL if postgres else ON_SQLITE:
        assert found_after(registry, *statements) == expected


def test_the_doctor_looks_at_the_tables(registry):
    with transaction(registry.workspace.engine, write=True) as connection:
        dialect = registry.workspace.engine.dialect.name
        (first, *_) = ON_SQLITE if dialect == "sqlite" else ON_POSTGRESQL
        for statement in first[0]:
            connection.execute(text(statement))
    (check,) = [check for check in diagnose(registry.workspace).checks if not check.ok]
    assert (check.name, list(check.problems)) == ("tables", first[1])
