import threading

import pytest
from sqlalchemy import text

from concepts.errors import ConflictError, NotFoundError, PolicyError, VerificationError
from registry import Registry
from registry.operations import export_concept, import_concept
from registry.store.db import transaction
from registry.versions.lifecycle import approve_on_release
from registry.versions.reading import find_concept, find_version


@pytest.fixture
def team(registry, define, collect):
    """A registry of five people that asks for two approvals, and a draft by ann."""
    actors = registry.team
    actors.set("root", actor="root", roles=["admin", "publisher", "curator", "reviewer"])
    actors.set("ann", actor="root", roles=["curator", "reviewer"])
    for name in ("bob", "cem", "dia"):
        actors.set(name, actor="root", roles=["reviewer"])
    actors.set_policy(actor="root", approvals=2, self_approval=False)
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect(1)], actor="ann")
    return registry


def version(registry, number=1):
    return registry.concepts.get("pistol").versions[number - 1]


def last_event(registry):
    return registry.audit.history("pistol")[-1]


def test_two_approvals_make_a_version_approved(team):
    submitted = team.versions.submit("pistol", actor="ann", note="please")
    assert (submitted.state, submitted.authors, submitted.approvals) == ("in_review", ("ann",), 0)
    first = team.versions.approve("pistol", actor="bob")
    assert (first.state, first.approvals) == ("in_review", 1)
    (request,) = team.versions.requests()
    assert (request.slug, request.version, request.note) == ("pistol", 1, "please")
    assert (request.approvals, request.needed) == (("bob",), 2)
    second = team.versions.approve("pistol", actor="cem", reason="seen")
    assert (second.state, second.approvals) == ("approved", 2)
    assert team.versions.requests() == []
    (closed,) = team.versions.requests("approved")
    assert (closed.closed_by, [item.reviewer for item in closed.reviews]) == ("cem", ["bob", "cem"])


def test_each_step_is_one_event_that_names_the_content(team):
    team.versions.submit("pistol", actor="ann")
    team.versions.approve("pistol", actor="bob")
    team.versions.reject("pistol", actor="cem", reason="too wide")
    team.versions.submit("pistol", actor="ann")
    team.versions.approve("pistol", actor="bob")
    team.versions.approve("pistol", actor="cem")
    team.versions.deprecate("pistol", actor="ann", reason="old")
    team.versions.revoke("pistol", actor="root", reason="wrong")
    found = team.audit.history("pistol")[2:]
    assert [(item.actor, item.action, item.subject) for item in found] == [
        ("ann", "version.submit", "pistol@1"),
        ("bob", "version.approve", "pistol@1"),
        ("cem", "version.reject", "pistol@1"),
        ("ann", "version.submit", "pistol@1"),
        ("bob", "version.approve", "pistol@1"),
        ("cem", "version.approve", "pistol@1"),
        ("ann", "version.deprecate", "pistol@1"),
        ("root", "version.revoke", "pistol@1"),
    ]
    assert {item.details["content_digest"] for item in found} == {version(team).content_digest}
    assert [found[at].details["approved"] for at in (0, 1, 4, 5)] == [False, False, False, True]
    assert team.audit.verify().events == found[-1].number


def test_without_approvals_to_ask_for_a_submission_is_approved_at_once(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect()], actor="ann")
    assert registry.versions.submit("pistol", actor="ann").state == "approved"
    assert last_event(registry).details["approved"] is True
    (request,) = registry.versions.requests("approved")
    assert (request.closed_by, request.reviews) == ("ann", ())


def test_an_own_approval_is_refused_unless_the_policy_lets_it_count(team):
    team.versions.submit("pistol", actor="ann")
    with pytest.raises(PolicyError, match="'ann' wrote a part of version 1 of 'pistol'"):
        team.versions.approve("pistol", actor="ann")
    team.team.set_policy(actor="root", self_approval=True, approvals=1)
    assert team.versions.approve("pistol", actor="ann").state == "approved"


def test_who_wrote_the_definition_or_carried_anchors_is_an_author(team, define, collect):
    team.team.set("eve", actor="root", roles=["curator"])
    team.concepts.add(define(description="A handgun."), actor="root")
    made = team.versions.add("pistol", [collect(1, "edit")], actor="eve")
    assert made.authors == ("ann", "eve", "root")


