"""What a release enforces less must be asked for by its own word."""

import pytest

from concepts.bundle import read_bundle, write_bundle
from concepts.errors import MismatchError, PolicyError
from concepts.words import MODE_WORDS


@pytest.fixture
def released(fill):
    """A release of three concepts."""
    registry = fill("bomb", "knife", "pistol")
    registry.releases.add("policy", actor="bob")
    return registry


def lost(registry):
    return registry.audit.events()[-1].details["no_longer_enforced"]


@pytest.mark.parametrize("mode", ["log", "shadow"])
def test_another_mode_is_refused_unless_asked_for(released, mode):
    with pytest.raises(PolicyError) as refused:
        released.releases.add("policy", actor="bob", modes={"pistol": mode})
    assert str(refused.value) == (
        "1 of 3 regulated concepts would be regulated less, later or no more: "
        f"pistol ({MODE_WORDS[mode]}). If that is meant, add --allow-shrink"
    )
    released.releases.add("policy", actor="bob", modes={"pistol": mode}, allow_shrink=True)
    assert lost(released) == ["pistol"]
    assert released.releases.add("policy", actor="bob", drop=["pistol"]).sequence == 3


def test_a_member_goes_only_by_name(released):
    made = released.releases.add("policy", actor="bob", drop=["pistol"])
    assert ([member.slug for member in made.members], lost(released)) == (
        ["bomb", "knife"], ["pistol"],
    )  # fmt: skip
    released.versions.revoke("knife", actor="ann", reason="broken")
    with pytest.raises(PolicyError, match=r"1 of 2 .*: knife \(version 1 is revoked\)") as refused:
        released.releases.add("policy", actor="bob", allow_shrink=True, enforce_nothing=True)
    assert str(refused.value).endswith("If that is meant, add --drop knife")


def test_a_pause_is_named_and_opens_nothing_else(released):
    made = released.releases.add("policy", actor="bob", disabled={"pistol": "1d"})
    assert (len(made.members), lost(released)) == (3, ["pistol"])
    with pytest.raises(PolicyError, match=r"1 of 3 .*: knife \(reported only\)"):
        released.releases.add(
            "policy", actor="bob", disabled={"pistol": "9d"}, modes={"knife": "log"}
        )
    assert released.releases.add("policy", actor="bob", disabled={"pistol": "1h"}).sequence == 3
    assert lost(released) == []
    released.releases.add("policy", actor="bob", disabled={"pistol": "3650d"})
    with pytest.raises(PolicyError, match=r"pistol \(reported only\)"):
        released.releases.add("policy", actor="bob", modes={"pistol": "log"})


def test_a_rollback_to_a_pause_that_still_runs_is_asked_for(released):
    released.releases.add("policy", actor="bob", disabled={"pistol": "9d"})
    released.releases.add("policy", actor="bob", disabled={"pistol": None})
    with pytest.raises(PolicyError, match=r"pistol \(switched off until .* add --allow-shrink$"):
        released.releases.roll_back("policy", 2, actor="bob", reason="why")
    released.releases.roll_back("policy", 2, actor="bob", reason="why", allow_shrink=True)
    assert lost(released) == ["pistol"]


def test_a_task_without_anchors_is_lost_coverage(fill, collect):
    registry = fill("pistol")
    registry.versions.add("pistol", [collect(1, "edit")], actor="ann")  # It keeps those of t2i.
    registry.releases.add("policy", ["pistol@2"], actor="bob")
    with pytest.raises(PolicyError) as refused:
        registry.releases.add("policy", ["pistol@1"], actor="bob")
    assert str(refused.value) == (
        "1 of 1 regulated concepts would be regulated less, later or no more: pistol (version 1 "
        "has no anchors for testbed edit). If that is meant, add --allow-shrink"
    )
    registry.releases.add("policy", ["pistol@1"], actor="bob", allow_shrink=True)
    assert lost(registry) == ["pistol"]


def test_the_policy_says_how_much_a_release_may_shrink_unasked(released):
    released.team.set_policy(actor="ann", max_shrink=0.34)
    released.versions.revoke("pistol", actor="ann", reason="broken")
    assert len(released.releases.add("policy", actor="bob").members) == 2
    with pytest.raises(PolicyError, match="1 of 2 regulated"):
        released.releases.add("policy", actor="bob", modes={"bomb": "log"})
    released.team.set_policy(actor="ann", max_shrink=1.0)
    released.releases.add("policy", actor="bob", modes={"bomb": "log"})
    with pytest.raises(PolicyError, match=r"^No concept would be regulated now\. If that is meant"):
        released.releases.add("policy", actor="bob", modes={"knife": "log"})


@pytest.mark.parametrize(
    ("asked", "members"),
    [
        ({"drop": ["bomb", "knife", "pistol"], "allow_shrink": True}, 0),
        ({"disabled": dict.fromkeys(("bomb", "knife", "pistol"), "1d")}, 3),
        ({"modes": dict.fromkeys(("bomb", "knife", "pistol"), "log"), "allow_shrink": True}, 3),
    ],
)
def test_a_release_that_enforces_nothing_needs_its_own_word(released, asked, members):
    released.team.set_policy(actor="ann", max_shrink=1.0)
    with pytest.raises(PolicyError) as refused:
        released.releases.add("policy", actor="bob", **asked)
    assert str(refused.value) == (
        "No concept would be regulated now. If that is meant, add --enforce-nothing"
    )
    made = released.releases.add("policy", actor="bob", enforce_nothing=True, **asked)
    assert len(made.members) == members


def test_an_empty_bundle_says_that_it_holds_nothing(fill):
    registry = fill("pistol")
    registry.releases.add("policy", actor="bob")
    registry.versions.revoke("pistol", actor="ann", reason="broken")
    with pytest.raises(PolicyError, match=r"is revoked\)\. No concept .* add --drop pistol --enf"):
        registry.releases.add("policy", actor="bob")
    info = registry.releases.add("policy", actor="bob", drop=["pistol"], enforce_nothing=True)
    bundle = read_bundle(write_bundle(registry.releases.bundle("policy")))
    assert (info.members, bundle.variants, bundle.slugs) == ((), (), [])
    assert len(bundle.revocations) == 1
    with pytest.raises(MismatchError, match="it has no members"):
        bundle.variant_for("testbed", "t2i")


def test_nothing_to_release_is_told(registry):
    with pytest.raises(PolicyError, match="No concepts to release"):
        registry.releases.add("policy", actor="bob")
    made = registry.releases.add("policy", actor="bob", enforce_nothing=True)
    assert (made.members, made.changes) == ((), ())
