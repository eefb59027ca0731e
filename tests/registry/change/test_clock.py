"""A host whose clock cannot be right writes nothing, unless a person says so."""

from datetime import datetime, timedelta

import pytest

from concepts.errors import InputError, PolicyError
from concepts.instant import now, parse_instant
from registry import Registry
from registry.change import clock
from registry.operations import backup, restore
from registry.operations.doctor import diagnose


@pytest.fixture
def turn(monkeypatch):
    """Turn this host's clock by some minutes, and say whether a person accepts it."""

    def to(minutes, accept=False):
        instant = datetime.fromisoformat(now()) + timedelta(minutes=minutes)
        found = parse_instant(instant.isoformat())
        monkeypatch.setattr(clock, "now", lambda: found)
        monkeypatch.setenv(clock.ACCEPT, "1" if accept else "")
        return found

    return to


@pytest.fixture
def ahead(registry, define, turn):
    """A registry to which a host wrote whose clock was two days ahead."""
    turn(2 * 24 * 60, accept=True)
    registry.concepts.add(define("mug"), actor="ann")
    turn(0)
    return registry


def last(registry):
    return registry.audit.events()[-1]


def clock_problems(registry):
    found = diagnose(registry.workspace, quick=True)
    return [line for check in found.checks if check.name == "clock" for line in check.problems]


def test_a_few_minutes_between_hosts_are_bridged(registry, define, turn):
    written = turn(4)
    registry.concepts.add(define("mug"), actor="ann")
    turn(-4)
    registry.concepts.add(define("gun"), actor="ann")
    assert [event.at for event in registry.audit.events()] == [written, written]
    assert clock_problems(registry) == []


def test_a_clock_that_is_behind_the_trail_writes_only_where_a_person_says_so(ahead, define, turn):
    written, here = last(ahead).at, clock.now()
    words = (
        f"This host's clock says {here}, but the last event is of {written}. Set this clock, if "
        "it is behind. If it is right, whoever wrote that event had a clock that was ahead, and "
        "what is written now is dated like that event until its time has come."
    )
    with pytest.raises(PolicyError) as refused:
        ahead.concepts.add(define("gun"), actor="ann")
    assert str(refused.value) == f"{words} To go on all the same, set UVR_ACCEPT_CLOCK=1."
    assert last(ahead).subject == "mug"
    assert clock_problems(ahead) == [words]
    turn(0, accept=True)
    ahead.concepts.add(define("gun"), actor="ann")
    assert (last(ahead).subject, last(ahead).at) == ("gun", written)


def test_a_clock_that_is_ahead_of_the_servers_writes_nothing(registry, define, turn):
    turn(30)
    if registry.workspace.engine.dialect.name == "sqlite":
        registry.concepts.add(define("mug"), actor="ann")  # There is no other clock to ask.
        turn(0)
        assert "but the last event is of" in clock_problems(registry)[0]
        return
    with pytest.raises(PolicyError, match=r"and the database server's .* UVR_ACCEPT_CLOCK=1"):
        registry.concepts.add(define("mug"), actor="ann")
    assert registry.audit.events() == []
    assert "Set the one that is wrong." in clock_problems(registry)[0]
    turn(-30)
    with pytest.raises(PolicyError, match="and the database server's"):
        registry.concepts.add(define("mug"), actor="ann")


def test_what_expires_is_reckoned_from_the_present(ahead, define, collect, turn):
    turn(0, accept=True)
    ahead.versions.add("mug", [collect()], actor="ann")
    with pytest.raises(InputError, match="lies in the past"):  # It would be made after it expires.
        ahead.releases.add("policy", actor="ann", expires="1d")
    turn(-3 * 24 * 60, accept=True)
    release = ahead.releases.add("policy", actor="ann", expires="6d")
    turn(0, accept=True)
    assert release.created_at < release.expires_at < parse_instant("4d")
    turn(4 * 24 * 60, accept=True)
    with pytest.raises(PolicyError, match="expired at"):
        ahead.channels.move("prod", "policy", actor="ann")
    ahead.concepts.add(define("gun"), actor="ann")
    turn(0, accept=True)  # The trail says that it has expired, the present that it has not.
    ahead.channels.move("prod", "policy", actor="ann")
    assert ahead.channels.live("prod").expired is False


def test_a_backup_is_not_restored_by_a_clock_that_is_behind_it(ahead, turn, tmp_path):
    backup(ahead.workspace, tmp_path / "all.zip")
    with pytest.raises(PolicyError, match="the last event is of"):
        restore(tmp_path / "all.zip", tmp_path / "restored")
    turn(0, accept=True)
    restored = Registry(restore(tmp_path / "all.zip", tmp_path / "restored"))
    assert [event.at for event in restored.audit.events()] == 2 * [last(ahead).at]
