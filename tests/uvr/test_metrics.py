from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from concepts.bundle import write_bundle
from concepts.errors import UVRError
from tests.uvr.engine.conftest import firing, locked
from uvr import DecisionLog, Regulator
from uvr.delivery.source import BundleSource
from uvr.metrics import Metrics


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_decisions_are_counted_by_concept_and_mode(decide, registry):
    metrics = Metrics(registry)
    metrics(decide(("ball", "enforce"), ("cup", "shadow")))
    second = decide(("ball", "log"))
    metrics(replace(second, verdict=replace(second.verdict, picture=1)))
    found = registry.get_sample_value
    assert found("uvr_hits_total", {"concept": "ball", "mode": "enforce"}) == 1
    assert found("uvr_hits_total", {"concept": "ball", "mode": "log"}) == 1
    assert found("uvr_hits_total", {"concept": "cup", "mode": "shadow"}) == 1
    labels = {"model": "testbed", "task": "t2i", "outcome": "regulated"}
    assert found("uvr_pictures_total", labels) == 1
    assert found("uvr_seconds_sum", {"part": "look"}) == 0.25
    assert found("uvr_seconds_count", {"part": "call"}) == 1  # one call of two pictures


def test_a_scrape_tells_the_release_and_the_polls_that_failed(
    registry, decide, t2i_profile, tmp_path
):
    bundle = locked(replace(firing(t2i_profile), created="2026-11-24T10:00:00.000000Z", digest=""))
    place = tmp_path / "policy.uvr"
    place.write_bytes(write_bundle(bundle))
    source = BundleSource(place, keys=None, state=tmp_path / "state", poll_seconds=0)
    log = DecisionLog(tmp_path / "log.jsonl")
    regulator = Regulator(source)
    Metrics(registry).watch(regulator, log)
    found = registry.get_sample_value
    assert found("uvr_state", {"state": "failed"}) == 1  # it was not started
    assert not regulator.status().healthy
    with source:
        place.write_bytes(b"damaged")
        with pytest.raises(UVRError):
            source.refresh()
        assert found("uvr_release", {"bundle": bundle.name, "digest": bundle.digest}) == 1
        assert found("uvr_state", {"state": "ok"}) == 1
        assert found("uvr_release_created_seconds") == 1795514400
        assert (found("uvr_polls_total"), found("uvr_polls_failed_total")) == (2, 1)
        log.close()
        log(decide())
        assert found("uvr_decisions_dropped_total") == 1
        assert b'uvr_release{bundle="test"' in generate_latest(registry)
        told = regulator.status().to_dict()
    assert (told["healthy"], told["state"], told["source"]["polls_failed"]) == (True, "ok", 1)
    assert "corrupt" in told["source"]["last_error"]


def test_a_fixed_bundle_that_expires_is_stale_and_served(registry, t2i_profile, monkeypatch):
    bundle = replace(firing(t2i_profile), expires="2099-01-01T00:00:00.000000Z", digest="")
    regulator = Regulator(bundle, profile=t2i_profile)
    Metrics(registry).watch(regulator)
    assert (regulator.status().state, regulator.status().why) == ("ok", None)
    monkeypatch.setattr("uvr.engine.regulator.now", lambda: "2099-01-02T00:00:00.000000Z")
    status = regulator.status()
    assert (status.healthy, status.state, status.why) == (
        True, "stale", "it expired at 2099-01-01T00:00:00.000000Z",
    )  # fmt: skip
    assert registry.get_sample_value("uvr_state", {"state": "stale"}) == 1
    assert registry.get_sample_value("uvr_polls_total") is None
