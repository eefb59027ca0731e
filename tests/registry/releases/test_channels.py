from dataclasses import replace

import pytest
from sqlalchemy import select

from concepts.errors import (
    ConflictError,
    InputError,
    NotFoundError,
    PolicyError,
    VerificationError,
)
from concepts.signing.keys import PrivateKey
from registry.store.models import Release, SignatureRow
from tests.registry.conftest import plain


@pytest.fixture
def released(registry, define, collect):
    """A registry with two releases of 'policy' and one of 'weapons'."""
    for seed, slug in enumerate(("bomb", "pistol")):
        registry.concepts.add(define(slug), actor="ann")
        registry.versions.add(slug, [collect(seed)], actor="ann")
    registry.releases.add("policy", actor="bob")
    registry.versions.add("pistol", [collect(7)], actor="ann")
    registry.releases.add("policy", ["pistol"], actor="bob", disabled={"pistol": "5d"})
    registry.releases.add("weapons", ["bomb"], actor="bob")
    return registry


def test_a_channel_points_to_a_release_and_keeps_every_move(released):
    first, second = released.releases.list("policy")
    made = released.channels.move("prod", "policy", 1, actor="bob", reason="start")
    assert (made.name, made.bundle, made.sequence, made.moves) == ("prod", "policy", 1, 1)
    assert (made.bundle_digest, made.moved_by, made.reason) == (first.bundle_digest, "bob", "start")
    moved = released.channels.move("prod", "policy", actor="cem")
    assert (moved.sequence, moved.moves) == (2, 2)
    assert released.channels.list() == [moved]
    history = released.channels.history("prod")
    assert [(m.number, m.sequence, m.bundle_digest, m.by, m.reason) for m in history] == [
        (1, 1, first.bundle_digest, "bob", "start"), (2, 2, second.bundle_digest, "cem", ""),
    ]  # fmt: skip
    assert [move.at for move in history] == [made.since, moved.since]
    event = released.audit.events()[-1]
    assert (event.actor, event.action, event.subject) == ("cem", "channel.move", "prod")
    assert event.details == {
        "bundle": "policy", "sequence": 2, "bundle_digest": second.bundle_digest, "number": 2,
        "reason": "", "before": 1,
    }  # fmt: skip


def test_channels_are_listed_by_name(released):
    for name in ("staging", "canary", "prod"):
        released.channels.move(name, "policy", actor="bob")
    assert [item.name for item in released.channels.list()] == ["canary", "prod", "staging"]


def test_what_is_live_everywhere_is_told_at_once(released):
    released.channels.move("prod", "policy", 1, actor="bob")
    released.channels.move("canary", "policy", 2, actor="bob")
    released.channels.move("arms", "weapons", actor="bob")
    told = released.channels.now()
    assert [item.channel for item in told] == ["arms", "canary", "prod"]
    assert told == [replace(released.channels.live(i.channel), at=told[0].at) for i in told]


def test_the_events_of_a_release_tell_that_it_went_live(released):
    released.channels.move("prod", "policy", 1, actor="bob", reason='"sequence":2}')
    released.channels.move("prod", "policy", 2, actor="bob", reason="tried")
    released.channels.move("arms", "weapons", actor="bob")
    found = [
        [(event.action, event.subject) for event in released.audit.events(subject=name)]
        for name in ("policy@2", "policy@3", "weapons@1")
    ]
    assert found == [
        [("release.add", "policy#2"), ("channel.move", "prod")],
        [],
        [("release.add", "weapons#1"), ("channel.move", "arms")],
    ]


