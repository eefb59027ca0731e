import dataclasses
import threading
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import text

from concepts.bundle import lock_digest, locked_members, read_bundle, write_bundle
from concepts.errors import (
    ConflictError,
    InputError,
    NotFoundError,
    PolicyError,
    VerificationError,
)
from concepts.instant import parse_instant
from concepts.signing.keys import PrivateKey
from registry import Registry
from registry.answers import Coverage, Difference, Gap
from registry.operations import backup, restore
from registry.store.db import transaction
from tests.registry.conftest import plain


def space_of(registry, slug):
    return registry.concepts.get(slug).versions[-1].spaces[0].digest


def modes(info):
    return {member.slug: member.mode for member in info.members}


def test_a_release_tells_all_about_itself(fill):
    registry = fill("bomb", "pistol")
    first = registry.releases.add("policy", actor="bob", note="the first")
    second = registry.releases.add(
        "policy", ["bomb", "pistol@1"], actor="bob", modes={"bomb": "log"}, allow_shrink=True,
        expires="30d",
    )  # fmt: skip
    assert (first.sequence, first.previous_digest, first.note) == (1, None, "the first")
    assert (first.expires_at, first.rollback_of, first.key_list) == (None, None, 0)
    assert (first.revocations, first.signatures) == ((), ())
    assert (second.sequence, second.previous_digest) == (2, first.bundle_digest)
    assert second.expires_at == parse_instant("30d", now=second.created_at)
    assert modes(second) == {"bomb": "log", "pistol": "enforce"}
    listed = [plain(first), plain(second)]
    assert registry.releases.list("policy") == registry.releases.list() == listed
    bundle = registry.releases.bundle("policy")
    assert (bundle.previous, bundle.created, bundle.expires) == (
        first.bundle_digest, second.created_at, second.expires_at,
    )  # fmt: skip
    assert bundle.lock_digest == lock_digest(locked_members(bundle.variants))


def test_releases_of_one_bundle_only(fill):
    registry = fill("bomb")
    registry.releases.add("policy", actor="bob")
    other = registry.releases.add("weapons", actor="bob")
    assert registry.releases.list("weapons") == [plain(other)]
    with pytest.raises(NotFoundError, match=r"No bundle 'weapns'\. Did you mean 'weapons'"):
        registry.releases.list("weapns")


def test_an_exported_bundle_reads_back_and_is_the_same_file_each_time(fill):
    registry = fill("bomb", "pistol")
    registry.releases.add(
        "policy", actor="bob", modes={"bomb": "shadow"}, thresholds={"pistol": 1.5},
        disabled={"bomb": "5d"},
    )  # fmt: skip
    data = write_bundle(registry.releases.bundle("policy"))
    assert write_bundle(registry.releases.bundle("policy")) == data
    bomb, pistol = read_bundle(data).variants[0].members
    assert (bomb.mode, bomb.threshold) == ("shadow", None)
    assert bomb.disabled_until is not None
    assert (pistol.seed_threshold, pistol.grow_threshold) == (1.5, 0.5)


def test_drafts_are_approved_by_their_release_where_no_approvals_are_asked_for(fill):
    registry = fill("bomb", "pistol")
    registry.versions.submit("bomb", actor="ann")
    info = registry.releases.add("policy", actor="bob")
    assert [version.state for version in registry.concepts.get("pistol").versions] == ["approved"]
    assert [(m.slug, m.approval, m.approved_by) for m in info.members] == [
        ("bomb", "policy", ("ann",)), ("pistol", "policy", ("bob",)),
    ]  # fmt: skip
    event = registry.audit.events()[-1]
    assert (event.action, event.subject) == ("release.add", "policy#1")
    assert event.details["approved"] == ["pistol@1"]


def test_where_approvals_are_asked_for_only_approved_versions_are_released(fill, registry, collect):
    fill("bomb", "pistol")
    registry.team.set_policy(actor="ann", approvals=1)
    with pytest.raises(PolicyError, match=r"'bomb' is draft\. Submit it .* 'pistol' is draft"):
        registry.releases.add("policy", actor="bob")
    registry.versions.submit("pistol", actor="ann")
    with pytest.raises(PolicyError, match="'pistol' is in_review"):
        registry.releases.add("policy", ["pistol"], actor="bob")
    registry.versions.approve("pistol", actor="cem")
    registry.versions.add("pistol", [collect(7)], actor="ann")
    info = registry.releases.add("policy", actor="bob")
    assert [(m.slug, m.version, m.approved_by) for m in info.members] == [
        ("pistol", 1, ("cem",))
    ]  # fmt: skip
    with pytest.raises(PolicyError, match="Version 2 of 'pistol' is draft"):
        registry.releases.add("policy", ["pistol@2"], actor="bob")


