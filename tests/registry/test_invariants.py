"""The thirteen invariants of the registry, each on SQLite and on PostgreSQL.

The other half of 7 and 13, what an engine does with a bundle, is tested with the regulator.
"""

import dataclasses
import os
import time

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from concepts.bundle import read_bundle, write_bundle
from concepts.canonical import canonical_json
from concepts.digest import json_digest, sha256
from concepts.errors import (
    ConflictError,
    MismatchError,
    PolicyError,
    SignatureError,
    VerificationError,
)
from concepts.signing.ed25519 import PrivateKey
from concepts.tensors import tensors_digest
from concepts.words import STATES
from registry import Registry
from registry.operations import gc
from registry.store.db import open_session
from registry.store.models import MOVES, ConceptVersion


@pytest.fixture
def filled(registry, define, collect):
    """Two concepts with a version each."""
    for seed, slug in enumerate(("bomb", "pistol")):
        registry.concepts.add(define(slug), actor="ann")
        registry.versions.add(slug, [collect(seed)], actor="ann")
    return registry


def version(registry, slug="pistol", number=1):
    return registry.concepts.get(slug).versions[number - 1]


def refused(registry, statement):
    """Try to change the database as another program would."""
    with pytest.raises(IntegrityError), registry.workspace.engine.begin() as connection:
        connection.execute(text(statement))


def rows(registry, query):
    with registry.workspace.engine.begin() as connection:
        return connection.execute(text(query)).all()


def test_1_content_is_fixed_from_in_review_on(filled):
    filled.versions.submit("pistol", actor="ann")
    of_pistol = f"WHERE content_digest = '{version(filled).content_digest}'"
    before = version(filled)
    for column in ("definition", "content_digest", "authors"):
        refused(filled, f"UPDATE concept_version SET {column} = '[]' {of_pistol}")
        refused(filled, f"UPDATE concept_version SET {column} = '[]', state = 'draft' {of_pistol}")
    refused(filled, f"DELETE FROM concept_version {of_pistol}")
    its = f"version_id = (SELECT id FROM concept_version {of_pistol})"
    refused(filled, f"UPDATE version_anchors SET scorer = '{{}}' WHERE {its}")
    refused(filled, f"DELETE FROM version_anchors WHERE {its}")
    refused(filled, "UPDATE anchor_set SET anchors = 1")
    refused(filled, "DELETE FROM anchor_set")
    assert version(filled) == before


def test_1_no_row_is_replaced_around_the_guards(filled):
    filled.versions.submit("pistol", actor="ann")
    columns = "id, concept_id, number, content_digest, created_at, created_by, state, definition"
    copied = columns.removesuffix("state, definition")
    chosen = f"SELECT {copied} 'draft', '{{}}' FROM concept_version WHERE state = 'approved'"
    before = version(filled)
    if filled.workspace.engine.dialect.name == "sqlite":
        refused(filled, f"INSERT OR REPLACE INTO concept_version ({columns}) {chosen}")
        refused(filled, "INSERT OR REPLACE INTO audit_event SELECT * FROM audit_event")
    else:
        refused(
            filled,
            f"INSERT INTO concept_version ({columns}) {chosen} "
            "ON CONFLICT (id) DO UPDATE SET state = 'draft', definition = EXCLUDED.definition",
        )
        refused(
            filled,
            "INSERT INTO audit_event SELECT * FROM audit_event "
            "ON CONFLICT (number) DO UPDATE SET actor = 'eve'",
        )
        refused(filled, "TRUNCATE concept_version CASCADE")
    assert version(filled) == before


def test_1_states_are_never_jumped(filled):
    steps = ("draft", "in_review", "approved", "deprecated", "revoked")
    for first in steps:
        if first != "draft":
            with filled.workspace.engine.begin() as connection:
                connection.execute(text(f"UPDATE concept_version SET state = '{first}'"))
        for second in STATES:
            if second != first and (first, second) not in MOVES:
                refused(filled, f"UPDATE concept_version SET state = '{second}'")