def test_an_author_stays_one_whoever_brings_the_work_in_again(team, define, collect, tmp_path):
    team.team.set_policy(actor="root", approvals=1)
    team.team.set("eve", actor="root", roles=["curator"])
    team.concepts.add(define(near_misses=("a toy pistol", "a drill")), actor="eve")
    made = team.versions.add("pistol", [collect(2)], actor="eve")
    assert made.authors == ("ann", "eve")  # Most of the words are ann's.
    export_concept(team.workspace, "pistol", tmp_path / "pistol.uvrc")
    for number in (1, 2):  # The file's versions are new again.
        team.versions.edit("pistol", number, actor="root", thresholds={"t2i": (2.5, 1)})
    assert import_concept(team.workspace, tmp_path / "pistol.uvrc", actor="eve").added == (3, 4)
    assert [version(team, number).authors for number in (3, 4)] == [
        ("ann", "eve", "root"), ("ann", "eve", "root"),
    ]  # fmt: skip
    team.versions.submit("pistol", 3, actor="eve")
    with pytest.raises(PolicyError, match="wrote a part"):
        team.versions.approve("pistol", 3, actor="ann")


def test_a_draft_that_another_program_emptied_is_never_approved(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect(1), collect(2, "edit")], actor="ann")
    with transaction(
        registry.workspace.engine, write=True
    ) as connection:  # The triggers let drafts change.
        connection.execute(text("DELETE FROM version_anchors WHERE space_id = 2"))
    for change in (registry.versions.submit, registry.releases.add):
        with pytest.raises(VerificationError, match="another program changed its rows"):
            change("pistol", actor="ann")
    assert version(registry).state == "draft"


def test_an_approval_taken_back_by_a_policy_change_does_not_count(team):
    team.team.set_policy(actor="root", self_approval=True)
    team.versions.submit("pistol", actor="ann")
    assert team.versions.approve("pistol", actor="ann").approvals == 1
    team.team.set_policy(actor="root", self_approval=False)
    assert team.versions.approve("pistol", actor="bob").approvals == 1
    assert team.versions.approve("pistol", actor="cem").state == "approved"


def test_nobody_approves_twice(team):
    team.versions.submit("pistol", actor="ann")
    team.versions.approve("pistol", actor="bob")
    with pytest.raises(ConflictError, match="'bob' has approved this content already"):
        team.versions.approve("pistol", actor="bob")
    assert version(team).approvals == 1


@pytest.mark.parametrize("change", [{"active": False}, {"roles": ["auditor"]}])
def test_a_reviewer_who_left_no_longer_counts(team, change):
    team.versions.submit("pistol", actor="ann")
    team.versions.approve("pistol", actor="bob")
    team.team.set("bob", actor="root", **change)
    assert (version(team).approvals, team.versions.requests()[0].approvals) == (0, ())
    assert team.versions.approve("pistol", actor="cem").state == "in_review"
    assert team.versions.approve("pistol", actor="dia").state == "approved"
    # What was approved stays approved.
    team.team.set("cem", actor="root", active=False)
    assert version(team).state == "approved"


def test_roles_are_asked_for(team):
    with pytest.raises(PolicyError, match="this needs the role curator"):
        team.versions.submit("pistol", actor="bob")
    team.versions.submit("pistol", actor="ann")
    with pytest.raises(PolicyError, match="'zoe' is not an actor"):
        team.versions.approve("pistol", actor="zoe")
    with pytest.raises(PolicyError, match="this needs the role admin"):
        team.versions.approve("pistol", actor="bob", break_glass=True, reason="now")
    with pytest.raises(PolicyError, match="this needs the role admin"):
        team.versions.revoke("pistol", actor="ann", reason="no")


def test_breaking_the_glass_approves_at_once_with_a_reason(team):
    team.versions.submit("pistol", actor="ann")
    with pytest.raises(PolicyError, match="needs a reason"):
        team.versions.approve("pistol", actor="root", break_glass=True)
    done = team.versions.approve("pistol", actor="root", break_glass=True, reason="leak on air")
    assert done.state == "approved"
    event = last_event(team)
    assert (event.action, event.details["reason"]) == ("version.break_glass", "leak on air")
    (request,) = team.versions.requests("approved")
    assert [(item.reviewer, item.break_glass) for item in request.reviews] == [("root", True)]


def test_breaking_the_glass_after_an_own_approval(team):
    team.versions.submit("pistol", actor="ann")
    team.versions.approve("pistol", actor="root")
    team.versions.approve("pistol", actor="root", break_glass=True, reason="now")
    assert version(team).state == "approved"


