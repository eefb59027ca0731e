"""A regulator takes what its bundle or source, its host and the hour say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from concepts.bundle import (
    Bundle,
    lock_digest,
    locked_members,
    read_bundle,
    write_bundle,
)
from concepts.errors import (
    ExpiredError,
    InputError,
    MismatchError,
    NotFoundError,
    SignatureError,
    VerificationError,
)
from concepts.scorer import Scorer
from concepts.signing.ed25519 import PrivateKey
from concepts.signing.keys import KeyList
from tests.uvr.conftest import bundle_of, call_pipe, make_scorer, random_weights
from tests.uvr.engine.conftest import firing, locked
from uvr.delivery.source import BundleSource
from uvr.engine.regulator import Regulator, fits
from uvr.pages.words import day

PAST = "2020-01-01T00:00:00.000000Z"


def test_a_host_can_let_a_concept_through_and_the_report_says_so(t2i_pipe, t2i_profile):
    stock = call_pipe(t2i_pipe, "a cup", [1])
    regulator = Regulator(firing(t2i_profile), profile=t2i_profile, allow=["ball"])
    with regulator.attach(t2i_pipe) as attachment:
        allowed = call_pipe(t2i_pipe, "a cup", [1])
    finding = attachment.last.images[0][0]
    assert torch.equal(stock, allowed)
    assert (finding.fired, finding.enforced) == (True, False)
    assert attachment.last.notes == ["not regulated on this host: ball"]
    with pytest.raises(NotFoundError, match="'bal'"):
        Regulator(firing(t2i_profile), allow=["bal"])


def test_an_observed_concept_is_reported_and_enforced_only_on_demand(t2i_pipe, t2i_profile):
    bundle = firing(t2i_profile)
    (variant,) = bundle.variants
    watching = replace(variant, members=(replace(variant.members[0], mode="log"),))
    bundle = replace(bundle, variants=(watching,), digest="")
    stock = call_pipe(t2i_pipe, "a cup", [1])
    with Regulator(bundle, profile=t2i_profile).attach(t2i_pipe) as attachment:
        observed = call_pipe(t2i_pipe, "a cup", [1])
    assert torch.equal(stock, observed)
    assert attachment.last.fired_in(0) == ["ball"]
    with Regulator(bundle, profile=t2i_profile, deny=["ball"]).attach(t2i_pipe) as attachment:
        assert not torch.equal(stock, call_pipe(t2i_pipe, "a cup", [1]))
    assert attachment.last.notes == ["enforced on this host: ball"]


def with_member(bundle: Bundle, **changes: Any) -> Bundle:
    (variant,) = bundle.variants
    member = replace(variant.members[0], **changes)
    variants = (replace(variant, members=(member,)),)
    lock = lock_digest(locked_members(variants))
    return replace(bundle, variants=variants, lock_digest=lock, digest="")


def test_a_shadow_concept_is_measured_on_the_side(t2i_pipe, t2i_profile):
    stock = call_pipe(t2i_pipe, "a cup", [1])
    bundle = with_member(firing(t2i_profile), mode="shadow")
    with Regulator(bundle, profile=t2i_profile).attach(t2i_pipe) as attachment:
        assert torch.equal(stock, call_pipe(t2i_pipe, "a cup", [1]))
    report = attachment.last
    assert (report.fired, report.fired_in(0), report.images) == (False, [], [[]])
    ((finding,),) = report.shadow
    assert (finding.slug, finding.mode, finding.fired) == ("ball", "shadow", True)


@pytest.mark.parametrize(
    ("until", "regulated"), [("2999-01-01T00:00:00.000000Z", False), (PAST, True)]
)
def test_a_concept_disabled_for_a_time_is_only_reported(t2i_pipe, t2i_profile, until, regulated):
    stock = call_pipe(t2i_pipe, "a cup", [1])
    bundle = with_member(firing(t2i_profile), disabled_until=until)
    with Regulator(bundle, profile=t2i_profile).attach(t2i_pipe) as attachment:
        assert torch.equal(stock, call_pipe(t2i_pipe, "a cup", [1])) is not regulated
    finding = attachment.last.images[0][0]
    assert (finding.fired, finding.mode) == (True, "enforce" if regulated else "log")
    note = f"switched off until {day(until)}, so only reported: ball"
    assert attachment.last.notes == ([] if regulated else [note])
    with Regulator(bundle, profile=t2i_profile, deny=["ball"]).attach(t2i_pipe):
        assert not torch.equal(stock, call_pipe(t2i_pipe, "a cup", [1]))


def test_a_release_moves_thresholds(t2i_pipe, t2i_profile):
    bundle = with_member(firing(t2i_profile), threshold=1e9)
    with Regulator(bundle, profile=t2i_profile).attach(t2i_pipe) as attachment:
        call_pipe(t2i_pipe, "a cup", [1])
    finding = attachment.last.images[0][0]
    assert (finding.fired, finding.threshold) == (False, 1e9)


def test_half_precision_scorers_are_scored_in_single(t2i_pipe, t2i_profile):
    scores = []
    weights = random_weights(t2i_profile).astype(np.float16)[None]
    for dtype in (np.float16, np.float32):
        scorer = Scorer("whitened", weights.astype(dtype), np.zeros(1), -1e9, -1e9)
        written = write_bundle(locked(bundle_of(t2i_profile, {"ball": scorer})))
        with Regulator(read_bundle(written), profile=t2i_profile).attach(t2i_pipe) as attachment:
            call_pipe(t2i_pipe, "a cup", [1])
        scores.append(attachment.last.images[0][0])
    assert np.array_equal(scores[0].scores, scores[1].scores)
    assert scores[0].feature is not None
    strongest = weights.astype(np.float32) @ scores[0].feature.astype(np.float32)
    assert strongest[0] == pytest.approx(scores[0].score, rel=1e-2, abs=1e-2)


def test_an_empty_bundle_finds_nothing_and_says_so(t2i_pipe, t2i_profile):
    empty = replace(firing(t2i_profile), variants=(), digest="")
    stock = call_pipe(t2i_pipe, ["a cup", "a ball"], [1, 2])
    with Regulator(empty, profile=t2i_profile).attach(t2i_pipe) as attachment:
        assert torch.equal(stock, call_pipe(t2i_pipe, ["a cup", "a ball"], [1, 2]))
    report = attachment.last
    assert (report.looked, report.fired, report.images) == (True, False, [[], []])
    assert report.notes == ["the bundle holds no concepts: nothing was looked for"]


def test_each_call_takes_the_release_of_its_time_and_keeps_it(
    t2i_pipe, t2i_profile, silent, tmp_path
):
    offer = tmp_path / "offer.uvr"

    def publish(sequence: int, bundle: Bundle) -> None:
        released = replace(locked(bundle), name="policy", sequence=sequence, digest="")
        offer.write_bytes(write_bundle(released))

    quiet = bundle_of(t2i_profile, {"ball": make_scorer(random_weights(t2i_profile), 1e6)})
    publish(1, quiet)
    stock = call_pipe(t2i_pipe, "a cup", [1])
    options = {"keys": None, "state": tmp_path / "state", "poll_seconds": 0}
    clock = ["2026-01-01T00:00:00.000000Z"]
    more = {"max_age": 60, "stale": "degraded", "clock": lambda: clock[0]}
    with BundleSource(offer, **options, **more) as source:
        regulator = Regulator(source, profile=t2i_profile)
        with regulator.attach(t2i_pipe) as attachment:

            def swap(pipe: Any, step: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
                if step == 0:
                    publish(2, firing(t2i_profile))
                    assert source.refresh()
                return {}

            during = call_pipe(t2i_pipe, "a cup", [1], callback_on_step_end=swap)
            after = call_pipe(t2i_pipe, "a cup", [1])
            clock[0] = "2026-01-01T01:00:00.000000Z"
            call_pipe(t2i_pipe, "a cup", [1])
            publish(3, replace(firing(t2i_profile), variants=(), digest=""))
            source.refresh()
            emptied = call_pipe(t2i_pipe, "a cup", [1])
            other = replace(t2i_profile, model="other")
            publish(4, firing(other))
            source.refresh()
            with pytest.raises(MismatchError, match="no anchors for model 'tiny'"):
                call_pipe(t2i_pipe, "a cup", [1])
    assert [report.sequence for report in attachment.reports] == [1, 2, 2, 3]
    states = [report.bundle_state for report in attachment.reports]
    assert states == ["ok", "ok", "degraded", "ok"]
    assert "the bundle is degraded" in attachment.reports[2].notes[0]
    assert torch.equal(stock, during)
    assert not torch.equal(stock, after)
    assert torch.equal(stock, emptied)
    status = regulator.status().to_dict()
    assert (status["sequence"], status["source"]["state"]) == (4, "ok")


def test_a_release_that_does_not_fit_the_pipeline_is_not_taken(t2i_pipe, t2i_profile, tmp_path):
    offer, other = tmp_path / "offer.uvr", replace(t2i_profile, model="other")
    offer.write_bytes(write_bundle(replace(locked(firing(t2i_profile)), sequence=1, digest="")))
    check = fits(t2i_pipe, t2i_profile)
    state = {"keys": None, "state": tmp_path / "state", "poll_seconds": 0}
    with BundleSource(offer, accept=check, **state) as source:
        offer.write_bytes(write_bundle(replace(locked(firing(other)), sequence=2, digest="")))
        with pytest.raises(MismatchError, match="no anchors for model 'tiny'"):
            source.refresh()
        with Regulator(source, profile=t2i_profile).attach(t2i_pipe) as attachment:
            call_pipe(t2i_pipe, "a cup", [1])
    assert attachment.last.sequence == 1


def test_the_report_has_the_state_of_the_release_that_it_names(
    t2i_pipe, t2i_profile, tmp_path, monkeypatch
):
    """Another release comes in just after a generation has taken its own, which has expired."""
    offer, clock = tmp_path / "offer.uvr", ["2026-01-01T00:00:00.000000Z"]

    def publish(sequence: int, expires: str | None) -> None:
        quiet = bundle_of(t2i_profile, {"ball": make_scorer(random_weights(t2i_profile), 1e6)})
        released = replace(locked(quiet), sequence=sequence, expires=expires, digest="")
        offer.write_bytes(write_bundle(released))

    publish(1, "2026-01-02T00:00:00.000000Z")
    options = {"keys": None, "state": tmp_path / "state", "poll_seconds": 0, "stale": "degraded"}
    with BundleSource(offer, **options, clock=lambda: clock[0]) as source:
        regulator = Regulator(source, profile=t2i_profile)
        with regulator.attach(t2i_pipe) as attachment:
            clock[0] = "2026-01-03T00:00:00.000000Z"
            publish(2, None)
            log_staleness = source._log_staleness

            def log_and_swap(stale: str | None) -> None:
                log_staleness(stale)
                source.refresh()

            monkeypatch.setattr(source, "_log_staleness", log_and_swap)
            for _ in range(2):
                call_pipe(t2i_pipe, "a cup", [1])
    found = [(report.sequence, report.bundle_state) for report in attachment.reports]
    assert found == [(1, "degraded"), (2, "ok")]
    assert "it expired at 2026-01-02" in attachment.reports[0].notes[0]


def test_a_fixed_bundle_that_expires_serves_on_and_is_stale(
    t2i_pipe,
    t2i_profile,
    monkeypatch,
    caplog,
):
    expires, clock = "2026-01-02T00:00:00.000000Z", ["2026-01-01T00:00:00.000000Z"]
    monkeypatch.setattr("uvr.engine.regulator.now", lambda: clock[0])
    bundle = replace(firing(t2i_profile), expires=expires, digest="")
    regulator = Regulator(bundle, profile=t2i_profile)
    with regulator.attach(t2i_pipe) as attachment:
        fresh = call_pipe(t2i_pipe, "a cup", [1])
        clock[0] = expires
        for _ in range(2):
            assert torch.equal(fresh, call_pipe(t2i_pipe, "a cup", [1]))
    with regulator.attach(t2i_pipe):
        pass
    assert [report.bundle_state for report in attachment.reports] == ["ok", "stale", "stale"]
    why = f"it expired at {expires}"
    notes = [report.notes for report in attachment.reports]
    assert notes == [[], *2 * [[f"the bundle is stale: {why}"]]]
    assert caplog.messages == [f"the bundle 'test' is stale: {why}"]
    with pytest.raises(ExpiredError, match="test@1 cannot be used: it expired"):
        Regulator(bundle, profile=t2i_profile)


def test_overrides_of_a_host_are_logged_and_in_its_status(t2i_profile, caplog):
    with caplog.at_level("WARNING", "uvr.regulator"):
        status = Regulator(firing(t2i_profile), allow=["ball"]).status()
    assert caplog.messages == ["not regulated on this host: ball"]
    assert (status.bundle, status.allow, status.deny, status.source) == (
        "test",
        ("ball",),
        (),
        None,
    )
    with pytest.raises(ValueError, match="both name ball"):
        Regulator(firing(t2i_profile), allow=["ball"], deny=["ball"])


def test_a_bundle_file_is_opened_by_its_path(t2i_profile, tmp_path, monkeypatch):
    key, other = PrivateKey.generate(), PrivateKey.generate()
    written = locked(firing(t2i_profile)).sign(key)
    monkeypatch.chdir(tmp_path)
    Path("policy.uvr").write_bytes(write_bundle(written))
    for name, signer in (("keys.json", key), ("others.json", other)):
        Path(name).write_bytes(KeyList(1, 1, (signer.public,)).to_bytes())
    for path in ("policy.uvr", Path("policy.uvr")):
        for keys in ("keys.json", Path("keys.json"), KeyList(1, 1, (key.public,)), None):
            assert Regulator(path, keys=keys).bundle.digest == written.digest
    with pytest.raises(InputError, match=r"Who may have signed 'policy.uvr'.*keys=None"):
        Regulator("policy.uvr")
    with pytest.raises(SignatureError, match=r"'policy.uvr': "):
        Regulator("policy.uvr", keys="others.json")
    with pytest.raises(NotFoundError, match=r"No bundle file at 'other.uvr'"):
        Regulator("other.uvr", keys=None)
    with pytest.raises(InputError, match="is an address"):
        Regulator("https://policy.example/policy.uvr", keys=None)
    Path("policy.uvr").write_bytes(write_bundle(written)[:-1])
    with pytest.raises(VerificationError, match=r"'policy.uvr': .*corrupt"):
        Regulator("policy.uvr", keys=None)


def test_what_is_no_bundle_is_a_slip(t2i_profile):
    with pytest.raises(TypeError, match="bundle is of type bytes"):
        Regulator(b"")
    with pytest.raises(TypeError, match="keys go with the path"):
        Regulator(firing(t2i_profile), keys=None)