def test_1_the_orm_refuses_too(filled):
    filled.versions.submit("pistol", actor="ann")
    with open_session(filled.workspace.engine) as session:
        row = session.query(ConceptVersion).filter_by(state="approved").one()
        row.definition = "{}"
        with pytest.raises(PolicyError, match="its content is fixed"):
            session.flush()


def test_1_an_edit_in_review_makes_a_draft_and_approvals_stale(filled):
    filled.team.set_policy(actor="ann", approvals=2)
    filled.versions.submit("pistol", actor="ann")
    assert filled.versions.approve("pistol", actor="bob").approvals == 1
    edited = filled.versions.edit("pistol", actor="ann", thresholds={"t2i": (1.5, 1.0)})
    assert (edited.state, edited.approvals) == ("draft", 0)
    filled.versions.submit("pistol", actor="ann")
    assert filled.versions.approve("pistol", actor="cem").state == "in_review"


def test_2_the_content_digest_covers_definition_and_anchors_and_nothing_else(
    filled, define, collect
):
    anchors, scorer = collect(1)
    content = {
        "definition": define().to_dict(),
        "collections": [
            {"space": anchors.space.digest, "anchors": anchors.digest, "scorer": scorer.digest}
        ],
    }
    assert version(filled).content_digest == json_digest(content)
    assert version(filled).content_digest == sha256(canonical_json(content))


def test_2_the_same_content_has_the_same_digest_elsewhere(filled, tmp_path, define, collect):
    other = Registry.create(tmp_path / "elsewhere")
    other.concepts.add(define("knife"), actor="zoe")
    other.concepts.add(define(), actor="zoe")
    made = other.versions.add("pistol", [collect(1)], actor="zoe")
    assert made.content_digest == version(filled).content_digest


@pytest.mark.parametrize("change", ["definition", "threshold", "anchors"])
def test_2_every_part_of_the_content_is_covered(filled, define, collect, change):
    before = version(filled).content_digest
    edit = {
        "definition": {"definition": define(description="A handgun.")},
        "threshold": {"thresholds": {"t2i": (2.5, 1.0)}},
        "anchors": {"collections": [collect(9)]},
    }[change]
    assert filled.versions.edit("pistol", actor="ann", **edit).content_digest != before


def test_3_numbers_rise_and_the_same_content_is_refused(filled, collect):
    assert filled.versions.add("pistol", [collect(5)], actor="ann").number == 2
    for seed in (1, 5):
        with pytest.raises(ConflictError, match="already has exactly this content"):
            filled.versions.add("pistol", [collect(seed)], actor="ann")
    filled.versions.submit("pistol", 2, actor="ann")
    filled.versions.revoke("pistol", 2, actor="ann", reason="wrong")
    assert filled.versions.add("pistol", [collect(6)], actor="ann").number == 3
    refused(filled, "UPDATE concept_version SET number = number + 10")
    refused(
        filled,
        "INSERT INTO concept_version (concept_id, number, state, definition, content_digest, "
        "created_at, created_by) SELECT concept_id, 1, 'draft', '{}', 'x', created_at, created_by "
        "FROM concept_version WHERE number = 3",
    )


def test_4_a_payload_digest_covers_bytes_dtype_shape_and_name(collect):
    made = np.arange(6, dtype=np.float32).reshape(2, 3)
    digests = {
        tensors_digest({"a": made}),
        tensors_digest({"b": made}),
        tensors_digest({"a": made.reshape(3, 2)}),
        tensors_digest({"a": made.astype(np.float16)}),
        tensors_digest({"a": made.view(np.int32)}),
        tensors_digest({"a": made + 1}),
    }
    assert len(digests) == 6


def test_4_a_blob_is_named_after_its_bytes_and_checked(filled, collect):
    space = collect()[0].space
    (digest,) = (
        row.blob
        for row in rows(filled, "SELECT blob, digest FROM anchor_set")
        if row.digest == collect(1)[0].digest
    )
    path = filled.workspace.store.path(digest)
    data = path.read_bytes()
    assert (sha256(data), data) == (digest, collect(1)[0].to_bytes())
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(VerificationError, match="is corrupt"):
        filled.versions.anchor_set("pistol", space)