def test_versions_are_taken_by_number(fill, collect):
    registry = fill("pistol")
    registry.versions.add("pistol", [collect(7)], actor="ann")
    info = registry.releases.add("policy", ["pistol@1"], actor="bob")
    assert [(m.slug, m.version) for m in info.members] == [("pistol", 1)]
    for name in ("pistol@3", "pistol@x", "pistol@٣"):
        with pytest.raises(NotFoundError, match="has no version"):
            registry.releases.add("policy", [name], actor="bob")
    with pytest.raises(ConflictError, match="Two versions of 'pistol'"):
        registry.releases.add("policy", ["pistol@1", "pistol"], actor="bob")


def test_deprecated_versions_are_released_only_by_number_and_revoked_ones_never(fill, collect):
    registry = fill("pistol")
    registry.versions.add("pistol", [collect(7)], actor="ann")
    registry.releases.add("policy", actor="bob")
    registry.versions.deprecate("pistol", 2, actor="ann")
    assert registry.releases.add("policy", ["pistol"], actor="bob").members[0].version == 1
    assert registry.releases.add("policy", ["pistol@2"], actor="bob").members[0].version == 2
    registry.versions.revoke("pistol", 2, actor="ann", reason="broken")
    with pytest.raises(PolicyError, match="Version 2 of 'pistol' is revoked"):
        registry.releases.add("policy", ["pistol@2"], actor="bob")


def test_revocations_of_a_bundles_concepts_ship_with_its_releases(fill, collect):
    registry = fill("bomb", "knife", "pistol")
    registry.releases.add("policy", ["bomb", "pistol"], actor="bob")
    registry.versions.add("pistol", [collect(7)], actor="ann")
    registry.versions.submit("knife", actor="ann")
    revoked = [registry.versions.revoke("pistol", 1, actor="ann", reason="broken")]
    registry.versions.revoke("knife", actor="ann", reason="never part of this bundle")
    info = registry.releases.add("policy", ["pistol"], actor="bob")
    assert info.revocations == tuple(item.content_digest for item in revoked)
    assert registry.releases.bundle("policy").revocations == info.revocations
    registry.releases.add("policy", actor="bob", drop=["pistol"])
    assert registry.releases.bundle("policy").revocations == info.revocations


def test_modes_thresholds_and_pauses_are_kept_by_the_next_release(fill, collect):
    registry = fill("bomb", "pistol")
    first = registry.releases.add(
        "policy", actor="bob", modes={"bomb": "log"}, thresholds={"pistol": 1.5, "bomb": 1},
        disabled={"pistol": "5d"},
    )  # fmt: skip
    assert registry.releases.add("policy", actor="bob").lock_digest == first.lock_digest
    registry.versions.add("pistol", [collect(7)], actor="ann")
    bomb, pistol = registry.releases.add("policy", ["pistol"], actor="bob").members
    assert (bomb.mode, bomb.thresholds) == ("log", {space_of(registry, "bomb"): 1.0})
    # Another version's scores differ, so its threshold goes; the pause is the concept's.
    assert (pistol.version, pistol.thresholds) == (2, {})
    assert pistol.disabled_until == first.members[1].disabled_until


def test_a_pause_that_is_over_is_not_kept(fill, travel):
    registry = fill("pistol")
    registry.releases.add("policy", actor="bob", disabled={"pistol": "2d"}, enforce_nothing=True)
    travel("1d")
    assert registry.releases.add("policy", actor="bob").members[0].disabled_until is not None
    travel("3d")
    assert registry.releases.add("policy", actor="bob").members[0].disabled_until is None


def test_overrides_are_taken_back(fill):
    registry = fill("pistol")
    registry.releases.add(
        "policy", actor="bob", thresholds={"pistol": 1.5}, disabled={"pistol": "5d"},
        modes={"pistol": "log"},
    )  # fmt: skip
    info = registry.releases.add(
        "policy", actor="bob", thresholds={"pistol": None}, disabled={"pistol": None},
        modes={"pistol": "enforce"},
    )  # fmt: skip
    (member,) = info.members
    assert (member.mode, member.thresholds, member.disabled_until) == ("enforce", {}, None)


