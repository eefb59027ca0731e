"""Which versions a release takes: those of the release before, and what is asked for."""

import pytest

from concepts.errors import ConflictError, NotFoundError, PolicyError
from registry.answers import Gap


@pytest.fixture
def released(fill, collect):
    """Bomb and pistol are released; pistol has a newer draft, and knife and toy are drafts."""
    registry = fill("bomb", "pistol")
    registry.releases.add("policy", actor="bob")
    registry.versions.add("pistol", [collect(7)], actor="ann")
    return fill("knife", "toy")


def taken(info):
    return [f"{member.slug}@{member.version}" for member in info.members]


def states(registry):
    return {
        f"{info.slug}@{version.number}": version.state
        for info in registry.concepts.list()
        for version in registry.concepts.get(info.slug).versions
    }


@pytest.mark.parametrize(
    "asked",
    [{}, {"disabled": {"bomb": "7d"}}, {"thresholds": {"bomb": 1.5}}, {"expires": "90d"}],
)
def test_the_members_of_the_release_before_stay_and_no_draft_comes_in(released, asked):
    before = states(released)
    info = released.releases.add("policy", actor="bob", **asked)
    assert (taken(info), states(released)) == (["bomb@1", "pistol@1"], before)
    assert [gap.takes for gap in info.left_out] == ["knife@1", "pistol@2", "toy@1"]


def test_what_is_named_comes_in_beside_the_members(released):
    info = released.releases.add("policy", ["knife", "pistol@2"], actor="bob")
    assert taken(info) == ["bomb@1", "knife@1", "pistol@2"]
    assert released.audit.events()[-1].details["approved"] == ["knife@1", "pistol@2"]
    assert states(released)["toy@1"] == "draft"


def test_all_of_what_is_approved_comes_in_without_drafts(released):
    released.versions.submit("knife", actor="ann")
    info = released.releases.add("policy", actor="bob", include="approved")
    assert taken(info) == ["bomb@1", "knife@1", "pistol@1"]


def test_all_takes_drafts_where_the_policy_asks_for_no_approvals(released):
    info = released.releases.add("policy", actor="bob", include="all", drop=["toy"])
    assert taken(info) == ["bomb@1", "knife@1", "pistol@2"]
    released.team.set_policy(actor="ann", approvals=1)
    other = released.releases.add("other", actor="bob", include="all")
    assert taken(other) == ["bomb@1", "knife@1", "pistol@2"]
    with pytest.raises(ValueError, match="allowed: last, approved, all"):
        released.releases.add("policy", actor="bob", include="drafts")


def test_a_first_release_takes_all_or_what_is_named(released):
    assert taken(released.releases.add("one", ["bomb"], actor="bob")) == ["bomb@1"]
    assert taken(released.releases.add("one", actor="bob")) == ["bomb@1"]
    every = ["bomb@1", "knife@1", "pistol@2", "toy@1"]
    assert taken(released.releases.add("all", actor="bob")) == every


def test_a_member_taken_out_of_use_gives_way_to_an_approved_version(released):
    released.versions.submit("pistol", actor="ann")
    released.releases.add("policy", ["pistol"], actor="bob")
    released.versions.revoke("pistol", 2, actor="ann", reason="broken")
    info = released.releases.add("policy", actor="bob")
    assert taken(info) == ["bomb@1", "pistol@1"]
    released.versions.deprecate("pistol", 1, actor="ann")
    with pytest.raises(PolicyError, match=r"pistol \(version 1 is deprecated\).*--drop pistol$"):
        released.releases.add("policy", actor="bob")
    assert taken(released.releases.add("policy", ["pistol@1"], actor="bob")) == taken(info)


def test_what_is_dropped_must_be_a_member_and_not_be_asked_for(released):
    with pytest.raises(NotFoundError, match=r"'bmob' is not a member .* Did you mean 'bomb'"):
        released.releases.add("policy", actor="bob", drop=["bmob"])
    with pytest.raises(ConflictError, match="'bomb' is to be taken in and dropped"):
        released.releases.add("policy", ["bomb"], actor="bob", drop=["bomb"])


def test_after_an_empty_release_concepts_come_in_by_name(released):
    released.releases.add("policy", actor="bob", drop=["bomb", "pistol"], enforce_nothing=True)
    with pytest.raises(PolicyError, match="the release before holds none"):
        released.releases.add("policy", actor="bob")
    assert taken(released.releases.add("policy", ["bomb"], actor="bob")) == ["bomb@1"]


def test_a_newer_version_in_review_is_told_of(fill, collect):
    registry = fill("pistol")
    registry.releases.add("policy", actor="bob")
    registry.team.set_policy(actor="bob", approvals=1)
    registry.versions.add("pistol", [collect(7)], actor="ann")
    assert registry.releases.get("policy").left_out == ()
    registry.versions.submit("pistol", actor="ann")
    waits = Gap("pistol", "version 2 is in review", nowhere=False, takes="", older=True)
    assert registry.releases.get("policy").left_out == (waits,)
    registry.versions.approve("pistol", actor="bob")
    ready = Gap("pistol", "version 2 is approved", nowhere=False, takes="pistol@2", older=True)
    assert registry.releases.get("policy").left_out == (ready,)
