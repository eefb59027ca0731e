"""The doctor names what is wrong, and finds nothing where nothing is."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from concepts.errors import VerificationError
from concepts.files import replacing
from concepts.signing.ed25519 import PrivateKey
from registry import Registry
from registry.operations import backup, restore
from registry.operations.doctor import Diagnosis, diagnose
from registry.operations.repair import repair
from registry.store import guards
from registry.store.db import transaction
from registry.store.schema import newest_guards


@pytest.fixture
def filled(registry, define, collect):
    """A registry with a signed release that is live."""
    key = PrivateKey.generate()
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect(1)], actor="ann")
    registry.keys.add("ann", key.public, actor="ann")
    registry.keys.rotate(actor="ann", signers=[key], add=["ann"])
    registry.releases.add("policy", actor="ann", keys=[key])
    registry.channels.move("prod", "policy", actor="ann")
    registry.audit.checkpoint(actor="ann", key=key)
    return registry


def problems(found: Diagnosis) -> dict[str, tuple[str, ...]]:
    return {check.name: check.problems for check in found.checks if not check.ok}


def tamper(registry, *statements):
    """Do what the triggers refuse, as someone with the database's password could."""
    with transaction(registry.workspace.engine, write=True) as connection:
        guards.drop(connection)
        for statement in statements:
            connection.execute(text(statement))
        guards.create(connection, newest_guards())


def test_a_sound_registry_has_no_problems(filled):
    assert problems(diagnose(filled.workspace)) == {}
    assert diagnose(filled.workspace).ok


TAMPERED = {
    "reviews": ("DELETE FROM change_request", "nobody approved it"),
    "versions": (f"UPDATE concept_version SET content_digest = '{'f' * 64}'", "content"),
    "releases": (f"UPDATE signature SET value = '{'00' * 64}'", "invalid signature"),
    "rows": ("DELETE FROM signature", "but is in the audit trail"),
    "channels": ("UPDATE channel_move SET number = 2", "have a gap"),
    "audit": ("UPDATE audit_event SET actor = 'eve' WHERE number = 2", "event 2 was edited"),
}


@pytest.mark.parametrize("name", list(TAMPERED))
def test_what_was_changed_behind_its_back_is_named(filled, name):
    statement, message = TAMPERED[name]
    tamper(filled, statement)
    found = problems(diagnose(filled.workspace))
    assert name in found
    assert message in " ".join(found[name])


@pytest.mark.parametrize("registry", ["sqlite"], indirect=True)
def test_an_event_that_holds_bytes_is_one_that_was_edited(filled, tmp_path):
    tamper(filled, "UPDATE audit_event SET actor = x'ff' WHERE number = 2")
    assert "event 2 was edited" in " ".join(problems(diagnose(filled.workspace))["audit"])
    with pytest.raises(VerificationError, match="event 2 was edited"):
        backup(filled.workspace, tmp_path / "all.zip")


def test_a_name_that_is_not_that_of_the_definition_is_named(filled):
    tamper(filled, "UPDATE concept SET name = 'Mug'")
    assert problems(diagnose(filled.workspace))["versions"] == (
        "The name or category of 'pistol' is not that of its definition.",
    )


@pytest.fixture
def forged(registry, define, collect):
    """A registry whose live version two updates have approved, at the instant of its submission."""
    registry.team.set_policy(actor="ann", approvals=1)
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect(1)], actor="ann")
    registry.versions.submit("pistol", actor="ann")
    tamper(
        registry,
        "UPDATE change_request SET state = 'approved', closed_at = opened_at, closed_by = 'bob'",
        "UPDATE concept_version SET state = 'approved'",
    )
    registry.releases.add("policy", actor="ann")
    registry.channels.move("prod", "policy", actor="ann")
    return registry


def test_a_submission_approves_nothing_that_waits_for_approval(forged):
    assert problems(diagnose(forged.workspace))["reviews"] == (
        "Version pistol@1 is approved, but nobody approved it: no event says so.",
    )
    (member,) = forged.channels.live("prod").release.members
    assert (member.approval, member.approved_at, member.approved_by) == ("", None, ())