def test_the_last_decisions_are_told(team):
    for number in range(3):
        team.versions.submit("pistol", actor="ann")
        team.versions.reject("pistol", actor="bob", reason=f"no {number}")
    told = [item.reviews[0].reason for item in team.versions.requests(closed=2)]
    assert told == ["no 1", "no 2"]
    team.versions.submit("pistol", actor="ann")
    assert len(team.versions.requests(closed=9)) == 3


def test_an_edit_in_review_makes_approvals_stale(team):
    team.versions.submit("pistol", actor="ann")
    team.versions.approve("pistol", actor="bob")
    before = version(team)
    after = team.versions.edit("pistol", actor="ann", thresholds={"t2i": (2.5, 0.5)})
    assert (after.number, after.state, after.approvals) == (1, "draft", 0)
    assert after.content_digest != before.content_digest
    assert (after.spaces[0].seed_threshold, after.spaces[0].grow_threshold) == (2.5, 0.5)
    assert [item.state for item in team.versions.requests(None)] == ["withdrawn"]
    team.versions.submit("pistol", actor="ann")
    assert version(team).approvals == 0
    assert team.versions.approve("pistol", actor="bob").state == "in_review"
    assert team.versions.approve("pistol", actor="cem").state == "approved"


def test_an_editor_becomes_an_author(team):
    team.versions.edit("pistol", actor="root", thresholds={"t2i": (2.5, 1.0)})
    assert version(team).authors == ("ann", "root")
    team.versions.submit("pistol", actor="ann")
    with pytest.raises(PolicyError, match="'root' wrote a part"):
        team.versions.approve("pistol", actor="root")


def test_an_edit_tells_how_thresholds_move(team):
    (space,) = team.versions.get("pistol").spaces
    before = [space.seed_threshold, space.grow_threshold]
    team.versions.edit("pistol", actor="ann", thresholds={"t2i": (2.5, 1.5)})
    assert team.audit.events()[-1].details["thresholds"] == {
        "testbed t2i": {"before": before, "after": [2.5, 1.5]}
    }


def test_an_edit_may_change_everything(team, define, collect):
    new = define(description="A handgun.")
    anchors, scorer = collect(5)
    before = version(team)
    after = team.versions.edit(
        "pistol", 1, actor="ann", definition=new, collections=[(anchors, scorer)],
        expect_digest=before.content_digest,
    )  # fmt: skip
    assert after.spaces[0].anchor_set == anchors.digest
    assert team.versions.anchor_set("pistol", anchors.space).to_bytes() == anchors.to_bytes()
    assert team.concepts.get("pistol").definition == new
    assert last_event(team).details == {
        "before": before.content_digest, "content_digest": after.content_digest,
        "authors": list(after.authors), "definition_digest": new.digest,
        "defined_by": ["ann"],
    }  # fmt: skip
    # The digest is the one that the same content has elsewhere.
    team.versions.add("pistol", [collect(6)], actor="ann")
    with pytest.raises(ConflictError, match="Version 1 of 'pistol' already has exactly"):
        team.versions.add("pistol", [collect(5)], actor="ann")


def test_an_edit_leaves_a_newer_definition_of_the_concept_alone(team, define):
    newer = define(description="Newer.")
    team.concepts.add(newer, actor="ann")
    team.versions.edit("pistol", actor="ann", definition=define(description="Other."))
    assert team.concepts.get("pistol").definition == newer


def test_edits_that_change_nothing_or_repeat_a_version_are_refused(team, define, collect):
    team.versions.add("pistol", [collect(2)], actor="ann")
    before = version(team, 1), version(team, 2), team.audit.events()
    with pytest.raises(ConflictError, match="exactly this content already"):
        team.versions.edit("pistol", actor="ann", thresholds={"t2i": (2.0, 1.0)})
    with pytest.raises(ConflictError, match="Version 1 of 'pistol' already has exactly"):
        team.versions.edit("pistol", actor="ann", collections=[collect(1)])
    with pytest.raises(ConflictError, match="of 'bomb', but the version is of 'pistol'"):
        team.versions.edit("pistol", actor="ann", definition=define("bomb"))
    with pytest.raises(NotFoundError, match=r"no anchors for 'edit'\. Name one space: t2i"):
        team.versions.edit("pistol", actor="ann", thresholds={"edit": (2.0, 1.0)})
    with pytest.raises(ValueError, match="an edit needs"):
        team.versions.edit("pistol", actor="ann")
    assert (version(team, 1), version(team, 2), team.audit.events()) == before