def test_5_the_same_lock_gives_the_same_bytes(filled):
    first = filled.releases.add("default", actor="ann")
    data = write_bundle(filled.releases.bundle("default"))
    assert (
        write_bundle(read_bundle(data))
        == data
        == write_bundle(filled.releases.bundle("default", 1))
    )
    second = filled.releases.add("default", actor="bob", note="again")
    assert second.lock_digest == first.lock_digest
    assert (
        filled.releases.bundle("default", 1).files.keys()
        == filled.releases.bundle("default", 2).files.keys()
    )


@pytest.mark.parametrize(
    "change",
    [
        {"drop": ["pistol"]},
        {"modes": {"bomb": "log"}, "allow_shrink": True},
        {"thresholds": {"bomb": 1.5}},
        {"disabled": {"bomb": "30d"}},
    ],
)
def test_5_the_lock_covers_every_part_of_the_members(filled, change):
    first = filled.releases.add("default", actor="ann")
    second = filled.releases.add("default", actor="ann", **change)
    assert second.lock_digest != first.lock_digest


def test_5_the_lock_covers_the_version(filled, collect):
    first = filled.releases.add("default", actor="ann")
    filled.versions.add("bomb", [collect(5)], actor="ann")
    second = filled.releases.add("default", ["bomb"], actor="ann")
    assert second.lock_digest != first.lock_digest


def test_6_sequences_rise_and_going_back_is_a_new_one(filled, collect):
    first = filled.releases.add("default", actor="ann")
    filled.versions.add("bomb", [collect(5)], actor="ann")
    filled.releases.add("default", ["bomb"], actor="ann")
    back = filled.releases.roll_back("default", 1, actor="ann", reason="too strict")
    assert (back.sequence, back.lock_digest, back.rollback_of) == (3, first.lock_digest, 1)
    assert filled.releases.add("other", ["bomb"], actor="ann").sequence == 1
    refused(filled, "UPDATE release SET sequence = sequence + 10")
    refused(filled, "DELETE FROM release")
    assert [item.sequence for item in filled.releases.list("default")] == [1, 2, 3]


def test_7_members_of_a_variant_share_one_space(filled, define, collect):
    for change in ({"taps": ("blocks.1",)}, {"sigma": 0.5}, {"revision": "r2"}):
        space = dataclasses.replace(collect()[0].space, **change)
        filled.versions.add("bomb", [collect(5, space=space)], actor="ann")
        with pytest.raises(PolicyError, match="which never mix"):
            filled.releases.add("default", actor="ann")
    assert filled.releases.list() == []
    filled.versions.add("bomb", [collect(6)], actor="ann")
    filled.releases.add("default", actor="ann")
    bundle = filled.releases.bundle("default")
    assert [variant.space.digest for variant in bundle.variants] == [collect()[0].space.digest]
    for wanted in (("flux.1-dev", "t2i"), ("testbed", "edit"), ("testbed", "t2i", "r2")):
        with pytest.raises(MismatchError):
            bundle.variant_for(*wanted)


def test_8_an_approval_counts_for_what_was_seen_by_an_active_reviewer_who_did_not_write_it(filled):
    filled.team.set("root", actor="root", roles=["admin"])
    filled.team.set("ann", actor="root", roles=["curator", "reviewer"])
    for name in ("bob", "cem", "dia"):
        filled.team.set(name, actor="root", roles=["reviewer"])
    filled.team.set_policy(actor="root", approvals=2, self_approval=False)
    filled.versions.submit("pistol", actor="ann")
    seen = version(filled).content_digest
    with pytest.raises(PolicyError, match="someone else's approval"):
        filled.versions.approve("pistol", actor="ann")
    filled.versions.approve("pistol", actor="bob", expect_digest=seen)
    edited = filled.versions.edit("pistol", actor="ann", thresholds={"t2i": (1.5, 1.0)})
    filled.versions.submit("pistol", actor="ann")
    with pytest.raises(ConflictError, match=f"has digest {edited.content_digest}"):
        filled.versions.approve("pistol", actor="cem", expect_digest=seen)
    filled.versions.approve("pistol", actor="cem")
    filled.team.set("cem", actor="root", active=False)
    assert filled.versions.approve("pistol", actor="bob").state == "in_review"
    assert filled.versions.approve("pistol", actor="dia").state == "approved"
    refused(filled, "UPDATE review SET decision = 'approve', reviewer = 'dia'")
    refused(filled, "DELETE FROM review")


