import json
import tracemalloc

import pytest
from sqlalchemy import insert, text

from concepts.canonical import canonical_json
from concepts.digest import json_digest
from concepts.errors import NotFoundError, PolicyError, SignatureError, VerificationError
from concepts.signing.envelope import CHECKPOINT_TYPE, read_envelope, sign
from concepts.signing.keys import KeyList, PrivateKey
from registry.store import guards
from registry.store.db import transaction
from registry.store.models import AuditEventRow
from registry.store.schema import newest_guards
from tests.conftest import often

NAMES = ("number", "at", "actor", "action", "subject", "details", "prev_digest")


@pytest.fixture
def filled(registry, define):
    """A registry with six events."""
    for slug in ("bomb", "gun", "knife", "mug", "pistol", "syringe"):
        registry.concepts.add(define(slug), actor="ann")
    return registry


def rows_of(registry):
    with transaction(registry.workspace.engine) as connection:
        found = connection.execute(text("SELECT * FROM audit_event ORDER BY number"))
        return [dict(row) for row in found.mappings()]


def put(registry, rows):
    """Write other rows in place of the trail's, as someone with the database's password could."""
    with transaction(registry.workspace.engine, write=True) as connection:
        guards.drop(connection)
        checkpoints = connection.execute(text("SELECT * FROM audit_checkpoint")).mappings().all()
        connection.execute(text("DELETE FROM audit_checkpoint"))
        connection.execute(text("DELETE FROM audit_event"))
        connection.execute(insert(AuditEventRow), rows)
        numbers = {row["number"] for row in rows}
        for row in checkpoints:
            if row["event_number"] in numbers:
                names = ", ".join(row)
                values = ", ".join(f":{name}" for name in row)
                query = f"INSERT INTO audit_checkpoint ({names}) VALUES ({values})"
                connection.execute(text(query), dict(row))
        guards.create(connection, newest_guards())


def rehashed(row, **changes):
    covered = {name: {**row, **changes}[name] for name in NAMES}
    return {**covered, "digest": json_digest(covered)}


def rechained(rows):
    """Number rows from 1 and give each the digests of a chain of its own."""
    found, previous = [], "0" * 64
    for number, row in enumerate(rows, 1):
        found.append(rehashed(row, number=number, prev_digest=previous))
        previous = found[-1]["digest"]
    return found


def renumbered(rows):
    return [{**row, "number": number} for number, row in enumerate(rows, 1)]


FORGED = {
    "actor": "eve", "action": "concept.add", "subject": "forged", "details": "{}",
    "at": "2026-11-24T10:00:00.000000Z", "number": 3,
}  # fmt: skip


def inserted(rows, *, whole):
    made = rehashed({**FORGED, "prev_digest": rows[1]["digest"] if whole else "e" * 64})
    return renumbered([*rows[:2], made, *rows[2:]])


TAMPERING = {
    "edited": (lambda r: [*r[:2], {**r[2], "actor": "eve"}, *r[3:]], "event 3 was edited"),
    "edited and given its digest": (
        lambda r: [*r[:2], rehashed(r[2], actor="eve"), *r[3:]],
        "event 3 was edited",
    ),
    "removed": (lambda r: [*r[:2], *r[3:]], "event 3 was removed"),
    "two removed": (lambda r: [*r[:2], *r[4:]], "events 3 to 4 were removed"),
    "the first removed": (lambda r: r[1:], "event 1 was removed"),
    "removed and renumbered": (lambda r: renumbered([*r[:2], *r[3:]]), "event 3 was removed"),
    "inserted": (lambda r: inserted(r, whole=False), "event 3 was inserted"),
    "swapped": (lambda r: renumbered([*r[:2], r[3], r[2], *r[4:]]), "event 3 was reordered"),
    "moved back": (lambda r: renumbered([r[0], r[4], *r[1:4], r[5]]), "event 2 was reordered"),
    "put before the first": (
        lambda r: [rehashed({**FORGED, "prev_digest": "e" * 64, "number": -7}), *r],
        "event -7 was inserted",
    ),
    "put at zero": (
        lambda r: [rehashed({**FORGED, "prev_digest": "e" * 64, "number": 0}), *r],
        "event 0 was inserted",
    ),
    "moved on": (lambda r: renumbered([r[0], *r[2:5], r[1], r[5]]), "event 2 was reordered"),
}


