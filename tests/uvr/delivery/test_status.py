"""Staleness: served or refused as the host chose."""

from __future__ import annotations

import logging

import pytest

from concepts.errors import (
    ExpiredError,
)
from tests.uvr.delivery.conftest import LATER, START, record_of
from uvr.delivery.source import BundleInUse


@pytest.mark.parametrize(
    ("policy", "state"), [("warn", "stale"), ("degraded", "degraded"), ("fail_closed", "failed")]
)
@pytest.mark.parametrize("why", ["expired", "unconfirmed"])
def test_a_stale_bundle_is_served_or_refused_as_the_host_chose(host, policy, state, why, caplog):
    host.offer(1, expires=LATER if why == "expired" else None)
    options = {"stale": policy, "max_age": 600 if why == "unconfirmed" else None}
    with host.source(**options) as source:
        assert source.status().state == "ok"
        host.clock.at = LATER
        status = source.status()
        assert (status.state, bool(status.stale)) == (state, True)
        with caplog.at_level(logging.WARNING, "uvr.source"):
            if policy == "fail_closed":
                with pytest.raises(ExpiredError, match="is stale"):
                    _ = source.current
            else:
                assert [source.current.sequence for _ in range(3)] == [1, 1, 1]
        assert caplog.text.count("the bundle is stale") == 1
    if why == "expired":
        host.file.unlink()
        if policy == "fail_closed":
            with pytest.raises(ExpiredError):
                host.source(**options).start()
        else:  # as it would be served without a restart
            with host.source(**options) as source:
                assert (source.current.sequence, source.status().state) == (1, state)


def test_a_bundle_that_never_expires_is_warned_of(host, caplog):
    host.offer(1)
    with host.source(max_age=600) as source:  # A frozen mirror goes on confirming it.
        (warning,) = source.status().warnings
        assert "demo@1 never expires" in warning
        assert caplog.text.count(warning) == 1
        host.offer(2, expires=LATER)
        assert source.refresh()
        assert source.status().warnings == ()


def test_a_bundle_and_its_state_are_read_at_once(host, monkeypatch):
    host.offer(1, expires=LATER)
    with host.source(stale="degraded") as source:
        host.clock.at = LATER
        host.offer(2)
        log_staleness = source._log_staleness

        def swap(stale: str | None) -> None:
            log_staleness(stale)
            source.refresh()

        monkeypatch.setattr(source, "_log_staleness", swap)
        first, second = source.in_use(), source.in_use()
    stale = f"it expired at {LATER}"
    assert first == BundleInUse(first.bundle, "degraded", stale)
    assert second == BundleInUse(second.bundle, "ok", None)
    assert (first.bundle.sequence, second.bundle.sequence) == (1, 2)


def test_a_confirmation_ends_staleness_and_its_age_survives_a_restart(host):
    host.offer(1)
    with host.source(max_age=600) as source:
        host.clock.at = LATER
        assert source.status().state == "stale"
        source.refresh()
        assert source.status().state == "ok"
    host.file.unlink()
    host.clock.at = "2026-11-24T12:00:00.000000Z"
    with host.source(max_age=600) as source:
        assert source.status().state == "stale"
        assert source.status().checked_at == LATER


def test_a_clock_that_was_ahead_once_does_not_count_for_ever(host):
    options = {"max_age": 60, "stale": "fail_closed"}
    host.clock.at = "2099-01-01T00:00:00.000000Z"
    host.offer(1)
    host.source(**options).start()
    host.file.unlink()
    host.clock.at = START
    with pytest.raises(ExpiredError, match="which is in the future"):
        host.source(**options).start()
    host.offer(1)
    with host.source(**options) as source:
        assert source.status().checked_at == record_of(host).checked_at == START
    host.file.unlink()
    host.clock.at = LATER
    with pytest.raises(ExpiredError, match="more than 60 seconds ago"):
        host.source(**options).start()