def test_a_forged_approval_is_not_restored(forged, tmp_path):
    info = backup(forged.workspace, tmp_path / "all.zip")
    assert "Version pistol@1 is approved, but nobody approved it: no event says so." in (
        info.problems
    )
    with pytest.raises(VerificationError, match="--accept-problems"):
        restore(tmp_path / "all.zip", tmp_path / "restored")


@pytest.mark.parametrize("how", ["approve", "break_glass", "submit", "release"])
def test_each_way_to_approve_is_vouched_for_by_its_event(registry, define, collect, how):
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect(1)], actor="ann")
    if how in ("approve", "break_glass"):
        registry.team.set_policy(actor="ann", approvals=1)
    if how != "release":
        registry.versions.submit("pistol", actor="ann")
    if how in ("approve", "break_glass"):
        glass = how == "break_glass"
        registry.versions.approve("pistol", actor="ann", break_glass=glass, reason="now")
    (member,) = registry.releases.add("policy", actor="ann").members
    told = {"approve": "review", "break_glass": "break_glass"}.get(how, "policy")
    assert (member.approval, member.approved_by) == (told, ("ann",))
    assert problems(diagnose(registry.workspace)) == {}


def test_an_approval_that_was_not_enough_may_be_made_up_for_by_the_policy(
    registry, define, collect
):
    registry.team.set_policy(actor="ann", approvals=2)
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect(1)], actor="ann")
    registry.versions.submit("pistol", actor="ann")
    registry.versions.approve("pistol", actor="bob")
    registry.team.set_policy(actor="ann", approvals=0)
    registry.releases.add("policy", actor="ann")
    assert problems(diagnose(registry.workspace)) == {}


def test_missing_approvals_are_counted_with_those_of_authors(registry, define, collect):
    registry.team.set_policy(actor="ann", approvals=2)
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect(1)], actor="ann")
    registry.versions.submit("pistol", actor="ann")
    registry.versions.approve("pistol", actor="bob")
    registry.versions.approve("pistol", actor="ann")
    tamper(registry, "DELETE FROM review WHERE reviewer = 'bob'")
    assert problems(diagnose(registry.workspace))["reviews"] == (
        "Version pistol@1 has 1 of the 2 approvals it needed.",
    )


def test_a_missing_trigger_is_named(filled):
    on = "" if filled.workspace.engine.dialect.name == "sqlite" else " ON release"
    with transaction(filled.workspace.engine, write=True) as connection:
        connection.execute(text(f"DROP TRIGGER uvr_release_update{on}"))
    (problem,) = problems(diagnose(filled.workspace, quick=True))["triggers"]
    assert problem == (
        "The trigger uvr_release_update of table 'release' is missing. `uvr-registry init` "
        "re-creates the triggers."
    )


# Triggers that bear the right name and refuse nothing, and what the doctor says of them.
HOLLOW = {
    "sqlite": {
        "uvr_audit_event_delete of table 'audit_event' differs from this program's": [
            "DROP TRIGGER uvr_audit_event_delete",
            "CREATE TRIGGER uvr_audit_event_delete BEFORE DELETE ON audit_event "
            "BEGIN SELECT 1; END",
        ],
        "uvr_more of table 'audit_event' is not one of this program's": [
            "DROP TRIGGER uvr_audit_event_delete",
            "CREATE TRIGGER uvr_more BEFORE DELETE ON audit_event BEGIN SELECT 1; END",
        ],
    },
    "postgresql": {
        "uvr_audit_event_delete of table 'audit_event' differs from this program's": [
            "CREATE OR REPLACE TRIGGER uvr_audit_event_delete BEFORE DELETE ON audit_event "
            "FOR EACH ROW EXECUTE FUNCTION uvr_refuse_change('no', '1 = 0')"
        ],
        "function uvr_refuse_change, which the triggers call, differs from this program's": [
            "CREATE OR REPLACE FUNCTION uvr_refuse_change() RETURNS trigger LANGUAGE plpgsql "
            "AS 'BEGIN RETURN COALESCE(NEW, OLD); END'"
        ],
        "uvr_audit_event_delete of table 'audit_event' is disabled": [
            "ALTER TABLE audit_event ENABLE REPLICA TRIGGER uvr_audit_event_delete"
        ],
        "uvr_audit_event_update of table 'audit_event' is disabled": [
            "ALTER TABLE audit_event DISABLE TRIGGER USER"
        ],
    },
}