@pytest.mark.parametrize("name", list(TAMPERING))
def test_a_change_to_the_trail_is_named(filled, name):
    change, message = TAMPERING[name]
    assert filled.audit.verify().events == 6
    put(filled, change(rows_of(filled)))
    with pytest.raises(VerificationError, match=message):
        filled.audit.verify()


def test_a_new_registry_has_an_empty_trail_that_verifies(registry):
    report = registry.audit.verify()
    assert (report.events, report.digest, report.checkpoints) == (0, "0" * 64, 0)
    with pytest.raises(PolicyError, match="no event yet"):
        registry.audit.checkpoint(actor="ann", key=PrivateKey.generate())


def test_a_checkpoint_finds_a_trail_that_was_cut_or_rewritten(filled, tmp_path):
    key = PrivateKey.generate()
    keys = KeyList(1, 1, (key.public,))
    kept = tmp_path / "checkpoint.json"
    kept.write_bytes(filled.audit.checkpoint(actor="aud", key=key))
    report = filled.audit.verify(kept, keys)
    assert (report.events, report.against, report.checkpoints) == (7, 6, 1)
    assert report.signed_by == (key.public.key_id,)
    rows = rows_of(filled)

    put(filled, rows[:4])
    assert filled.audit.verify().events == 4  # Alone, a shorter chain is whole.
    with pytest.raises(VerificationError, match=r"truncated: it ends with event 4.*covers event 6"):
        filled.audit.verify(kept, keys)

    put(filled, rechained([*rows[:2], {**rows[2], "actor": "eve"}, *rows[3:6]]))
    assert filled.audit.verify().events == 6
    with pytest.raises(VerificationError, match="rewritten: event 6 or one before it"):
        filled.audit.verify(kept, keys)


def test_the_registrys_own_checkpoints_are_compared_too(filled):
    filled.audit.checkpoint(actor="aud", key=PrivateKey.generate())
    rows = rows_of(filled)
    put(filled, rechained([{**rows[0], "actor": "eve"}, *rows[1:]]))
    with pytest.raises(VerificationError, match="rewritten"):
        filled.audit.verify()


def test_the_registry_tells_its_checkpoints(filled):
    filled.audit.checkpoint(actor="ann", key=PrivateKey.generate())
    assert [(item.event, item.digest) for item in filled.audit.checkpoints()] == [
        (6, filled.audit.events(1, before=7)[0].digest)
    ]


def test_a_checkpoint_that_is_gone_is_missed(filled):
    filled.audit.checkpoint(actor="aud", key=PrivateKey.generate())
    with transaction(filled.workspace.engine, write=True) as connection:
        guards.drop(connection)
        connection.execute(text("DELETE FROM audit_checkpoint"))
        guards.create(connection, newest_guards())
    with pytest.raises(VerificationError, match="checkpoint of event 6 was made, but is no longer"):
        filled.audit.verify()