def test_thresholds_go_by_task_or_space(fill, collect):
    registry = fill("pistol")
    registry.versions.add("pistol", [collect(1, "edit")], actor="ann")
    spaces = {s.space.task: s.digest for s in registry.concepts.get("pistol").versions[-1].spaces}
    registry.releases.add("policy", actor="bob", thresholds={"pistol": {"t2i": 1.5}})
    info = registry.releases.add("policy", actor="bob", thresholds={"pistol": {spaces["edit"]: 1}})
    assert info.members[0].thresholds == {spaces["t2i"]: 1.5, spaces["edit"]: 1.0}
    info = registry.releases.add("policy", actor="bob", thresholds={"pistol": {"t2i": None}})
    assert info.members[0].thresholds == {spaces["edit"]: 1.0}
    with pytest.raises(InputError, match="give one threshold for each task"):
        registry.releases.add("policy", actor="bob", thresholds={"pistol": 2.5})
    with pytest.raises(NotFoundError, match="no anchors of 'video', only testbed edit, testbed"):
        registry.releases.add("policy", actor="bob", thresholds={"pistol": {"video": 2.5}})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"modes": {"pistl": "log"}}, NotFoundError, "not a member .* Did you mean 'pistol'"),
        ({"thresholds": {"bomb": 2.0}}, NotFoundError, "'bomb' is not a member of this release"),
        ({"disabled": {"bomb": "5d"}}, NotFoundError, "'bomb' is not a member of this release"),
        ({"modes": {"pistol": "block"}}, NotFoundError, "Modes: enforce, log, shadow"),
        ({"thresholds": {"pistol": float("nan")}}, InputError, "must be finite"),
        ({"thresholds": {"pistol": "2"}}, InputError, "must be a number"),
        ({"disabled": {"pistol": "soon"}}, InputError, "'soon' is not an instant"),
        ({"disabled": {"pistol": "2020-01-01"}}, InputError, "lies in the past"),
        ({"expires": "2020-01-01"}, InputError, "Expires 2020-.* lies in the past"),
    ],
)
def test_wrong_changes_are_refused_and_leave_nothing(fill, changes, error, message):
    registry = fill("pistol")
    with pytest.raises(error, match=message):
        registry.releases.add("policy", actor="bob", **changes)
    assert registry.releases.list() == []
    assert registry.concepts.get("pistol").versions[0].state == "draft"


def test_a_rollback_is_a_new_release_with_the_old_lock(fill, collect):
    registry = fill("bomb", "pistol")
    first = registry.releases.add("policy", actor="bob", thresholds={"pistol": 1.5})
    registry.versions.add("pistol", [collect(7)], actor="ann")
    second = registry.releases.add("policy", ["pistol"], actor="bob")
    back = registry.releases.roll_back("policy", 1, actor="bob", reason="too many hits")
    assert (back.sequence, back.rollback_of, back.note) == (3, 1, "too many hits")
    assert (back.lock_digest, back.members) == (first.lock_digest, first.members)
    assert (back.previous_digest, back.bundle_digest != first.bundle_digest) == (
        second.bundle_digest, True,
    )  # fmt: skip
    assert registry.releases.bundle("policy").digest == back.bundle_digest
    event = registry.audit.events()[-1]
    assert (event.action, event.subject) == ("release.rollback", "policy#3")
    assert (event.details["rollback_of"], event.details["reason"]) == (1, "too many hits")


def test_a_rollback_to_what_cannot_be_is_refused(fill, collect):
    registry = fill("pistol")
    registry.releases.add("policy", actor="bob")
    registry.versions.add("pistol", [collect(7)], actor="ann")
    registry.releases.add("policy", ["pistol"], actor="bob")
    for arguments, error, message in (
        (("polic", 1), NotFoundError, "Did you mean 'policy'"),
        (("policy", 9), NotFoundError, "has no release 9"),
        (("policy", 2), ConflictError, "is the newest"),
    ):
        with pytest.raises(error, match=message):
            registry.releases.roll_back(*arguments, actor="bob", reason="why")
    with pytest.raises(PolicyError, match="needs a reason"):
        registry.releases.roll_back("policy", 1, actor="bob", reason=" ")
    registry.versions.revoke("pistol", 1, actor="ann", reason="broken")
    with pytest.raises(PolicyError, match=r"holds pistol@1, which was revoked"):
        registry.releases.roll_back("policy", 1, actor="bob", reason="why")
    assert len(registry.releases.list()) == 2


