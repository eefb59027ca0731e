"""A registry's rows are what a replay of its trail tells, whatever was done to it, and by whom."""

import dataclasses
import re

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from concepts.signing.ed25519 import PrivateKey
from registry.audit.chain import read_events
from registry.audit.comparison import differences
from registry.audit.replay import replay
from registry.audit.rows import read_rows
from registry.operations.doctor import check_content
from registry.operations.transfer import export_concept, import_concept
from registry.store import guards
from registry.store.db import transaction
from tests.conftest import toy_evaluation

# What an event tells since 0.3.
NEW = {
    "concept.add": ("defined_by",), "concept.define": ("defined_by",),
    "concept.import": ("defined_by", "definition_digest", "authors"),
    "version.add": ("authors",), "version.edit": ("authors", "defined_by", "definition_digest"),
    "policy.set": ("gate",), "version.submit": ("evaluation",), "version.approve": ("evaluation",),
    "version.break_glass": ("evaluation",), "version.reject": ("evaluation",),
}  # fmt: skip
ROLES = ["admin", "auditor", "curator", "publisher", "reviewer"]


@pytest.fixture
def filled(registry, define, collect, tmp_path, new_registry):
    """A registry in which every kind of event happened."""
    key, other = PrivateKey.generate(), PrivateKey.generate()
    for name in ("ann", "bob"):
        registry.team.set(name, roles=ROLES, actor="ann")
    registry.team.set("cem", roles=["curator"], actor="ann")
    registry.team.set("cem", active=False, actor="ann")
    registry.concepts.add(define("mug"), actor="ann")
    registry.versions.add("mug", [collect(4)], actor="ann")
    registry.releases.add("policy", actor="ann")  # It approves the mug, a draft.
    registry.concepts.add(define("bomb"), actor="ann")
    registry.versions.add("bomb", [collect(1)], actor="ann")
    registry.versions.submit("bomb", actor="ann", note="at once")
    registry.team.set_policy(actor="ann", approvals=1, self_approval=False, max_shrink=0.1)
    registry.concepts.add(define("bomb", description="Another."), actor="bob")
    registry.versions.add("bomb", [collect(2)], actor="ann")
    registry.versions.submit("bomb", actor="ann")
    registry.versions.edit(
        "bomb", actor="bob", definition=define("bomb", description="A third."),
        thresholds={"t2i": (1.5, 0.5)},
    )  # fmt: skip
    registry.versions.submit("bomb", actor="ann", note="again")
    registry.versions.approve("bomb", actor="ann", reason="now", break_glass=True)
    registry.concepts.add(define("pistol"), actor="ann")
    for seed in (3, 5):
        registry.versions.add("pistol", [collect(seed)], actor="ann")
    registry.versions.submit("pistol", 1, actor="ann")
    registry.versions.reject("pistol", 1, actor="bob", reason="no")
    registry.versions.submit("pistol", 1, actor="ann")
    registry.versions.approve("pistol", 1, actor="bob", reason="yes")
    registry.versions.submit("pistol", 2, actor="ann", note="in review")
    registry.keys.add("ann", key.public, actor="ann")
    registry.keys.add("bob", other.public, actor="ann")
    registry.keys.rotate(actor="ann", signers=[key], add=["ann"])
    registry.keys.rotate(actor="ann", signers=[key, other], add=["bob"])
    registry.releases.add("policy", actor="bob", keys=[key], expires="30d", note="all of it")
    registry.releases.sign("policy", actor="bob", keys=[other])
    registry.channels.move("prod", "policy", 1, actor="bob")
    registry.channels.move("prod", "policy", 2, actor="bob", reason="new")
    registry.versions.deprecate("bomb", 1, actor="ann")
    registry.versions.revoke("bomb", 1, actor="ann", reason="wrong")
    registry.releases.roll_back("policy", 1, actor="bob", reason="back", allow_shrink=True)
    registry.audit.checkpoint(actor="ann", key=key)
    other_registry = new_registry(tmp_path / "other")
    for slug in ("bomb", "knife"):
        other_registry.concepts.add(define(slug), actor="eve")
        other_registry.versions.add(slug, [collect(6)], actor="eve")
        export_concept(other_registry.workspace, slug, tmp_path / slug)
        import_concept(registry.workspace, tmp_path / slug, actor="bob")
    anchors, scorer = collect(6)
    scorers = {anchors.space.digest: scorer.with_thresholds(1.5, 0.5)}
    knife = registry.versions.calibrate("knife", actor="bob", scorers=scorers)
    registry.versions.evaluate(
        "knife", actor="bob", evaluation=toy_evaluation(), expect_digest=knife.content_digest
    )
    return registry