def test_9_each_change_writes_one_event_in_its_transaction(filled, define, collect):
    changes = [
        lambda: filled.concepts.add(define(description="A handgun."), actor="ann"),
        lambda: filled.versions.add("pistol", [collect(7)], actor="ann"),
        lambda: filled.versions.edit("pistol", actor="ann", thresholds={"t2i": (1.5, 1.0)}),
        lambda: filled.versions.submit("pistol", actor="ann"),
        lambda: filled.releases.add("default", actor="ann"),
        lambda: filled.channels.move("prod", "default", actor="ann"),
        lambda: filled.versions.deprecate("pistol", actor="ann"),
        lambda: filled.versions.revoke("pistol", actor="ann", reason="wrong"),
        lambda: filled.releases.add("default", ["pistol@2"], actor="ann"),
        lambda: filled.team.set_policy(actor="ann", approvals=1),
        lambda: filled.team.set("ann", actor="ann", roles=["admin"]),
    ]
    for place, change in enumerate(changes):
        before = len(filled.audit.events())
        if place == 8:  # It was revoked just before: a refused change writes nothing.
            with pytest.raises(PolicyError, match="revoked"):
                change()
            assert len(filled.audit.events()) == before
            continue
        change()
        assert len(filled.audit.events()) == before + 1
    assert filled.audit.verify().events == len(filled.audit.events())


@pytest.mark.parametrize("change", ["submit", "edit", "release", "add_version"])
def test_9_without_its_event_there_is_no_change(filled, collect, monkeypatch, change):
    def fail(*_args, **_details):
        raise KeyboardInterrupt

    run = {
        "submit": lambda: filled.versions.submit("pistol", actor="ann"),
        "edit": lambda: filled.versions.edit("pistol", actor="ann", thresholds={"t2i": (1.5, 1.0)}),
        "release": lambda: filled.releases.add("default", actor="ann"),
        "add_version": lambda: filled.versions.add("pistol", [collect(7)], actor="ann"),
    }[change]
    before = filled.concepts.get("pistol"), filled.releases.list(), filled.audit.events()
    with monkeypatch.context() as patch:
        patch.setattr("registry.change.work.event.record", fail)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert (filled.concepts.get("pistol"), filled.releases.list(), filled.audit.events()) == before


def test_9_events_form_a_chain_with_signed_checkpoints(filled):
    key = PrivateKey.generate()
    filled.keys.add("first", key.public, actor="ann")
    keys = filled.keys.rotate(actor="ann", signers=[key], add=["first"])
    kept = filled.audit.checkpoint(actor="ann", key=key)
    filled.versions.submit("pistol", actor="ann")
    events = filled.audit.events()
    assert [item.prev_digest for item in events] == ["0" * 64, *(e.digest for e in events[:-1])]
    assert filled.audit.verify(kept, keys).events == len(events)
    refused(filled, "UPDATE audit_event SET actor = 'eve'")
    refused(filled, "DELETE FROM audit_event")
    other = filled.keys.current()
    stranger = PrivateKey.generate().public
    with pytest.raises(SignatureError):
        filled.audit.verify(kept, dataclasses.replace(other, keys=(stranger,)))
    trigger = "uvr_audit_event_update"
    on = "" if filled.workspace.engine.dialect.name == "sqlite" else " ON audit_event"
    with filled.workspace.engine.begin() as connection:
        connection.execute(text(f"DROP TRIGGER {trigger}{on}"))
        connection.execute(text("UPDATE audit_event SET actor = 'eve' WHERE number = 2"))
    with pytest.raises(VerificationError, match="event 2"):
        filled.audit.verify()


