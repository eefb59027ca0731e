"""A threshold above a version's own is asked for, reachable, and told by each release it is in."""

from dataclasses import replace

import pytest

from concepts.calibration import KEY, Calibration, Share
from concepts.errors import PolicyError
from registry.answers import RaisedThreshold

ASKED = {"allow_shrink": True, "note": "fires on toys"}


@pytest.fixture
def released(fill):
    """A release of one concept, whose own threshold is 2 and whose anchors score up to 4.9."""
    registry = fill("pistol")
    registry.releases.add("policy", actor="bob")
    return registry


def space_of(registry):
    return registry.concepts.get("pistol").versions[0].spaces[0].digest


def raised(registry, threshold):
    return (RaisedThreshold("testbed t2i", space_of(registry), threshold, 2.0),)


def told(registry):
    return registry.audit.events()[-1].details.get("raised")


@pytest.mark.parametrize(
    ("asked", "way_out"),
    [
        ({}, '--allow-shrink --note "WHY"'),
        ({"note": "why"}, "--allow-shrink"),
        ({"allow_shrink": True, "note": " "}, '--note "WHY"'),
    ],
)
@pytest.mark.parametrize("bundle", ["policy", "new"])
def test_it_is_refused_without_asking_and_a_reason(released, bundle, asked, way_out):
    with pytest.raises(PolicyError) as refused:
        released.releases.add(bundle, actor="bob", thresholds={"pistol": 2.5}, **asked)
    assert str(refused.value).endswith(f"If that is meant, add {way_out}")
    if "allow_shrink" not in asked:
        why = "pistol (threshold 2.5 for testbed t2i, its version's own is 2)"
        assert f"1 of 1 regulated concepts would be regulated less, later or no more: {why}" in str(
            refused.value
        )


def test_it_is_told_by_its_release_and_each_that_has_it_still(released):
    made = released.releases.add("policy", actor="bob", thresholds={"pistol": 2.5}, **ASKED)
    details = released.audit.events()[-1].details
    expected = {"pistol": {"testbed t2i": {"own": 2, "threshold": 2.5}}}
    assert (details["no_longer_enforced"], details["raised"]) == (["pistol"], expected)
    later = released.releases.add("policy", actor="bob")
    assert (released.audit.events()[-1].details["no_longer_enforced"], told(released)) == (
        [], expected,
    )  # fmt: skip
    for info in (made, later, *released.releases.list()[1:]):
        assert info.members[0].raised == raised(released, 2.5)
    released.channels.move("prod", "policy", actor="bob")
    live = released.channels.live("prod")
    assert (live.enforced, live.release.members[0].raised) == ((), raised(released, 2.5))
    back = released.releases.add("policy", actor="bob", thresholds={"pistol": None})
    assert (back.members[0].raised, told(released)) == ((), None)


def test_a_lower_threshold_needs_no_asking(released):
    info = released.releases.add("policy", actor="bob", thresholds={"pistol": 2.0})
    assert info.members[0].raised == ()
    released.releases.add("policy", actor="bob", thresholds={"pistol": 1.5})
    assert told(released) is None


def test_raising_it_further_is_asked_for_again(released):
    released.releases.add("policy", actor="bob", thresholds={"pistol": 3.0}, **ASKED)
    released.releases.add("policy", actor="bob", thresholds={"pistol": 2.5})
    with pytest.raises(PolicyError, match="threshold 3 for testbed t2i"):
        released.releases.add("policy", actor="bob", thresholds={"pistol": 3.0})


def test_a_rollback_to_it_is_asked_for(released):
    released.releases.add("policy", actor="bob", thresholds={"pistol": 2.5}, **ASKED)
    released.releases.add("policy", actor="bob", thresholds={"pistol": None})
    with pytest.raises(PolicyError, match=r"threshold 2\.5 .* add --allow-shrink$"):
        released.releases.roll_back("policy", 2, actor="bob", reason="why")
    back = released.releases.roll_back("policy", 2, actor="bob", reason="why", allow_shrink=True)
    assert back.members[0].raised == raised(released, 2.5)


@pytest.mark.parametrize("threshold", [1e30, 5.0, 4.9023])
def test_one_that_no_anchor_reaches_is_refused(released, threshold):
    with pytest.raises(PolicyError) as refused:
        released.releases.add("policy", actor="bob", thresholds={"pistol": threshold}, **ASKED)
    assert str(refused.value) == (
        f"The threshold of 'pistol' would be {threshold:g} for testbed t2i, its version's own is "
        "2, and no anchor of version 1 reaches it: the highest scores 4.9022. It would find "
        "nothing. Choose a lower one, or --mode pistol=log to report it only."
    )
    assert len(released.releases.list()) == 1
    released.releases.add("policy", actor="bob", thresholds={"pistol": 4.9022}, **ASKED)


def test_one_that_an_older_program_let_through_is_still_told(released, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("registry.releases.release.check_reachable", lambda *_: None)
        released.releases.add("policy", actor="bob", thresholds={"pistol": 1e30}, **ASKED)
    info = released.releases.add("policy", actor="bob")
    assert info.members[0].raised == raised(released, 1e30)
    released.releases.add("policy", actor="bob", thresholds={"pistol": None})
    with pytest.raises(PolicyError, match="no anchor of version 1 reaches it"):
        released.releases.roll_back("policy", 2, actor="bob", reason="why", allow_shrink=True)


def test_only_the_space_of_the_threshold_is_asked(fill, collect):
    registry = fill("pistol")
    registry.versions.add("pistol", [collect(3, "edit")], actor="ann")  # It reaches 0.86 there.
    with pytest.raises(PolicyError, match=r"2\.5 for testbed edit.*the highest scores 0\.8589"):
        registry.releases.add("policy", actor="bob", thresholds={"pistol": {"edit": 2.5}}, **ASKED)
    info = registry.releases.add(
        "policy", actor="bob", thresholds={"pistol": {"t2i": 2.5}}, **ASKED
    )
    assert [item.place for item in info.members[0].raised] == ["testbed t2i"]


def test_what_was_measured_is_told_from_what_was_set_by_hand(registry, define, collect):
    anchors, scorer = collect(1)
    told = Calibration(0.1, Share(1, 20), Share(19, 20)).to_dict()
    registry.concepts.add(define(), actor="ann")
    measured = replace(scorer, seed_threshold=1.0, grow_threshold=0.5, metadata={KEY: told})
    registry.versions.add("pistol", [(anchors, measured), collect(2, "edit")], actor="ann")
    members = registry.releases.add("policy", actor="bob").members
    assert members[0].by_hand == ("testbed edit",)
    lower = registry.releases.add("policy", actor="bob", thresholds={"pistol": {"t2i": 0.75}})
    assert lower.members[0].by_hand == ("testbed t2i", "testbed edit")
    registry.versions.copy("pistol", actor="ann", thresholds={"t2i": (1.5, 0.5)})
    made = registry.releases.add("policy", ["pistol@2"], actor="bob")
    assert made.members[0].by_hand == ("testbed t2i", "testbed edit")