def attack(registry, *statements):
    """Return what the doctor finds in the rows after statements that are then taken back."""
    with transaction(registry.workspace.engine, write=True, keep=False) as connection:
        guards.drop(connection)
        for statement in statements:
            connection.execute(text(statement))
        with Session(connection) as session:
            found = check_content(session, registry.workspace.store, quick=True)
    return [line for check in found if check.name == "rows" for line in check.problems]


def test_rows_are_what_the_events_leave_behind(filled):
    assert attack(filled) == []
    assert [name for name, rows in read(filled)[1].items() if not rows] == []


def read(registry):
    with registry.workspace.read() as session:
        return list(read_events(session)), read_rows(session)


AT = "'2026-01-01T00:00:00.000000Z'"
PISTOL = "(SELECT id FROM concept WHERE slug = 'pistol')"
IN_REVIEW = "(SELECT id FROM change_request WHERE note = 'in review')"
# What an attacker does, and what is found: with digests as "x", and instants as "then".
ATTACKS = [
    (
        ["DELETE FROM actor"],
        [
            f"Actor '{name}' has no row any more, but is in the audit trail (last in event {n})."
            for name, n in (("ann", 1), ("bob", 2), ("cem", 4))
        ],
    ),
    (
        ["UPDATE policy SET approvals = 0, self_approval = true"],
        [
            "Policy: approvals is 0, but the audit trail says 1 (last in event 11).",
            "Policy: self_approval is True, but the audit trail says False (last in event 11).",
        ],
    ),
    (
        ["DELETE FROM policy"],
        ["Policy has no row any more, but is in the audit trail (last in event 11)."],
    ),
    (
        [
            f"INSERT INTO actor VALUES (9, 'eve', 'admin', true, {AT}, 'ann')",
            "UPDATE actor SET active = true, roles = 'admin' WHERE name = 'cem'",
        ],
        [
            "Actor 'cem': active is True, but the audit trail says False (last in event 4).",
            "Actor 'cem': roles is admin, but the audit trail says curator (last in event 4).",
            "Actor 'eve' is in no event: its row was written past the audit trail.",
        ],
    ),
    (
        [
            """UPDATE concept_version SET authors = '["eve"]' WHERE id = 1""",
            "UPDATE concept_version SET authors = 'broken' WHERE id = 2",
            """UPDATE concept SET defined_by = '[]' WHERE slug = 'bomb'""",
        ],
        [
            "Concept 'bomb': defined_by is nothing, but the audit trail says ann, bob "
            "(last in event 38).",
            "Version 'bomb@1': authors is 'broken', but the audit trail says ann "
            "(last in event 35).",
            "Version 'mug@1': authors is eve, but the audit trail says ann (last in event 7).",
        ],
    ),
    (
        [
            "UPDATE change_request SET state = 'approved', closed_at = opened_at, "
            f"closed_by = 'ann' WHERE id = {IN_REVIEW}",
            "UPDATE concept_version SET state = 'approved' "
            f"WHERE number = 2 AND concept_id = {PISTOL}",
        ],
        [
            "Version 'pistol@2': state is 'approved', but the audit trail says 'in_review' "
            "(last in event 25).",
            "Request 'pistol@2, request 1': closed_at is 'then', but the audit trail says None "
            "(last in event 25).",
            "Request 'pistol@2, request 1': closed_by is 'ann', but the audit trail says None "
            "(last in event 25).",
            "Request 'pistol@2, request 1': state is 'approved', but the audit trail says 'open' "
            "(last in event 25).",
        ],
    ),
    (
        [
            "INSERT INTO review SELECT 99, id, content_digest, 'bob', 'approve', false, '', "
            f"opened_at, NULL FROM change_request WHERE id = {IN_REVIEW}",
            "UPDATE review SET decision = 'approve' WHERE decision = 'reject'",
        ],
        [
            "Review 'pistol@1, request 1, by bob': decision is 'approve', but the audit trail "
            "says 'reject' (last in event 22).",
            "Review 'pistol@2, request 1, by bob' is in no event: its row was written past the "
            "audit trail.",
        ],
    ),
    (
        [
            "INSERT INTO channel_move SELECT 99, channel_id, 3, release_id, 'x', at, 'bob' "
            "FROM channel_move WHERE number = 1",
            "UPDATE channel_move SET release_id = 1 WHERE number = 2",
        ],
        [
            "Channel move 'prod, move 2': release is 'policy#1', but the audit trail says "
            "'policy#2' (last in event 33).",
            "Channel move 'prod, move 3' is in no event: its row was written past the audit "
            "trail.",
        ],
    ),
    (
        [
            f"UPDATE concept SET definition = '{{}}', definition_digest = '{'e' * 64}' "
            "WHERE slug = 'mug'",
        ],
        [
            "Concept 'mug': definition_digest is x, but the audit trail says x "
            "(last in event 6).",
        ],
    ),
    (
        [
            f"UPDATE concept_version SET content_digest = '{'f' * 64}' WHERE id = 1",
            "UPDATE concept_version SET state = 'approved' WHERE state = 'revoked'",
        ],
        [
            "Version 'bomb@1': state is 'approved', but the audit trail says 'revoked' "
            "(last in event 35).",
            "Version 'mug@1': content_digest is x, but the audit trail says x "
            "(last in event 7).",
        ],
    ),
    (
        [
            "UPDATE release SET note = 'x', expires_at = NULL, key_list = 1 WHERE sequence = 2",
            "DELETE FROM release_member WHERE release_id = 1",
        ],
        [
            "Release 'policy@1': members is nothing, but the audit trail says mug@1 "
            "(last in event 7).",
            "Release 'policy@2': expires_at is None, but the audit trail says 'then' "
            "(last in event 31).",
            "Release 'policy@2': key_list is 1, but the audit trail says 2 (last in event 31).",
            "Release 'policy@2': note is 'x', but the audit trail says 'all of it' "
            "(last in event 31).",
        ],
    ),
    (
        [
            "DELETE FROM key_list WHERE version = 2",
            "DELETE FROM signature WHERE release_id = 2 AND at > (SELECT min(at) FROM signature)",
            f"UPDATE signing_key SET key_id = '{'d' * 64}' WHERE name = 'bob'",
        ],
        [
            "Key 'bob': key_id is x, but the audit trail says x (last in event 27).",
            "Key list 'keys@2' has no row any more, but is in the audit trail "
            "(last in event 29).",
            "Signature 'policy@2, key x' has no row any more, but is in the audit trail "
            "(last in event 31).",
        ],
    ),
    (
        [f"UPDATE audit_checkpoint SET event_digest = '{'c' * 64}'"],
        [
            "Checkpoint 'event 36': digest is x, but the audit trail says x "
            "(last in event 37).",
        ],
    ),
]  # fmt: skip