def test_10_the_index_is_never_the_authority(filled, collect):
    space = collect()[0].space
    query = np.random.default_rng(3).normal(size=(4, space.dim))
    for slug in ("bomb", "pistol"):
        filled.versions.submit(slug, actor="ann")
    before = Registry(filled.workspace).index.search(space, query, k=20)
    files = sorted((filled.home / "index").glob("*.faiss"))
    assert len(files) == 1
    files[0].write_bytes(files[0].read_bytes()[:-40] + bytes(40))
    assert Registry(filled.workspace).index.search(space, query, k=20) == before
    for path in (filled.home / "index").iterdir():
        path.unlink()
    assert Registry(filled.workspace).index.search(space, query, k=20) == before
    # What SQL says changed: the index follows.
    filled.versions.add("pistol", [collect(8)], actor="ann")
    filled.versions.submit("pistol", actor="ann")
    hits = filled.index.search(space, query, k=20)[0]
    assert {(hit.slug, hit.version) for hit in hits} == {("bomb", 1), ("pistol", 2)}


def test_11_blobs_are_whole_on_disk_before_a_row_names_them(filled, collect, monkeypatch):
    order = []
    sync, replace = os.fsync, type(filled.home).replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("sync"), sync(handle))[1])
    monkeypatch.setattr(
        type(filled.home), "replace",
        lambda path, target: (order.append("rename"), replace(path, target))[1],
    )  # fmt: skip
    from registry.change import event  # noqa: PLC0415

    record = event.record

    def recorded(session, *args, **details):
        named = gc.named_blobs(session)
        assert all(
            sha256(filled.workspace.store.path(digest).read_bytes()) == digest for digest in named
        )
        assert not list(filled.workspace.store.root.rglob(".tmp-*"))
        order.append("row")
        record(session, *args, **details)

    monkeypatch.setattr("registry.change.work.event.record", recorded)
    filled.versions.add("pistol", [collect(7)], actor="ann")
    assert order == ["sync", "rename", "sync", "sync"] * 2 + ["row"]


def test_11_garbage_waits_for_its_grace_period_and_is_never_what_sql_names(filled):
    young, _ = filled.workspace.store.put(b"young")
    old, _ = filled.workspace.store.put(b"old")
    with filled.workspace.read() as session:
        named = gc.named_blobs(session)
    past = time.time() - 48 * 3600
    for digest in (old, *named):
        os.utime(filled.workspace.store.path(digest), (past, past))
    assert gc.collect_garbage(filled.workspace, actor="ann", grace="24h").blobs == (old,)
    assert young in filled.workspace.store
    assert old not in filled.workspace.store
    assert named
    assert all(digest in filled.workspace.store for digest in named)


def test_12_a_release_that_loses_members_is_refused_unless_asked_for(filled):
    filled.releases.add("default", actor="ann")
    filled.versions.revoke("bomb", actor="ann", reason="wrong")
    with pytest.raises(PolicyError, match=r"add --drop bomb$"):
        filled.releases.add("default", actor="ann", allow_shrink=True)
    assert len(filled.releases.list()) == 1
    filled.team.set_policy(actor="ann", max_shrink=0.5)
    assert len(filled.releases.add("default", actor="ann").members) == 1
    with pytest.raises(PolicyError, match=r"add --enforce-nothing$"):
        filled.releases.add("default", actor="ann", drop=["pistol"], allow_shrink=True)
    empty = filled.releases.add("default", actor="ann", drop=["pistol"], enforce_nothing=True)
    assert empty.members == ()


def test_13_disabling_ships_as_a_new_release(filled):
    first = filled.releases.add("default", actor="ann")
    until = "2999-01-01T00:00:00.000000Z"
    second = filled.releases.add("default", actor="ann", disabled={"bomb": until})
    assert (second.sequence, second.lock_digest != first.lock_digest) == (2, True)
    bomb, pistol = filled.releases.bundle("default").variants[0].members
    assert (bomb.slug, bomb.enforced_at("2998-12-31T00:00:00.000000Z")) == ("bomb", False)
    assert bomb.enforced_at(until)
    assert pistol.enforced_at("2998-12-31T00:00:00.000000Z")
    event = filled.audit.events()[-1]
    assert (event.action, event.subject) == ("release.add", "default#2")
    # No row says it in another way: what is released never changes.
    refused(filled, "UPDATE release_member SET disabled_until = NULL")
