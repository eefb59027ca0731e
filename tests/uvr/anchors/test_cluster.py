"""Collecting on a Ray cluster of this machine, one of whose workers is killed."""

import os
import signal
from dataclasses import replace

import pytest

from concepts.definition import load_shipped
from concepts.errors import MismatchError
from tests.uvr.conftest import make_pipe
from tests.uvr.evaluation.run.test_cluster import workers_of
from uvr.anchors.batches import batch_key, drawn_batches, shared_content
from uvr.anchors.capturing import Capturing
from uvr.anchors.cluster import capturing, ray_engine
from uvr.anchors.extract import collect_from_prompts
from uvr.pipelines import load_pipeline


@pytest.fixture
def model(tmp_path) -> str:
    pipe = make_pipe(singles=3, doubles=3)
    pipe.transformer.register_to_config(_uvr_model="testbed")
    pipe.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def test_a_worker_captures_nothing_that_would_have_another_key(model):
    pipe, profile = load_pipeline(model)
    (batch,) = drawn_batches(["a cup"], seed=0, steps=2)
    key = batch_key(shared_content(pipe, profile), batch)
    capture = capturing(model, profile, None)
    assert [found for found, _ in capture([(key, batch)])] == [key]
    with pytest.raises(MismatchError, match="other weights, libraries"):
        next(capture([("0" * 64, batch)]))


@pytest.mark.usefixtures("cluster")
def test_a_worker_is_killed_and_the_anchors_are_those_of_one_process(model):
    pipe, profile = load_pipeline(model)
    pistol = replace(load_shipped("pistol"), parameters={"seeds_per_prompt": 2})
    killed: list[int] = []

    def kill_one(done: int, total: int) -> None:
        if done < total and not killed:
            killed.append(workers_of(os.getpid())[0])
            os.kill(killed[0], signal.SIGKILL)

    with ray_engine(model) as engine:
        spread = collect_from_prompts(
            pipe, profile, pistol, capturing=Capturing(engine=engine), progress=kill_one
        )
    assert len(killed) == 1
    assert spread.digest == collect_from_prompts(pipe, profile, pistol).digest