def plain(line):
    """Replace what differs from run to run."""
    line = re.sub(r"[0-9a-f]{64}|[0-9a-f]{12}…", "x", line)
    return re.sub(r"[0-9-]{10}T[0-9:.]{15}Z", "then", line)


def test_what_was_changed_past_the_trail_is_named(filled):
    for statements, expected in ATTACKS:
        assert [plain(line) for line in attack(filled, *statements)] == expected


def test_old_events_vouch_for_what_they_tell(filled):
    events, rows = read(filled)
    old = [
        dataclasses.replace(
            event,
            details={k: v for k, v in event.details.items() if k not in NEW.get(event.action, ())},
        )
        for event in events
    ]
    assert list(differences(replay(old), rows)) == []
    rows["version"]["pistol@1"]["authors"] = ("eve",)
    rows["concept"]["bomb"]["definition_digest"] = "an edit may have changed it"
    assert list(differences(replay(old), rows)) == [
        "Version 'pistol@1': authors is eve, but the audit trail says at least ann "
        "(last in event 24)."
    ]


def test_a_migration_leaves_open_what_0_1_had_released(filled):
    events, _ = read(filled)
    migrated = dataclasses.replace(events[6], action="schema.migrate", subject="0002", details={})
    before = replay(events[:6]).rows["version"]["mug@1"]
    assert before.pop("state") == "draft"
    assert replay([*events[:6], migrated]).rows["version"] == {"mug@1": before}


def test_an_event_that_does_not_follow_is_named(filled):
    events, _ = read(filled)
    strange = [
        ("actor.crown", "eve", {}),
        ("actor.set", "eve", {"active": True}),
        ("version.submit", "pistol@7", {"note": "", "approved": True}),
        ("version.approve", "pistol@1", {"reason": "", "content_digest": "x", "approved": True}),
    ]
    more = [
        dataclasses.replace(events[-1], number=number, action=action, subject=subject, details=told)
        for number, (action, subject, told) in enumerate(strange, 100)
    ]
    assert replay([*events, *more]).problems == [
        "Event 100 cannot be followed: it is of no kind that this program knows: actor.crown.",
        "Event 101 cannot be followed: actor.set of 'eve' does not tell its 'roles'.",
        "Event 102 does not follow from those before it, version.submit of 'pistol@7': there was "
        "no version 'pistol@7'.",
        "Event 103 does not follow from those before it, version.approve of 'pistol@1': version "
        "'pistol@1' was not in review.",
    ]
