import pytest
from sqlalchemy import text

from concepts.calibration import Share
from concepts.errors import ConflictError, GateError, PolicyError
from concepts.evaluation import Asked
from concepts.gate import Gate
from registry.audit.comparison import row_differences
from registry.operations import backup, diagnose, export_concept, import_concept, restore
from registry.registry import Registry
from registry.store.db import transaction
from tests.conftest import toy_evaluation

GATE = Gate("mugs", {"t2i": {"erase_rate": 0.9}}, count=20)
GOOD = toy_evaluation()
POOR = toy_evaluation(asked=(Asked("t2i", "none", Share(20, 20), Share(15, 20)),), benign=())


@pytest.fixture
def team(registry, define, collect):
    """A registry with a gate that asks for one approval, and a version in review."""
    registry.team.set_policy(actor="ann", approvals=1, gate=GATE)
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect(1)], actor="ann")
    registry.versions.submit("pistol", actor="ann")
    return registry


def measure(registry, evaluation=GOOD, number=1):
    digest = registry.versions.get("pistol", number).content_digest
    return registry.versions.evaluate(
        "pistol", number, actor="eve", evaluation=evaluation, expect_digest=digest
    )


def problems(registry):
    return [line for check in diagnose(registry.workspace).checks for line in check.problems]


def test_an_evaluation_is_one_event_and_one_row_of_the_content(team):
    before = len(team.audit.events())
    (item,) = measure(team).evaluations
    assert (item.digest, item.figures, item.created_by) == (GOOD.digest, GOOD.to_dict(), "eve")
    (event,) = team.audit.events()[before:]
    assert (event.action, event.subject, event.actor) == ("version.evaluate", "pistol@1", "eve")
    assert event.details["evaluation"] == GOOD.digest
    assert event.details["report_digest"] == GOOD.report_digest
    assert team.versions.get("pistol").state == "in_review"
    assert problems(team) == []
    with pytest.raises(ConflictError, match="exactly this evaluation already"):
        measure(team)


def test_it_is_refused_for_other_content_and_for_a_revoked_version(team):
    with pytest.raises(ConflictError, match="It changed meanwhile"):
        team.versions.evaluate("pistol", 1, actor="eve", evaluation=GOOD, expect_digest="f" * 64)
    team.versions.revoke("pistol", 1, actor="ann", reason="wrong")
    with pytest.raises(PolicyError, match="is revoked"):
        measure(team)


def test_without_a_passing_evaluation_nothing_is_approved(team):
    with pytest.raises(
        GateError, match="no evaluation of this content by ours on the suite 'mugs'"
    ):
        team.versions.approve("pistol", actor="bob")
    measure(team, POOR)
    with pytest.raises(GateError, match=r"erase_rate 0.25 < 0.90 \(20 -> 15 of 20\)") as refused:
        team.versions.approve("pistol", actor="bob")
    assert refused.value.exit_code == 9
    assert team.versions.detail("pistol").gate == ("t2i erase_rate 0.25 < 0.90 (20 -> 15 of 20)",)
    assert team.versions.get("pistol").approvals == 0
    measure(team, GOOD)
    assert team.versions.detail("pistol").gate == ()
    assert team.versions.approve("pistol", actor="bob").state == "approved"
    assert problems(team) == []


def test_the_newest_evaluation_decides_and_a_good_one_of_another_suite_does_not(team):
    measure(team, GOOD)
    measure(team, POOR)
    measure(team, toy_evaluation(suite="cups"))
    with pytest.raises(GateError, match=r"erase_rate 0\.25"):
        team.versions.approve("pistol", actor="bob")


def test_an_approval_names_the_evaluation_that_was_shown(team):
    team.team.set_policy(actor="ann", approvals=2)
    measure(team, GOOD)
    team.versions.approve("pistol", actor="bob", expect_evaluation=GOOD.digest)
    newer = toy_evaluation(seed=8)
    measure(team, newer)
    with pytest.raises(ConflictError, match="The newest evaluation of version 1 of 'pistol'"):
        team.versions.approve("pistol", actor="cem", expect_evaluation=GOOD.digest)
    with pytest.raises(ConflictError, match="expected none"):
        team.versions.approve("pistol", actor="cem", expect_evaluation="none")
    assert team.versions.approve("pistol", actor="cem").state == "approved"
    (request,) = team.versions.requests("approved")
    assert [item.evaluation for item in request.reviews] == [GOOD.digest, newer.digest]
    said = [event.details["evaluation"] for event in team.audit.history("pistol")
            if event.action == "version.approve"]  # fmt: skip
    assert said == [GOOD.digest, newer.digest]


