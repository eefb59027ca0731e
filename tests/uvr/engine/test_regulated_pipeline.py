"""A call of a regulated pipeline ends with a verdict on each picture, and with what it asks for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxImg2ImgPipeline
from PIL import Image

from concepts.bundle import Bundle
from concepts.errors import InputError, MismatchError, UVRError
from tests.uvr.conftest import CALL, bundle_of, make_scorer, random_weights
from tests.uvr.engine.conftest import firing, picture
from uvr import Decision, FeatureCheck, Regulator, Verdict, named_request
from uvr.decisions.decision import pixels_digest
from uvr.engine import regulated_pipeline
from uvr.engine.rerun import action_of
from uvr.method.modulation import seeded_noise
from uvr.method.presets import RestrictPreset
from uvr.profiles import ModelProfile
from uvr.report import RegulationReport

PROMPTS = ["a red cup", "a blue ball", "a star"]
GREY = (128, 128, 128)


class BrightnessJudge:
    """Sees a ball in the pictures that it is told of, by how bright they are."""

    name, version = "brightness", "1"

    def __init__(self, threshold: float, slug: str = "ball") -> None:
        self.thresholds = {slug: threshold}
        self.slug = slug

    def scores(self, pictures: Sequence[Image.Image]) -> list[dict[str, float]]:
        return [{self.slug: float(np.asarray(image).mean())} for image in pictures]


class StrictOnceJudge:
    """Sees a ball in one picture of a batch, and in no picture alone: content with what is new."""

    name, version, thresholds = "strict-once", "1", {"ball": 0.5}

    def __init__(self, place: int) -> None:
        self.place = place

    def scores(self, pictures: Sequence[Image.Image]) -> list[dict[str, float]]:
        alone = len(pictures) == 1
        return [{"ball": float(not alone and i == self.place)} for i in range(len(pictures))]


def call(drawing: Callable[..., Any], prompts: Any = PROMPTS, **more: Any) -> Any:
    count = len(prompts) * more.get("num_images_per_prompt", 1)
    generators = [torch.Generator().manual_seed(seed) for seed in range(count)]
    return drawing(prompt=prompts, generator=generators, **{**CALL, **more}).images


def late_of(profile: ModelProfile) -> ModelProfile:
    return replace(profile, task="check", sigma=0.15)


def with_check(bundle: Bundle, profile: ModelProfile, threshold: float) -> Bundle:
    """The bundle with a check that fires from a threshold on."""
    late = late_of(profile)
    scorer = make_scorer(random_weights(late, 5), threshold)
    (variant,) = bundle_of(late, {"ball": scorer}).variants
    return replace(bundle, variants=(*bundle.variants, variant), digest="")


def judge_of_one(images: Sequence[Image.Image]) -> tuple[BrightnessJudge, int]:
    """A judge that sees a ball in the brightest picture alone, and its place."""
    levels = [float(np.asarray(image).mean()) for image in images]
    first, second = sorted(levels)[-1], sorted(levels)[-2]
    return BrightnessJudge((first + second) / 2), levels.index(first)


@pytest.fixture
def quiet(t2i_profile: ModelProfile) -> Bundle:
    return firing(t2i_profile, 1e9)


def test_nothing_found_is_the_stock_picture_and_says_so(t2i_pipe, t2i_profile, quiet):
    stock = call(t2i_pipe)
    bundle, told = with_check(quiet, t2i_profile, 1e9), []
    regulator = Regulator(
        bundle, profile=t2i_profile, check=[FeatureCheck(), BrightnessJudge(256)],
        on_residual="block", on_decision=told.append,
    )  # fmt: skip
    with regulator.attach(t2i_pipe) as regulated:
        images = call(regulated)
    assert [a.tobytes() for a in images] == [b.tobytes() for b in stock]
    digest = bundle.digest
    expected = [Verdict(i, "untouched", digest, (), "Nothing banned was found.") for i in range(3)]
    assert [item.verdict for item in told] == expected == regulated.last.verdicts
    assert [len(findings) for findings in regulated.last.checks] == [1, 1, 1]
    assert regulated.last.extra_passes == 3  # the check's


@pytest.mark.parametrize("output_type", ["pil", "np", "pt"])
def test_only_the_picture_that_a_judge_sees_through_is_blocked(
    t2i_pipe, t2i_profile, quiet, output_type, caplog
):
    judge, place = judge_of_one(call(t2i_pipe))
    stock = call(t2i_pipe, output_type=output_type)
    regulator = Regulator(quiet, profile=t2i_profile, check=judge, on_residual="block")
    with regulator.attach(t2i_pipe) as regulated:
        images = call(regulated, output_type=output_type)
    verdicts = regulated.last.verdicts
    for index in range(3):
        if index == place:
            level = GREY if output_type == "pil" else 0.5
            assert (np.asarray(images[index]) == level).all()
        else:
            assert (np.asarray(images[index]) == np.asarray(stock[index])).all()
    outcomes = ["blocked" if index == place else "untouched" for index in range(3)]
    assert [verdict.outcome for verdict in verdicts] == outcomes
    verdict = verdicts[place]
    assert (verdict.deciding.stage, verdict.deciding.judge) == ("judge", "brightness/1")
    assert (verdict.deciding.concept, verdict.deciding.version) == ("ball", 1)
    assert verdict.reason == "Ball was found by the judge, and a grey picture takes its place."
    assert caplog.messages == [f"picture {place} was blocked: {verdict.reason}"]


@pytest.mark.parametrize("asked", ["pass", "flag"])
def test_a_picture_is_passed_or_flagged_as_it_is(t2i_pipe, t2i_profile, quiet, asked):
    stock = call(t2i_pipe)
    regulator = Regulator(quiet, profile=t2i_profile, check=BrightnessJudge(0), on_residual=asked)
    with regulator.attach(t2i_pipe) as regulated:
        images = call(regulated)
    assert [a.tobytes() for a in images] == [b.tobytes() for b in stock]
    outcome, reason = {
        "pass": ("untouched", "Ball was found by the judge, and it is let pass."),
        "flag": ("flagged", "Ball was found by the judge, and it is returned as it is."),
    }[asked]
    assert {(v.outcome, v.reason) for v in regulated.last.verdicts} == {(outcome, reason)}


def test_what_fired_at_the_look_is_checked_too(t2i_pipe, t2i_profile):
    bundle = with_check(firing(t2i_profile), t2i_profile, 1e9)
    with Regulator(bundle, profile=t2i_profile, check=FeatureCheck()).attach(t2i_pipe) as regulated:
        call(regulated)
    verdict = regulated.last.verdicts[0]
    assert (verdict.outcome, verdict.deciding.stage) == ("regulated", "look")
    assert verdict.reason == (
        "Ball was found at the look, and its place was filled in. The check found nothing left."
    )


def test_a_retry_draws_one_picture_again_from_its_own_latents(t2i_pipe, t2i_profile, quiet, caplog):
    more = {"num_images_per_prompt": 2}
    stock, place = call(t2i_pipe, PROMPTS[:2], **more), 2
    batches: list[int] = []

    def watch(pipe: Any, step: int, time: Any, values: dict[str, Any]) -> dict[str, Any]:
        if step == 0:
            batches.append(len(values["latents"]))
        return {}

    regulator = Regulator(
        with_check(quiet, t2i_profile, 1e9), profile=t2i_profile,
        check=[StrictOnceJudge(place), FeatureCheck()], on_residual="retry-or-block",
    )  # fmt: skip
    with regulator.attach(t2i_pipe) as regulated:
        images = call(regulated, PROMPTS[:2], callback_on_step_end=watch, **more)
    changed = [a.tobytes() != b.tobytes() for a, b in zip(images, stock, strict=True)]
    assert changed == [index == place for index in range(4)]
    assert (batches, caplog.messages) == ([4, 1], [])
    # Five of the picture that is drawn again, and one a picture by the check, with that one.
    assert (regulated.last.passes, regulated.last.extra_passes) == (5, 5 + 4 + 1)
    assert len(regulated.reports) == 1
    verdict = regulated.last.verdicts[place]
    assert (verdict.outcome, verdict.retries, verdict.deciding.stage) == ("retried", 1, "judge")
    assert verdict.reason == (
        "Ball was found by the judge, and the picture was drawn again once, after which nothing "
        "was found."
    )


def test_drawing_again_with_nothing_to_fill_in_gives_the_same_picture(t2i_pipe, t2i_profile, quiet):
    """So a picture that was drawn again differs by what was filled in, and by nothing else."""
    weak = replace(t2i_profile, restrict=RestrictPreset(strength=0.0))
    stock = call(t2i_pipe)
    regulator = Regulator(
        with_check(quiet, weak, 1e9), profile=weak,
        check=[StrictOnceJudge(1), FeatureCheck()], on_residual="retry",
    )  # fmt: skip
    with regulator.attach(t2i_pipe) as regulated:
        images = call(regulated)
    assert regulated.last.verdicts[1].retries == 1
    difference = np.asarray(images[1], dtype=int) - np.asarray(stock[1], dtype=int)
    assert abs(difference).max() <= 1


def test_a_picture_that_does_not_come_clean_is_filled_in_twice_then_begun_anew_then_flagged(
    t2i_pipe, t2i_profile, quiet
):
    bundle, begun = with_check(quiet, t2i_profile, -1e9), []
    t2i_pipe.transformer.register_forward_pre_hook(
        lambda _, args, kwargs: begun.append((float(kwargs["timestep"][0]),
                                              kwargs["hidden_states"].clone())),
        with_kwargs=True,
    )  # fmt: skip
    regulator = Regulator(bundle, profile=t2i_profile, check=FeatureCheck(), on_residual="retry")
    with regulator.attach(t2i_pipe) as regulated:
        call(regulated, PROMPTS[:1])
    (verdict,) = regulated.last.verdicts
    assert (verdict.outcome, verdict.retries, verdict.other_noise) == ("flagged", 3, True)
    assert verdict.reason == (
        "Ball was found by the check, also after it was drawn again twice, and once with other "
        "noise, and it is returned as it is."
    )
    own, *others = [latents for time, latents in begun if time == 1]
    # The last try comes back to its first step once its look is done, with what was filled in.
    assert [bool(torch.equal(own, latents)) for latents in others] == [True, True, False, False]
    assert torch.equal(others[2], others[3])
    assert torch.equal(others[2], seeded_noise(own, own.shape[2]))


def test_what_begins_with_other_noise_is_looked_at_anew(t2i_pipe, t2i_profile):
    """Every patch is found and regulated again, as in a call of its own with that noise."""
    bundle, judge = firing(t2i_profile), BrightnessJudge(0, "bare-feet")
    latents = torch.randn(1, 64, 16, generator=torch.Generator().manual_seed(5))
    with Regulator(bundle, profile=t2i_profile).attach(t2i_pipe) as regulated:
        expected = call(regulated, PROMPTS[:1], latents=seeded_noise(latents, 16))
    with Regulator(bundle, profile=t2i_profile, check=judge, on_residual="retry").attach(
        t2i_pipe
    ) as regulated:
        images = call(regulated, PROMPTS[:1], latents=latents)
    assert regulated.last.verdicts[0].other_noise
    assert images[0].tobytes() == expected[0].tobytes()


def test_a_judge_that_says_where_has_that_place_filled_in(
    t2i_pipe, t2i_profile, quiet, caplog, monkeypatch
):
    stock, asked = call(t2i_pipe, PROMPTS[:2]), []

    class PlacingJudge(StrictOnceJudge):
        def places(self, pictures: Sequence[Image.Image]) -> list[dict[str, np.ndarray]]:
            asked.append(len(pictures))
            return [{"ball": np.pad([[0.9]], ((7, 0), (7, 0)))} for _ in pictures]

    regulator = Regulator(quiet, profile=t2i_profile, check=PlacingJudge(1), on_residual="retry")
    masks = []
    monkeypatch.setattr(
        regulated_pipeline, "action_of", lambda *given: masks.append(given[2]) or action_of(*given)
    )
    with regulator.attach(t2i_pipe) as regulated:
        images = call(regulated, PROMPTS[:2])
    assert asked == [1]
    assert images[0].tobytes() == stock[0].tobytes()
    assert images[1].tobytes() != stock[1].tobytes()
    (mask,) = masks  # The corner's patch and a ring around it.
    assert mask.reshape(8, 8).nonzero().tolist() == [[6, 6], [6, 7], [7, 6], [7, 7]]
    assert caplog.messages == []
    assert regulated.last.verdicts[1].retries == 1
    assert not regulated.last.verdicts[1].other_noise


def test_image_to_image_has_no_other_noise_to_begin_with(t2i_pipe, t2i_profile, quiet):
    parts = inspect.signature(FluxImg2ImgPipeline.__init__).parameters
    pipe = FluxImg2ImgPipeline(
        **{name: part for name, part in t2i_pipe.components.items() if name in parts}
    )
    pipe.set_progress_bar_config(disable=True)
    regulator = Regulator(
        quiet, profile=t2i_profile, check=BrightnessJudge(0, "bare-feet"), on_residual="retry"
    )
    with regulator.attach(pipe) as regulated:
        call(regulated, PROMPTS[:1], image=picture(), strength=0.5)
    (verdict,) = regulated.last.verdicts
    assert (verdict.outcome, verdict.retries) == ("flagged", 0)
    assert verdict.reason == (
        "Bare feet was found by the judge, and it is returned as it is. The picture was not drawn "
        "again: where it is in the picture is not known, and it does not begin with noise alone."
    )


def test_edits_are_drawn_again_with_their_own_source(edit_pipe, edit_profile):
    sources = [picture(seed) for seed in range(3)]
    more = {"image": sources, "max_area": 32 * 32, "_auto_resize": False}
    stock = call(edit_pipe, **more)
    judge, place = judge_of_one(stock)
    bundle = firing(edit_profile, 1e9)
    with Regulator(bundle, profile=edit_profile, check=judge, on_residual="retry").attach(
        edit_pipe
    ) as regulated:
        images = call(regulated, **more)
    verdict = regulated.last.verdicts[place]
    assert verdict.retries > 0
    same = [a.tobytes() == b.tobytes() for a, b in zip(images, stock, strict=True)]
    assert same == [index != place for index in range(3)]


def test_a_call_of_the_pipeline_itself_is_checked_too(t2i_pipe, t2i_profile, quiet):
    regulator = Regulator(quiet, profile=t2i_profile, check=BrightnessJudge(0), on_residual="block")
    with regulator.attach(t2i_pipe) as regulated:
        images = call(t2i_pipe)
    assert [verdict.outcome for verdict in regulated.last.verdicts] == ["blocked"] * 3
    assert len({image.tobytes() for image in images}) == 1


def test_a_checked_call_for_latents_is_refused_before_anything_is_drawn(
    t2i_pipe, t2i_profile, quiet
):
    calls = []
    t2i_pipe.transformer.register_forward_hook(lambda *_: calls.append(1))
    regulator = Regulator(quiet, profile=t2i_profile, check=BrightnessJudge(0))
    with regulator.attach(t2i_pipe) as regulated:
        with pytest.raises(InputError, match="ask for 'pil', 'np' or 'pt'"):
            call(regulated, output_type="latent")
        assert calls == []
        call(regulated)
    assert len(calls) == CALL["num_inference_steps"]


def test_without_a_check_both_ways_of_calling_tell_verdicts(t2i_pipe, t2i_profile):
    told: list[Decision] = []
    regulator = Regulator(firing(t2i_profile), profile=t2i_profile, on_decision=told.append)
    with regulator.attach(t2i_pipe) as regulated:
        bare = call(t2i_pipe)
        called = call(regulated)
    assert [a.tobytes() for a in bare] == [b.tobytes() for b in called]
    verdicts = [item.verdict for item in told]
    assert verdicts == [*regulated.reports[0].verdicts, *regulated.reports[1].verdicts]
    assert [verdict.outcome for verdict in verdicts] == ["regulated"] * 6
    assert verdicts[0].reason == "Ball was found at the look, and its place was filled in."


def test_what_is_only_reported_is_evidence_and_no_reason_to_act(t2i_pipe, t2i_profile):
    bundle = with_check(firing(t2i_profile), t2i_profile, -1e9)
    regulator = Regulator(
        bundle, profile=t2i_profile, check=FeatureCheck(), on_residual="block", allow=["ball"]
    )
    stock = call(t2i_pipe, PROMPTS[:1])
    with regulator.attach(t2i_pipe) as regulated:
        images = call(regulated, PROMPTS[:1])
    (verdict,) = regulated.last.verdicts
    assert images[0].tobytes() == stock[0].tobytes()
    assert (verdict.outcome, [e.stage for e in verdict.evidence]) == (
        "untouched",
        ["look", "check"],
    )
    assert verdict.reason == (
        "Ball was found at the look and by the check, which is only reported."
    )


def test_a_concept_that_only_a_judge_knows_is_enforced(t2i_pipe, t2i_profile, quiet):
    judge = BrightnessJudge(0, "bare-feet")
    regulator = Regulator(quiet, profile=t2i_profile, check=judge, on_residual="retry")
    with regulator.attach(t2i_pipe) as regulated:
        call(regulated, PROMPTS[:1])
    (verdict,) = regulated.last.verdicts
    assert (verdict.outcome, verdict.deciding.version) == ("flagged", None)
    assert verdict.reason == (
        "Bare feet was found by the judge, also after it was drawn again once with other noise, "
        "and it is returned as it is."
    )


def test_a_listener_that_fails_does_not_stop_a_call(t2i_pipe, t2i_profile, quiet, caplog):
    def fail(decision: Decision) -> None:
        raise OSError("disk full")

    told: list[Decision] = []
    regulator = Regulator(quiet, profile=t2i_profile, on_decision=[fail, told.append])
    with regulator.attach(t2i_pipe) as regulated:
        assert len(call(regulated)) == 3
    assert caplog.messages == ["a decision was not taken by on_decision; the call goes on"] * 3
    assert len(told) == 3


def test_a_decision_says_in_which_call_a_picture_was_drawn(t2i_pipe, t2i_profile):
    told: list[Decision] = []
    bundle = firing(t2i_profile)
    regulator = Regulator(bundle, profile=t2i_profile, on_decision=told.append)
    with regulator.attach(t2i_pipe) as regulated:
        with named_request("r-17"):
            images = call(regulated)
        call(regulated, PROMPTS[:1])
    report, later = regulated.reports
    assert [report.request, told[0].request, told[1].request] == ["r-17"] * 3
    assert later.request == told[-1].request not in ("", "r-17")
    seconds = report.seconds
    assert set(seconds) == {"call", "look", "rewind"}
    assert min(seconds.values()) > 0
    assert seconds["look"] + seconds["rewind"] < seconds["call"]
    assert told[1] == Decision(
        time=report.time, request="r-17", model="tiny", task="t2i", bundle=bundle.name,
        sequence=bundle.sequence, state="ok", space=report.space, verdict=report.verdicts[1],
        seconds=seconds, pixels=pixels_digest(images[1]), prompt=PROMPTS[1],
    )  # fmt: skip
    assert told[1].features["ball"].tobytes() == report.images[1][0].feature.tobytes()
    assert told[1].picture.tobytes() == images[1].tobytes()


def test_a_decision_on_latents_has_no_pixels(t2i_pipe, t2i_profile, quiet):
    told: list[Decision] = []
    regulator = Regulator(quiet, profile=t2i_profile, on_decision=told.append)
    with regulator.attach(t2i_pipe) as regulated:
        call(regulated, output_type="latent")
    assert [(item.pixels, item.picture) for item in told] == [(None, None)] * 3


def test_a_report_keeps_its_verdicts_and_checks(t2i_pipe, t2i_profile, quiet, tmp_path):
    bundle = with_check(quiet, t2i_profile, -1e9)
    regulator = Regulator(bundle, profile=t2i_profile, check=FeatureCheck())
    with regulator.attach(t2i_pipe) as regulated:
        call(regulated)
    regulated.last.save(tmp_path / "report.json")
    again = RegulationReport.load(tmp_path / "report.json")
    assert again.verdicts == regulated.last.verdicts
    assert again.to_dict() == regulated.last.to_dict()


def test_a_check_that_cannot_work_is_refused_when_it_is_asked_for(t2i_pipe, t2i_profile, quiet):
    with pytest.raises(ValueError, match="on_residual is 'burn', allowed: pass, flag"):
        Regulator(quiet, check=FeatureCheck(), on_residual="burn")
    with pytest.raises(ValueError, match="there is no check: give check="):
        Regulator(quiet, on_residual="block")
    with (
        pytest.raises(MismatchError, match="no anchors for model 'tiny', task 'check'"),
        Regulator(quiet, profile=t2i_profile, check=FeatureCheck()).attach(t2i_pipe),
    ):
        pass


def test_a_judge_that_fails_lets_no_picture_out(t2i_pipe, t2i_profile, quiet):
    judge = BrightnessJudge(0)
    judge.thresholds = {"ball": 0, "cup": 0}
    with (
        Regulator(quiet, profile=t2i_profile, check=judge).attach(t2i_pipe) as regulated,
        pytest.raises(UVRError, match="no finite score for 'cup'"),
    ):
        call(regulated)
