"""The doctor names what is wrong, and finds nothing where nothing is."""

import pytest
from sqlalchemy import text

from concepts.ed25519 import PrivateKey
from migrations import triggers
from registry.db import transaction
from registry.doctor import Diagnosis, diagnose, repair
from registry.migrate import newest_guards


@pytest.fixture
def filled(registry, define, collect):
    """A registry with a signed release that is live."""
    key = PrivateKey.generate()
    registry.add_concept(define(), actor="ann")
    registry.add_version("pistol", [collect(1)], actor="ann")
    registry.keys.add("ann", key.public, actor="ann")
    registry.keys.rotate(actor="ann", signers=[key], add=["ann"])
    registry.release("policy", actor="ann", keys=[key])
    registry.channels.move("prod", "policy", actor="ann")
    registry.audit.checkpoint(actor="ann", key=key)
    return registry


def problems(found: Diagnosis) -> dict[str, tuple[str, ...]]:
    return {check.name: check.problems for check in found.checks if not check.ok}


def tamper(registry, statement):
    """Do what the triggers refuse, as someone with the database's password could."""
    with transaction(registry.engine, write=True) as connection:
        triggers.drop(connection)
        connection.execute(text(statement))
        triggers.create(connection, newest_guards())


def test_a_sound_registry_has_no_problems(filled):
    assert problems(diagnose(filled)) == {}
    assert diagnose(filled).ok


TAMPERED = {
    "reviews": ("DELETE FROM change_request", "nobody approved it"),
    "versions": (f"UPDATE concept_version SET content_digest = '{'f' * 64}'", "content"),
    "releases": (f"UPDATE signature SET value = '{'00' * 64}'", "wrong signature"),
    "channels": ("UPDATE channel_move SET number = 2", "have a gap"),
    "audit": ("UPDATE audit_event SET actor = 'eve' WHERE number = 2", "event 2 was edited"),
}


@pytest.mark.parametrize("name", list(TAMPERED))
def test_what_was_changed_behind_its_back_is_named(filled, name):
    statement, message = TAMPERED[name]
    tamper(filled, statement)
    found = problems(diagnose(filled))
    assert name in found
    assert message in " ".join(found[name])


def test_a_missing_trigger_is_named(filled):
    on = "" if filled.engine.dialect.name == "sqlite" else " ON release"
    with transaction(filled.engine, write=True) as connection:
        connection.execute(text(f"DROP TRIGGER uvr_release_update{on}"))
    (problem,) = problems(diagnose(filled, quick=True))["triggers"]
    assert "uvr_release_update of table 'release' is missing" in problem


def test_a_damaged_blob_is_found_unless_it_is_quick(filled):
    for path in filled.store.root.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-1])
    assert {"anchors", "scorers"} <= set(problems(diagnose(filled)))
    assert problems(diagnose(filled, quick=True)) == {}


def test_a_live_revoked_version_is_told(filled):
    filled.review.revoke("pistol", actor="ann", reason="wrong anchors")
    found = diagnose(filled)
    assert found.ok
    (note,) = next(check.notes for check in found.checks if check.name == "live")
    assert "pistol@1" in note


def test_repair_removes_what_a_killed_process_left(filled):
    left = filled.store.root / "ab" / ".tmp-0011223344556677"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"half")
    assert len(repair(filled, "ann").temporaries) == 1
    assert not left.exists()
    assert repair(filled, "ann").temporaries == ()