def test_a_rollback_that_enforces_less_is_refused_unless_asked_for(fill):
    registry = fill("bomb", "pistol")
    registry.releases.add("policy", ["bomb"], actor="bob")
    registry.releases.add("policy", ["pistol"], actor="bob")
    back = partial(registry.releases.roll_back, "policy", 1, actor="bob", reason="why")
    with pytest.raises(PolicyError, match=r"1 of 2 .*: pistol \(removed\).* add --drop pistol$"):
        back(allow_shrink=True)
    with pytest.raises(ConflictError, match="'bomb' does not go by a rollback to policy@1"):
        back(drop=["bomb", "pistol"])
    made = back(drop=["pistol"])
    assert made.changes == (Difference("pistol", "removed", 1, None),)
    assert made.left_out == (
        Gap("pistol", "version 1 is approved", nowhere=True, takes="pistol@1"),
    )


def test_a_release_tells_by_model_which_tasks_no_member_covers(fill, collect):
    registry = fill("bomb", "pistol")
    anchors, scorer = collect(3)
    edit, check, other = (
        replace(anchors, space=replace(anchors.space, **place))
        for place in ({"task": "edit"}, {"task": "check"}, {"model": "other", "task": "edit"})
    )
    registry.versions.add("bomb", [(edit, scorer), (other, scorer)], actor="ann")
    registry.versions.add("pistol", [(check, scorer)], actor="ann")
    made = registry.releases.add("policy", ["bomb"], actor="bob")
    assert made.coverage == (
        Coverage("other", ("edit",), ("t2i", "check")),
        Coverage("testbed", ("t2i", "edit"), ("check",)),
    )
    again = registry.releases.add("policy", ["pistol"], actor="bob")
    assert again.coverage[1:] == (Coverage("testbed", ("t2i", "edit", "check"), ()),)
    assert registry.releases.get("policy", 1).coverage == made.coverage
    emptied = registry.releases.add(
        "policy", actor="bob", drop=["bomb", "pistol"], enforce_nothing=True
    )
    assert emptied.coverage == ()


def test_a_release_is_made_only_after_the_one_expected(fill):
    registry = fill("pistol")
    with pytest.raises(ConflictError, match="has digest none, expected 00"):
        registry.releases.add("policy", actor="bob", expect_digest="0" * 64)
    first = registry.releases.add("policy", actor="bob", expect_digest="")
    with pytest.raises(ConflictError, match="expected none"):
        registry.releases.add("policy", actor="bob", expect_digest="")
    second = registry.releases.add("policy", actor="bob", expect_digest=first.bundle_digest)
    with pytest.raises(ConflictError, match=second.bundle_digest):
        registry.releases.roll_back(
            "policy", 1, actor="bob", reason="why", expect_digest=first.bundle_digest
        )


def test_a_release_is_made_only_if_it_is_what_was_looked_at(fill, collect):
    registry = fill("pistol", "knife")
    seen = registry.rehearsal().releases.add("policy", actor="bob", include="all")
    registry.versions.add("pistol", [collect(7)], actor="ann")
    with pytest.raises(ConflictError, match="What would be released of 'policy'"):
        registry.releases.add(
            "policy", actor="bob", include="all", expect_lock=seen.lock_digest
        )  # fmt: skip
    again = registry.rehearsal().releases.add("policy", actor="bob", include="all")
    made = registry.releases.add(
        "policy", actor="bob", include="all", expect_lock=again.lock_digest
    )  # fmt: skip
    assert made.lock_digest == again.lock_digest != seen.lock_digest


def test_a_release_is_told_again_as_when_it_was_made(fill):
    registry = fill("pistol", "knife")
    registry.releases.add("policy", actor="bob", note="all")
    made = registry.releases.add("policy", actor="bob", drop={"knife"}, note="fewer")
    assert registry.releases.get("policy") == registry.releases.get("policy", 2) == made
    assert [
        (item.sequence, item.concepts, item.note) for item in registry.releases.summaries()
    ] == [
        (1, 2, "all"),
        (2, 1, "fewer"),
    ]