def test_triggers_that_refuse_nothing_are_named_and_made_anew(filled):
    url = filled.workspace.engine.url.render_as_string(hide_password=False)
    for message, statements in HOLLOW[filled.workspace.engine.dialect.name].items():
        with transaction(filled.workspace.engine, write=True) as connection:
            for statement in statements:
                connection.execute(text(statement))
        assert message in " ".join(problems(diagnose(filled.workspace, quick=True))["triggers"])
        Registry.create(filled.home, url)
        assert problems(diagnose(filled.workspace, quick=True)) == {}
        with pytest.raises(IntegrityError), filled.workspace.engine.begin() as connection:
            connection.execute(text("DELETE FROM audit_event"))


def test_a_trigger_that_always_fires_is_no_problem(filled):
    if filled.workspace.engine.dialect.name == "postgresql":
        with transaction(filled.workspace.engine, write=True) as connection:
            connection.execute(
                text("ALTER TABLE audit_event ENABLE ALWAYS TRIGGER uvr_audit_event_delete")
            )
    assert problems(diagnose(filled.workspace, quick=True)) == {}


def test_a_damaged_blob_is_found_unless_it_is_quick(filled):
    for path in filled.workspace.store.root.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-1])
    assert {"anchors", "scorers"} <= set(problems(diagnose(filled.workspace)))
    assert problems(diagnose(filled.workspace, quick=True)) == {}


def test_a_live_revoked_version_is_told(filled):
    filled.versions.revoke("pistol", actor="ann", reason="wrong anchors")
    found = diagnose(filled.workspace)
    assert found.ok
    (note,) = next(check.notes for check in found.checks if check.name == "live")
    assert "pistol@1" in note


def test_repair_removes_what_a_killed_process_left(filled):
    left = filled.workspace.store.root / "ab" / ".tmp-0011223344556677"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"half")
    assert len(repair(filled.workspace, "ann").temporaries) == 1
    assert not left.exists()
    assert repair(filled.workspace, "ann").temporaries == ()


def test_repair_removes_partial_files_unless_somebody_writes_them(filled):
    names = ("all.zip", "blobs/registry")
    left = [filled.home / name for name in names]
    left = [path.with_name(f".{path.name}.0123456789abcdef.partial") for path in left]
    for path in left:
        path.write_bytes(b"half")
    with replacing(filled.home / "other.zip"):
        (found,) = [check for check in diagnose(filled.workspace).checks if check.notes]
        assert found.notes == ("Unfinished files: 2. `uvr-registry doctor --repair` removes them.",)
        removed = repair(filled.workspace, "ann").temporaries
        assert removed == tuple(str(path.relative_to(filled.home)) for path in left)
    assert not any(path.exists() for path in left)
    assert (filled.home / "other.zip").exists()


BROKEN = {
    "bytes": ("actor", "UPDATE actor SET created_by = x'ff'", "values"),
    "a_number_too_large": (
        "release",
        "UPDATE release SET sequence = 4611686018427387904",
        "values",
    ),
    "no_digest": ("anchor_set", "UPDATE anchor_set SET blob = 'x'", "blobs"),
    "a_list_for_a_mapping": ("", "UPDATE release_member SET thresholds = '[]'", "releases"),
    "deep": ("", f"UPDATE concept SET definition = '{'[' * 20000}'", "versions"),
    "bytes_in_the_policy": ("policy", "UPDATE policy SET registry_id = x'ff'", "values"),
    "no_text": ("key_list", "UPDATE key_list SET envelope = x'ff'", "keys"),
}


@pytest.mark.parametrize("registry", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", list(BROKEN))
def test_a_broken_row_is_a_finding_of_the_doctor_and_of_a_backup(filled, tmp_path, name):
    table, statement, part = BROKEN[name]
    filled.team.set("ann", roles=["admin"], actor="ann")
    tamper(filled, statement)
    found = problems(diagnose(filled.workspace))
    assert part in found
    if not table:  # What it holds can be written all the same.
        assert backup(filled.workspace, tmp_path / "all.zip").problems
        return
    with pytest.raises(VerificationError, match=f"Table '{table}' has a row|is no SHA-256"):
        backup(filled.workspace, tmp_path / "all.zip")
    assert not (tmp_path / "all.zip").exists()