def test_what_was_live_is_known_at_any_time(released, travel):
    started = travel("1d")
    released.channels.move("prod", "policy", 1, actor="bob", reason="start")
    moved = travel("2d")
    released.channels.move("prod", "policy", 2, actor="cem")
    travel("3d")
    back = released.releases.roll_back("policy", 1, actor="bob", reason="too many hits")
    returned = released.channels.move("prod", "policy", actor="bob").since
    for at, sequence, since in (
        (started, 1, started), ("36h", 1, started), (moved, 2, moved), (returned, 3, returned),
        ("1000d", 3, returned), (None, 3, returned),
    ):  # fmt: skip
        live = released.channels.live("prod", at)
        assert (live.channel, live.bundle, live.sequence, live.since) == (
            "prod", "policy", sequence, since,
        )  # fmt: skip
    assert released.channels.live("prod").release == plain(back)
    first = released.channels.live("prod", started)
    assert (first.at, first.moved_by, first.reason) == (started, "bob", "start")
    assert first.release == released.releases.list("policy")[0]


def test_what_was_live_names_who_approved_what_and_when(released, collect):
    released.team.set_policy(actor="ann", approvals=2, self_approval=False)
    released.versions.add("pistol", [collect(8)], actor="ann")
    released.versions.submit("pistol", actor="ann")
    for name in ("dia", "cem"):
        released.versions.approve("pistol", actor=name)
    approved_at = released.audit.events()[-1].at
    released.releases.add("policy", ["pistol"], actor="bob")
    released.channels.move("prod", "policy", actor="bob")
    bomb, pistol = released.channels.live("prod").release.members
    assert (bomb.approval, bomb.approved_by) == ("policy", ("bob",))
    assert (pistol.version, pistol.approval, pistol.approved_by) == (3, "review", ("cem", "dia"))
    assert pistol.approved_at == approved_at


def test_what_was_live_says_what_was_enforced_then(released):
    released.channels.move("prod", "policy", 2, actor="bob")
    assert released.channels.live("prod").enforced == ("bomb",)
    assert released.channels.live("prod", "6d").enforced == ("bomb", "pistol")


def test_nothing_was_live_before_the_first_move(released):
    released.channels.move("prod", "policy", actor="bob")
    with pytest.raises(NotFoundError, match="did not point to anything yet at 2020-01-01T"):
        released.channels.live("prod", "2020-01-01")
    for read in (released.channels.live, released.channels.history):
        with pytest.raises(NotFoundError, match=r"No channel 'prd'\. Did you mean 'prod'"):
            read("prd")
    with pytest.raises(InputError, match="'yesterday' is not an instant"):
        released.channels.live("prod", "yesterday")


def test_a_channel_keeps_its_bundle_and_moves_only_elsewhere(released):
    released.channels.move("prod", "policy", actor="bob")
    with pytest.raises(ConflictError, match="belongs to bundle 'policy', not 'weapons'"):
        released.channels.move("prod", "weapons", actor="bob")
    for sequence in (None, 2):
        with pytest.raises(ConflictError, match="already points to policy@2"):
            released.channels.move("prod", "policy", sequence, actor="bob")
    with pytest.raises(NotFoundError, match="has no release 9"):
        released.channels.move("prod", "policy", 9, actor="bob")
    with pytest.raises(NotFoundError, match="Did you mean 'policy'"):
        released.channels.move("prod", "polic", actor="bob")
    with pytest.raises(InputError, match="lower-case words"):
        released.channels.move("Prod!", "policy", actor="bob")
    assert len(released.channels.history("prod")) == 1


def test_a_channel_moves_only_from_the_release_expected(released):
    first, second = released.releases.list("policy")
    move = released.channels.move
    with pytest.raises(ConflictError, match="'prod' has digest none, expected"):
        move("prod", "policy", 1, actor="bob", expect_digest=first.bundle_digest)
    assert released.channels.list() == []
    move("prod", "policy", 1, actor="bob", expect_digest="")
    with pytest.raises(ConflictError, match="expected none"):
        move("prod", "policy", 2, actor="bob", expect_digest="")
    move("prod", "policy", 2, actor="bob", expect_digest=first.bundle_digest)
    with pytest.raises(ConflictError, match=second.bundle_digest):
        move("prod", "policy", 1, actor="bob", expect_digest=first.bundle_digest)