def test_an_edited_version_loses_it_and_the_old_content_has_it_still(team):
    measure(team, GOOD)
    before = team.versions.get("pistol")
    edited = team.versions.edit("pistol", 1, actor="ann", thresholds={"t2i": (2.5, 1.5)})
    assert edited.evaluations == ()
    team.versions.submit("pistol", actor="ann")
    with pytest.raises(GateError, match="no evaluation of this content"):
        team.versions.approve("pistol", actor="bob")
    again = team.versions.edit("pistol", 1, actor="ann", thresholds={"t2i": (2.0, 1.0)})
    assert again.content_digest == before.content_digest
    assert [item.digest for item in again.evaluations] == [GOOD.digest]
    assert problems(team) == []


def test_a_submission_or_a_release_that_approves_is_held_to_the_gate_too(team):
    team.versions.reject("pistol", actor="bob", reason="again")
    team.team.set_policy(actor="ann", approvals=0)
    with pytest.raises(GateError):
        team.versions.submit("pistol", actor="ann")
    with pytest.raises(GateError):
        team.releases.add("policy", ["pistol"], actor="ann")
    assert team.versions.get("pistol").state == "draft"
    measure(team)
    team.releases.add("policy", ["pistol"], actor="ann")
    assert team.versions.get("pistol").state == "approved"
    assert problems(team) == []


def test_breaking_the_glass_goes_past_the_gate_and_says_what_was_shown(team):
    measure(team, POOR)
    done = team.versions.approve("pistol", actor="ann", reason="incident", break_glass=True)
    assert done.state == "approved"
    event = team.audit.history("pistol")[-1]
    assert (event.action, event.details["evaluation"]) == ("version.break_glass", POOR.digest)


def test_a_gate_for_other_concepts_asks_nothing_and_one_can_be_taken_away(team):
    policy = team.team.set_policy(actor="ann", gate=Gate("mugs", GATE.bars, concepts=("knife",)))
    assert team.versions.detail("pistol").gate is None
    assert policy.gate.concepts == ("knife",)
    assert team.team.set_policy(actor="ann", gate=None).gate is None
    assert team.versions.approve("pistol", actor="bob").state == "approved"
    assert problems(team) == []


def test_diff_tells_the_newest_evaluation_of_each_version(team, collect):
    measure(team)
    team.versions.add("pistol", [collect(2)], actor="ann")
    before, after = team.versions.diff("pistol", 1, 2).evaluations
    assert (before.digest, after) == (GOOD.digest, None)
    assert team.versions.diff("pistol", 1, 2).to_dict()["evaluations"][0]["digest"] == GOOD.digest


def test_a_backup_keeps_evaluations_and_an_export_leaves_them_behind(team, tmp_path, new_registry):
    measure(team)
    team.versions.approve("pistol", actor="bob")
    backup(team.workspace, tmp_path / "backup")
    restored = Registry(restore(tmp_path / "backup", tmp_path / "other", actor="ann",
                                url=f"sqlite:///{tmp_path / 'restored.db'}"))  # fmt: skip
    assert restored.versions.get("pistol") == team.versions.get("pistol")
    assert problems(restored) == []
    export_concept(team.workspace, "pistol", tmp_path / "pistol")
    fresh = new_registry(tmp_path / "fresh")
    import_concept(fresh.workspace, tmp_path / "pistol", actor="ann")
    assert fresh.versions.get("pistol").evaluations == ()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE evaluation SET document = replace(document, 'detector', 'detective')",
         "does not match its digest"),
        ("DELETE FROM evaluation", "has no row any more"),
        ("UPDATE policy SET gate = NULL", "gate is None, but the audit trail says"),
        ("UPDATE review SET evaluation = NULL", "evaluation is None, but the audit trail says"),
        (f"UPDATE review SET evaluation = '{'0' * 64}'", "is none of the content"),
    ],
)  # fmt: skip
def test_the_doctor_finds_what_another_program_changed(team, statement, said):
    measure(team)
    team.versions.approve("pistol", actor="bob")
    from registry.store import guards  # noqa: PLC0415

    with transaction(team.workspace.engine, write=True) as connection:
        guards.drop(connection)
        connection.execute(text(statement))
    assert any(said in line for line in problems(team))
    with team.workspace.read() as session:
        assert list(row_differences(session)) or "document" in statement