def test_a_dry_run_tells_what_a_release_would_be_and_keeps_nothing(tmp_path, define, collect):
    registry = Registry.create(tmp_path)
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect()], actor="ann")
    dry = Registry(dataclasses.replace(registry.workspace, dry_run=True))
    assert dry.releases.add("policy", actor="bob").sequence == 1
    assert registry.releases.list() == []
    assert registry.concepts.get("pistol").versions[0].state == "draft"


def test_releases_made_at_once_get_numbers_of_their_own(fill):
    registry = fill("pistol")
    made = []

    def release():
        made.append(registry.releases.add("policy", actor="bob"))

    threads = [threading.Thread(target=release) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = registry.releases.list()
    assert [plain(info) for info in sorted(made, key=lambda info: info.sequence)] == found
    assert [info.sequence for info in found] == [1, 2, 3, 4, 5, 6]
    digests = [None, *(info.bundle_digest for info in found)]
    assert [info.previous_digest for info in found] == digests[:-1]


def test_only_publishers_release(fill):
    registry = fill("pistol")
    registry.team.set("ann", actor="ann", roles=["admin", "curator"])
    with pytest.raises(PolicyError, match="this needs the role publisher"):
        registry.releases.add("policy", actor="ann")
    registry.team.set("bob", actor="ann", roles=["publisher"])
    assert registry.releases.add("policy", actor="bob").sequence == 1


def test_releases_from_before_signatures_say_what_to_do(fill):
    registry = fill("pistol")
    first = registry.releases.add("policy", actor="bob")
    with transaction(registry.workspace.engine, write=True) as connection:
        drop = "DROP TRIGGER uvr_release_update"
        postgres = connection.dialect.name == "postgresql"
        connection.execute(text(f"{drop} ON release" if postgres else drop))
        connection.execute(text("UPDATE release SET format = 0"))
    with pytest.raises(PolicyError, match=r"made before bundles were signed.*rollback policy@1"):
        registry.releases.bundle("policy")
    back = registry.releases.roll_back("policy", 1, actor="bob", reason="a new format")
    assert (back.lock_digest, back.sequence) == (first.lock_digest, 2)
    assert registry.releases.bundle("policy").previous == first.bundle_digest


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("release", "note = 'x', expires_at = '2099-01-01T00:00:00.000000Z'"),
        ("release_member", "mode = 'shadow'"),
        ("release", "key_list = 0"),
        ("policy", "registry_id = 'ffffffffffffffffffffffffffffffff'"),
    ],
)
def test_rows_that_another_program_changed_are_noticed(fill, table, change):
    registry = fill("pistol")
    key = PrivateKey.generate()
    registry.keys.add("first", key.public, actor="ann")
    registry.keys.rotate(actor="ann", signers=[key], add=["first"])
    registry.releases.add("policy", actor="bob", keys=[key])
    with transaction(registry.workspace.engine, write=True) as connection:
        postgres = connection.dialect.name == "postgresql"
        drop = f"DROP TRIGGER IF EXISTS uvr_{table}_update"
        connection.execute(text(f"{drop} ON {table}" if postgres else drop))
        connection.execute(text(f"UPDATE {table} SET {change}"))
    with pytest.raises(VerificationError, match="no longer has its recorded digest"):
        registry.releases.bundle("policy")


def test_a_restored_registry_exports_the_same_file_on_either_database(fill, request, tmp_path):
    registry = fill("bomb", "pistol")
    key = PrivateKey.generate()
    registry.keys.add("first", key.public, actor="ann")
    registry.keys.rotate(actor="ann", signers=[key], add=["first"])
    registry.releases.add(
        "policy", actor="bob", keys=[key], thresholds={"bomb": 1.5}, expires="30d"
    )
    data = write_bundle(registry.releases.bundle("policy"))
    backup(registry.workspace, tmp_path / "all.backup")
    other = request.getfixturevalue("postgres_url")
    url = None if registry.workspace.engine.dialect.name == "postgresql" else other
    restored = Registry(restore(tmp_path / "all.backup", tmp_path / "restored", url))
    assert restored.workspace.engine.dialect.name != registry.workspace.engine.dialect.name
    assert write_bundle(restored.releases.bundle("policy")) == data