def test_checkpoints_of_others_are_refused(filled, tmp_path):
    key, other = PrivateKey.generate(), PrivateKey.generate()
    made = filled.audit.checkpoint(actor="aud", key=key)
    with pytest.raises(SignatureError, match="not signed by any of the 1 trusted keys"):
        filled.audit.verify(made, KeyList(1, 1, (other.public,)))
    payload = json.loads(read_envelope(made, CHECKPOINT_TYPE).payload)

    def forge(**changes):
        return sign(CHECKPOINT_TYPE, canonical_json({**payload, **changes}), key).to_bytes()

    with pytest.raises(VerificationError, match="is of registry 0000"):
        filled.audit.verify(forge(registry="0" * 32))
    for changes in ({"event": 0}, {"event": True}, {"digest": "x"}, {"at": "now"}, {"more": 1}):
        with pytest.raises(VerificationError):
            filled.audit.verify(forge(**changes))
    with pytest.raises(VerificationError):
        filled.audit.verify(made[:-1])
    with pytest.raises(NotFoundError, match="No checkpoint file"):
        filled.audit.verify(tmp_path / "none")


def test_a_checkpoint_is_an_event_and_needs_an_auditor(filled):
    filled.team.set("ann", roles=["admin"], actor="ann")
    key = PrivateKey.generate()
    with pytest.raises(PolicyError, match="needs the role auditor"):
        filled.audit.checkpoint(actor="ann", key=key)
    filled.team.set("aud", roles=["auditor"], actor="ann")
    filled.audit.checkpoint(actor="aud", key=key)
    last = filled.audit.events()[-1]
    assert (last.action, last.subject, last.actor) == ("audit.checkpoint", "event 8", "aud")
    assert last.details["key_id"] == key.public.key_id


def test_events_are_found_by_subject_time_and_number(filled, collect):
    filled.versions.add("gun", [collect(1)], actor="bob")
    assert [event.subject for event in filled.audit.events(subject="gun")] == ["gun", "gun@1"]
    assert [event.number for event in filled.audit.events(limit=2)] == [6, 7]
    last = filled.audit.events()[-1]
    assert filled.audit.events(since=last.at)[-1] == last
    assert filled.audit.events(since="9999-01-01T00:00:00.000000Z") == []
    assert filled.audit.events(subject="g") == []
    assert [event.number for event in filled.audit.events(2, before=5)] == [3, 4]


def test_events_are_found_by_who_did_what(filled, collect):
    filled.versions.add("gun", [collect(1)], actor="bob")
    assert [event.subject for event in filled.audit.events(actor="bob")] == ["gun@1"]
    assert [event.subject for event in filled.audit.events(action="version.add")] == ["gun@1"]
    assert len(filled.audit.events(action="concept")) == 6
    assert filled.audit.events(action="con") == []


def test_the_export_can_be_verified_without_the_registry(filled):
    previous = "0" * 64
    lines = list(filled.audit.export())
    assert len(lines) == 6
    for line in lines:
        event = json.loads(line)
        digest = event.pop("digest")
        assert event["prev_digest"] == previous
        event["details"] = canonical_json(event["details"]).decode()
        assert json_digest(event) == digest
        previous = digest


@pytest.mark.slow
def test_a_long_trail_is_verified_and_exported_in_bounded_memory(registry, define):
    registry.concepts.add(define(), actor="ann")
    (first,) = rows_of(registry)
    count = often(20_000, least=10_000)
    put(registry, rechained([{**first, "subject": f"concept-{n}"} for n in range(count)]))
    tracemalloc.start()
    assert registry.audit.verify().events == count
    assert sum(1 for _ in registry.audit.export()) == count
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # All rows at once take 12 or 25 MB.
    assert peak < 8_000_000


def test_a_revoked_key_signs_no_checkpoint(registry):
    keys = {name: PrivateKey.generate() for name in ("ann", "bob")}
    for name, key in keys.items():
        registry.keys.add(name, key.public, actor="ann")
    registry.keys.rotate(actor="ann", signers=[keys["ann"]], add=["ann"])
    registry.keys.rotate(
        actor="ann", signers=[keys["ann"], keys["bob"]], add=["bob"], revoke=["ann"]
    )
    with pytest.raises(PolicyError, match="key was revoked"):
        registry.audit.checkpoint(actor="ann", key=keys["ann"])
    assert registry.audit.checkpoint(actor="ann", key=keys["bob"])
