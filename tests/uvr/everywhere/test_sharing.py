"""One transformer, several callers: a picture is regulated, or its call says why it is not."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event
from typing import Any

import pytest
import torch
from diffusers import FluxImg2ImgPipeline, FluxKontextPipeline, FluxPipeline

from concepts.errors import UVRError
from tests.uvr.conftest import call_pipe, make_pipe
from tests.uvr.engine.conftest import firing, picture
from uvr.engine.regulator import Regulator


def with_own_scheduler(pipe: Any, cls: type = FluxPipeline) -> Any:
    other = from_pipe(cls, pipe)
    other.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    return other


def from_pipe(cls: type, pipe: Any) -> Any:
    other = cls.from_pipe(pipe, vae=pipe.vae)  # Only AutoencoderKL is taken over by itself.
    other.set_progress_bar_config(disable=True)
    return other


def interrupt(*args: Any) -> dict[str, Any]:
    raise KeyboardInterrupt


@pytest.mark.parametrize("shared_scheduler", [False, True])
def test_another_pipeline_on_the_transformer_is_refused_after_an_interrupted_call(
    t2i_pipe, t2i_profile, shared_scheduler
):
    other = with_own_scheduler(t2i_pipe)
    if shared_scheduler:
        other.scheduler = t2i_pipe.scheduler
    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        regulated = call_pipe(t2i_pipe, "a cup", [1])
        with pytest.raises(KeyboardInterrupt):
            call_pipe(t2i_pipe, "a cup", [1], callback_on_step_end=interrupt)
        with pytest.raises(UVRError, match="outside of that pipeline's call"):
            call_pipe(other, "a cup", [1])
        assert torch.equal(regulated, call_pipe(t2i_pipe, "a cup", [1]))
    assert not torch.equal(regulated, call_pipe(other, "a cup", [1]))


@pytest.mark.parametrize("cls", [FluxKontextPipeline, FluxImg2ImgPipeline])
def test_a_pipeline_for_another_task_made_from_an_attached_one_is_refused(
    t2i_pipe, t2i_profile, cls
):
    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        other = from_pipe(cls, t2i_pipe)
        with pytest.raises(UVRError, match="Attach a regulator to the pipeline that you call"):
            call_pipe(other, "make it red", [1], image=picture())


def test_an_attached_pipeline_may_have_been_made_from_another(t2i_pipe, t2i_profile):
    other = from_pipe(FluxImg2ImgPipeline, t2i_pipe)
    stock = call_pipe(other, "a cup", [1], image=picture())
    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(other) as attachment:
        assert not torch.equal(stock, call_pipe(other, "a cup", [1], image=picture()))
    assert attachment.last.fired


def test_a_call_of_another_pipeline_within_a_call_is_refused(t2i_pipe, t2i_profile):
    other = with_own_scheduler(t2i_pipe)

    def call(inner: Any) -> Any:
        def at_step_end(pipe: Any, step: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
            call_pipe(inner, "a cup", [1])
            return {}

        return at_step_end

    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        with pytest.raises(UVRError, match="called more often in step 1"):
            call_pipe(t2i_pipe, "a cup", [1], callback_on_step_end=call(other))
        other.scheduler = t2i_pipe.scheduler
        with pytest.raises(UVRError, match="new timesteps in the middle"):
            call_pipe(t2i_pipe, "a cup", [1], callback_on_step_end=call(other))
        with pytest.raises(UVRError, match="called within its own call"):
            call_pipe(t2i_pipe, "a cup", [1], callback_on_step_end=call(t2i_pipe))


def test_threads_in_one_pipeline_draw_what_they_would_alone(t2i_pipe, t2i_profile):
    seeds = range(6)
    with (
        Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe) as attachment,
        ThreadPoolExecutor(3) as threads,
    ):
        alone = [call_pipe(t2i_pipe, "a cup", [seed]) for seed in seeds]
        together = threads.map(lambda seed: call_pipe(t2i_pipe, "a cup", [seed]), seeds)
        assert all(torch.equal(*pair) for pair in zip(alone, together, strict=True))
    assert [report.fired for report in attachment.reports] == [True] * 12


def test_a_thread_cannot_use_the_scheduler_of_a_call_in_another(t2i_pipe, t2i_profile):
    other = make_pipe()
    other.scheduler = t2i_pipe.scheduler
    failed: list[Exception] = []

    def call_other(pipe: Any, step: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
        if step == 0:
            failed.append(thread.submit(call_pipe, other, "a cup", [1]).exception())
        return {}

    with (
        Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe),
        ThreadPoolExecutor(1) as thread,
    ):
        alone = call_pipe(t2i_pipe, "a cup", [1])
        disturbed = call_pipe(t2i_pipe, "a cup", [1], callback_on_step_end=call_other)
    assert [type(error) for error in failed] == [UVRError]
    assert "in use by a call in another thread" in str(failed[0])
    assert torch.equal(alone, disturbed)


def test_detaching_waits_for_a_call_in_another_thread(t2i_pipe, t2i_profile):
    begun = Event()

    def tell(*args: Any) -> dict[str, Any]:
        begun.set()
        return {}

    with ThreadPoolExecutor(1) as thread:
        with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
            alone = call_pipe(t2i_pipe, "a cup", [1])
            call = thread.submit(call_pipe, t2i_pipe, "a cup", [1], callback_on_step_end=tell)
            assert begun.wait(60)
        assert torch.equal(alone, call.result())


def test_a_call_during_which_the_regulator_is_detached_returns_nothing(t2i_pipe, t2i_profile):
    stack = ExitStack()

    def detach(*args: Any) -> dict[str, Any]:
        stack.close()
        return {}

    with stack:
        stack.enter_context(Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe))
        with pytest.raises(UVRError, match="detached before a call of the pipeline ended"):
            call_pipe(t2i_pipe, "a cup", [1], callback_on_step_end=detach)


def test_one_regulator_serves_pipelines_in_several_threads(t2i_pipe, t2i_profile):
    other = make_pipe(seed=4)
    regulator = Regulator(firing(t2i_profile), profile=t2i_profile)
    with regulator.attach(t2i_pipe), regulator.attach(other), ThreadPoolExecutor(2) as threads:
        pipes = [t2i_pipe, other] * 2
        alone = [call_pipe(pipe, "a cup", [1]) for pipe in pipes]
        together = threads.map(lambda pipe: call_pipe(pipe, "a cup", [1]), pipes)
        assert all(torch.equal(*pair) for pair in zip(alone, together, strict=True))


@pytest.mark.parametrize("make", [copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize("part", ["pipeline", "transformer"])
def test_a_copy_is_refused_while_attached_and_stock_after(t2i_pipe, t2i_profile, make, part):
    stock = call_pipe(t2i_pipe, "a cup", [1])
    original = t2i_pipe if part == "pipeline" else t2i_pipe.transformer
    with (
        Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe),
        pytest.raises(UVRError, match="cannot be copied or pickled while a regulator is attached"),
    ):
        make(original)
    copied = copy.deepcopy(original)
    assert type(copied) is type(original) in (FluxPipeline, type(t2i_pipe.transformer))
    if part == "transformer":
        t2i_pipe.transformer = copied
    assert torch.equal(stock, call_pipe(copied if part == "pipeline" else t2i_pipe, "a cup", [1]))


def test_a_call_interrupted_before_the_look_says_so(t2i_pipe, t2i_profile, caplog):
    def stop(pipe: Any, step: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
        pipe._interrupt = step == stops[-1]
        return {}

    stops, reports = [0, 3], []
    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe) as attachment:
        while stops:
            call_pipe(t2i_pipe, "a cup", [1], callback_on_step_end=stop)
            reports.append(attachment.last)
            stops.pop()
    note = "the call ended before its look step: nothing was looked for"
    assert [(report.looked, report.notes) for report in reports] == [(True, []), (False, [note])]
    assert caplog.messages == [note]