def test_a_release_goes_live_only_with_the_signatures_that_the_policy_asks_for(released):
    one, two = PrivateKey.generate(), PrivateKey.generate()
    for name, key in (("one", one), ("two", two)):
        released.keys.add(name, key.public, actor="ann")
    released.team.set_policy(actor="ann", signatures=1)
    with pytest.raises(PolicyError, match="signed by 0 of the 1 listed keys"):
        released.channels.move("prod", "policy", actor="bob")
    released.keys.rotate(actor="ann", signers=[one], add=["one", "two"])
    released.releases.sign("policy", actor="bob", keys=[one])
    assert released.channels.move("prod", "policy", actor="bob").sequence == 2
    released.keys.rotate(actor="ann", signers=[two], revoke=["one"])
    with pytest.raises(PolicyError, match="signed by 0 of the 1 listed keys"):
        released.channels.move("staging", "policy", actor="bob")
    released.releases.sign("policy", actor="bob", keys=[two])
    assert released.channels.move("staging", "policy", actor="bob").moves == 1


def test_only_keys_that_engines_of_older_lists_count_are_counted(released):
    one, two = PrivateKey.generate(), PrivateKey.generate()
    for name, key in (("one", one), ("two", two)):
        released.keys.add(name, key.public, actor="ann")
    released.team.set_policy(actor="ann", signatures=2)
    released.keys.rotate(actor="ann", signers=[one], add=["one"])
    made = released.releases.add("policy", actor="bob", keys=[one])
    released.keys.rotate(actor="ann", signers=[one, two], add=["two"])
    with released.workspace.work(
        "bob", "publisher"
    ) as unit:  # as a version before this rule let it
        value = released.releases.bundle("policy").sign(two).signatures
        (item,) = [item for item in value if item.key_id == two.public.key_id]
        row = SignatureRow(key_id=item.key_id, value=item.value.hex(), at=unit.at, by="bob")
        row.release_id = unit.session.scalars(
            select(Release.id).filter_by(bundle_digest=made.bundle_digest)
        ).one()
        unit.session.add(row)
        unit.record("release.sign", "policy")
    with pytest.raises(PolicyError, match=r"signed by 1 of the 2.*release again"):
        released.channels.move("prod", "policy", actor="bob")
    released.releases.add("policy", actor="bob", keys=[one, two])
    assert released.channels.move("prod", "policy", actor="bob").moves == 1


def test_what_was_revoked_or_has_expired_does_not_go_live(released, travel):
    released.versions.revoke("pistol", 1, actor="ann", reason="broken")
    with pytest.raises(PolicyError, match="holds revoked versions: pistol@1"):
        released.channels.move("prod", "policy", 1, actor="bob")
    released.releases.add("policy", actor="bob", expires="7d")
    travel("8d")
    with pytest.raises(PolicyError, match="policy@3 expired at"):
        released.channels.move("prod", "policy", 3, actor="bob")


def test_what_is_revoked_or_expires_while_it_is_live_is_told(released):
    released.releases.add("policy", actor="bob", expires="7d")
    released.channels.move("prod", "policy", actor="bob")
    before = released.channels.live("prod")
    assert (before.revoked, before.expired) == ((), False)
    released.versions.revoke("pistol", 2, actor="ann", reason="broken")
    assert released.channels.live("prod").revoked == ("pistol",)
    assert released.channels.live("prod", "8d").expired is True


def test_a_damaged_release_does_not_go_live(released):
    for path in (released.home / "blobs").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(VerificationError, match="is corrupt"):
        released.channels.move("prod", "policy", actor="bob")
    assert released.channels.list() == []


def test_only_publishers_move_channels(released):
    released.team.set("ann", actor="ann", roles=["admin"])
    with pytest.raises(PolicyError, match="this needs the role publisher"):
        released.channels.move("prod", "policy", actor="ann")
