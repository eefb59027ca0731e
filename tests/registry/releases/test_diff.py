"""What differs between two releases, concept by concept."""

import dataclasses

import pytest

from concepts.errors import NotFoundError
from registry import Registry
from registry.answers import Difference


@pytest.fixture
def released(fill, collect):
    """Four releases of 'policy'; see the tests."""
    registry = fill("bomb", "pistol")
    registry.releases.add("policy", actor="bob")
    fill("knife")
    registry.versions.add("pistol", [collect(7), collect(8, "edit")], actor="ann")
    registry.releases.add(
        "policy", ["knife", "pistol"], actor="bob", modes={"knife": "log"},
        thresholds={"bomb": 1.5}, disabled={"bomb": "2999-01-01"},
    )  # fmt: skip
    registry.releases.add(
        "policy", ["pistol@1"], actor="bob", drop=["knife"], disabled={"bomb": None},
        modes={"bomb": "shadow"}, allow_shrink=True, enforce_nothing=True,
    )  # fmt: skip
    registry.releases.add("policy", actor="bob")
    return registry


UNTIL = "2999-01-01T00:00:00.000000Z"
CHANGES = {
    (1, 2): (
        Difference("bomb", "threshold", 2.0, 1.5, "testbed t2i"),
        Difference("bomb", "disabled_until", None, UNTIL),
        Difference("knife", "added", None, 1),
        Difference("knife", "mode", None, "log"),
        Difference("knife", "approved", None, 1),
        Difference("pistol", "version", 1, 2),
        Difference("pistol", "coverage", None, "testbed edit"),
        Difference("pistol", "approved", None, 2),
    ),
    (2, 3): (
        Difference("bomb", "mode", "enforce", "shadow"),
        Difference("bomb", "disabled_until", UNTIL, None),
        Difference("knife", "removed", 1, None),
        Difference("pistol", "version", 2, 1),
        Difference("pistol", "coverage", "testbed edit", None),
    ),
    (3, 4): (),
    (1, 4): (
        Difference("bomb", "mode", "enforce", "shadow"),
        Difference("bomb", "threshold", 2.0, 1.5, "testbed t2i"),
    ),
    (4, 1): (
        Difference("bomb", "mode", "shadow", "enforce"),
        Difference("bomb", "threshold", 1.5, 2.0, "testbed t2i"),
    ),
}


@pytest.mark.parametrize("pair", list(CHANGES))
def test_two_releases_differ_in(released, pair):
    assert released.releases.diff("policy", *pair) == CHANGES[pair]


def test_a_release_tells_what_it_changes_in_a_dry_run_too(fill):
    registry = fill("bomb", "pistol")
    first = registry.releases.add("policy", ["bomb"], actor="bob")
    added = (
        Difference("bomb", "added", None, 1), Difference("bomb", "approved", None, 1),
    )  # fmt: skip
    assert first.changes == added
    dry = Registry(dataclasses.replace(registry.workspace, dry_run=True))
    second = dry.releases.add("policy", ["pistol"], actor="bob", disabled={"bomb": UNTIL})
    assert second.changes == (
        Difference("bomb", "disabled_until", None, UNTIL),
        Difference("pistol", "added", None, 1),
        Difference("pistol", "approved", None, 1),
    )
    assert len(registry.releases.list()) == 1


def test_a_pause_that_is_over_is_told(fill, travel):
    registry = fill("bomb", "pistol")
    paused = registry.releases.add("policy", actor="bob", disabled={"pistol": "1d"})
    travel("2d")
    until = paused.members[1].disabled_until
    assert registry.releases.add("policy", actor="bob").changes == (
        Difference("pistol", "disabled_until", until, None),
    )


def test_a_release_that_there_is_not_is_named(released):
    with pytest.raises(NotFoundError, match="has no release 9"):
        released.releases.diff("policy", 1, 9)