def test_approved_content_is_never_edited(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect()], actor="ann")
    registry.versions.submit("pistol", actor="ann")
    with pytest.raises(PolicyError, match=r"is approved, not in_review or draft\. Make a new"):
        registry.versions.edit("pistol", actor="ann", thresholds={"t2i": (2.5, 1.0)})


def test_a_state_is_left_only_where_the_machine_says(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    with pytest.raises(NotFoundError, match="'pistol' has no versions yet"):
        registry.versions.submit("pistol", actor="ann")
    registry.versions.add("pistol", [collect()], actor="ann")
    with pytest.raises(NotFoundError, match="has no version 2"):
        registry.versions.submit("pistol", 2, actor="ann")
    with pytest.raises(PolicyError, match=r"is draft, not in_review\. Submit it first"):
        registry.versions.approve("pistol", actor="ann")
    with pytest.raises(PolicyError, match="is draft, not in_review or approved or deprecated"):
        registry.versions.revoke("pistol", actor="ann", reason="no")
    registry.versions.submit("pistol", actor="ann")
    with pytest.raises(PolicyError, match="is approved, not draft"):
        registry.versions.submit("pistol", actor="ann")
    registry.versions.revoke("pistol", actor="ann", reason="no")
    for step in ("submit", "approve", "deprecate"):
        with pytest.raises(PolicyError, match="is revoked"):
            getattr(registry.versions, step)("pistol", actor="ann")
    with pytest.raises(PolicyError, match="That is final"):
        registry.versions.revoke("pistol", actor="ann", reason="again")


def test_a_reason_is_asked_for(team):
    team.versions.submit("pistol", actor="ann")
    with pytest.raises(PolicyError, match="A rejection needs a reason"):
        team.versions.reject("pistol", actor="bob", reason=" ")
    with pytest.raises(PolicyError, match="A revocation needs a reason"):
        team.versions.revoke("pistol", actor="root", reason="")


def test_a_version_in_review_may_be_revoked(team):
    team.versions.submit("pistol", actor="ann")
    assert team.versions.revoke("pistol", actor="root", reason="never").state == "revoked"
    assert [item.state for item in team.versions.requests(None)] == ["withdrawn"]


def test_who_approved_may_still_reject(team):
    team.versions.submit("pistol", actor="ann")
    team.versions.approve("pistol", actor="bob")
    assert team.versions.reject("pistol", actor="bob", reason="second thoughts").state == "draft"
    (request,) = team.versions.requests("rejected")
    assert (request.closed_by, request.approvals) == ("bob", ())


def test_the_newest_version_in_the_right_state_is_meant(team, collect):
    team.versions.add("pistol", [collect(2)], actor="ann")
    assert team.versions.submit("pistol", actor="ann").number == 2
    assert team.versions.submit("pistol", actor="ann").number == 1
    assert team.versions.approve("pistol", 1, actor="bob").number == 1
    assert team.versions.approve("pistol", actor="bob").number == 2


@pytest.mark.parametrize("step", ["submit", "approve", "reject", "edit", "deprecate", "revoke"])
def test_compare_and_set_refuses_other_content(team, step):
    reason = {"reason": "why"} if step in ("approve", "reject", "deprecate", "revoke") else {}
    if step == "edit":
        reason = {"thresholds": {"t2i": (2.5, 1.0)}}
    if step in ("approve", "reject", "deprecate", "revoke"):
        team.versions.submit("pistol", actor="ann")
    if step == "deprecate":
        team.versions.approve("pistol", actor="root", break_glass=True, reason="why")
    before = version(team), team.audit.events()
    digest = before[0].content_digest
    with pytest.raises(ConflictError, match=f"has digest {digest}, expected {'0' * 64}"):
        getattr(team.versions, step)("pistol", actor="root", expect_digest="0" * 64, **reason)
    assert (version(team), team.audit.events()) == before
    getattr(team.versions, step)("pistol", actor="root", expect_digest=digest, **reason)


def test_a_definition_may_be_compared_and_set(registry, define):
    with pytest.raises(ConflictError, match="has digest none"):
        registry.concepts.add(define(), actor="ann", expect_digest="0" * 64)
    registry.concepts.add(define(), actor="ann")
    with pytest.raises(ConflictError, match=f"has digest {define().digest}"):
        registry.concepts.add(define(name="Gun"), actor="ann", expect_digest="0" * 64)
    registry.concepts.add(define(name="Gun"), actor="ann", expect_digest=define().digest)


def test_a_dry_run_changes_nothing(team, tmp_path):
    url = str(team.workspace.engine.url.render_as_string(hide_password=False))
    dry = Registry.open(team.home, url, dry_run=True)
    before = version(team), team.audit.events()
    assert dry.versions.submit("pistol", actor="ann").state == "in_review"
    edited = dry.versions.edit("pistol", actor="ann", thresholds={"t2i": (2.5, 1.0)})
    assert edited.content_digest != before[0].content_digest
    assert (version(team), team.audit.events()) == before


def test_a_failed_edit_leaves_the_version_as_it_was(team, collect, monkeypatch):
    team.versions.submit("pistol", actor="ann")
    team.versions.approve("pistol", actor="bob")
    before = version(team), team.versions.requests(), sorted(team.workspace.store.root.rglob("*"))

    def fail(*_args, **_details):
        raise KeyboardInterrupt

    monkeypatch.setattr("registry.change.work.event.record", fail)
    with pytest.raises(KeyboardInterrupt):
        team.versions.edit("pistol", actor="ann", collections=[collect(7)])
    found = version(team), team.versions.requests(), sorted(team.workspace.store.root.rglob("*"))
    assert [*found[:2], [p for p in found[2] if p.is_file()]] == [
        *before[:2], [p for p in before[2] if p.is_file()],
    ]  # fmt: skip


def test_parallel_approvals_are_counted_once_each(team):
    team.versions.submit("pistol", actor="ann")
    done = []

    def approve(name):
        try:
            done.append((name, team.versions.approve("pistol", actor=name).state))
        except PolicyError:  # It was approved by the two before.
            done.append((name, "late"))

    threads = [threading.Thread(target=approve, args=(name,)) for name in ("bob", "cem", "dia")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(state for _, state in done) == ["approved", "in_review", "late"]
    assert version(team).approvals == 2


def test_a_release_approves_only_where_the_policy_asks_for_no_approvals(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect()], actor="ann")
    registry.team.set_policy(actor="ann", approvals=1)
    with pytest.raises(PolicyError):
        registry.releases.add("default", ["pistol"], actor="ann")
    registry.versions.submit("pistol", actor="ann")
    registry.team.set_policy(actor="ann", approvals=0)
    registry.releases.add("default", actor="ann")
    assert version(registry).state == "approved"
    assert [item.state for item in registry.versions.requests(None)] == ["approved"]
    assert last_event(registry).details["approved"] == ["pistol@1"]
    with registry.workspace.work("ann", "publisher") as unit:
        concept = find_concept(unit.session, "pistol")
        row = find_version(unit.session, concept)
        assert approve_on_release(unit, concept, row) is False


def test_the_log_follows_a_concept_into_releases_and_channels(registry, define, collect):
    for slug in ("pistol", "bomb"):
        registry.concepts.add(define(slug), actor="ann")
        registry.versions.add(slug, [collect()], actor="ann")
    registry.releases.add("pistol", ["bomb"], actor="ann")
    registry.releases.add("pistol", ["bomb", "pistol"], actor="ann")
    registry.channels.move("prod", "pistol", 1, actor="ann")
    registry.channels.move("prod", "pistol", 2, actor="ann")
    assert [(item.action, item.subject) for item in registry.audit.history("pistol")] == [
        ("concept.add", "pistol"),
        ("version.add", "pistol@1"),
        ("release.add", "pistol#2"),
        ("channel.move", "prod"),
    ]
    with pytest.raises(NotFoundError, match="Did you mean 'pistol'"):
        registry.audit.history("pistl")


def test_revoked_anchors_neither_come_back_nor_are_found(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    good, bad = collect(1, "edit"), collect(2, "edit")
    registry.versions.add("pistol", [good], actor="ann")
    registry.versions.add("pistol", [bad], actor="ann")
    registry.versions.submit("pistol", 2, actor="ann")
    registry.versions.revoke("pistol", 2, actor="ann", reason="wrong pictures")
    added = registry.versions.add("pistol", [collect(3, "t2i")], actor="ann")
    held = {space.space.task: space.anchor_set for space in added.spaces}
    assert held["edit"] == good[0].digest
    registry.versions.submit("pistol", 3, actor="ann")
    registry.versions.revoke("pistol", 3, actor="ann", reason="wrong pictures")
    (hits,) = registry.index.search(good[0].space, good[0].anchors[:1], 50, drafts=True)
    assert {hit.version for hit in hits} == {1}
