"""Where a model is put, and that a large one is not run on a CPU unasked."""

from __future__ import annotations

import pytest
import torch

from concepts.errors import InputError, NotFoundError, UVRError
from tests.uvr.anchors.test_extract import samples
from uvr.anchors.extract import collect_from_images
from uvr.pipelines import load_pipeline
from uvr.placement import LARGE, Placement, require_gpu
from uvr.revision import weights_revision

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.mark.parametrize(
    ("offload", "device"),
    [
        ("model", "cpu"),
        pytest.param("model", "cuda", marks=pytest.mark.gpu),
        pytest.param("sequential", "cuda", marks=pytest.mark.gpu),
    ],
)
def test_offloaded_weights_give_the_same_features(t2i_pipe, t2i_profile, offload, device):
    pytest.importorskip("accelerate")
    given = samples(2, masked=True), samples(2, masked=False)
    plain = collect_from_images(t2i_pipe.to(device), t2i_profile, *given)
    placed = Placement(offload=offload).place(t2i_pipe.to("cpu"), device)
    assert collect_from_images(placed, t2i_profile, *given).digest == plain.digest


def test_weights_that_sequential_offload_hides_keep_their_revision(t2i_pipe):
    pytest.importorskip("accelerate")
    revision = weights_revision(t2i_pipe.transformer)
    placed = Placement(offload="sequential").place(t2i_pipe, "cpu")
    assert {parameter.device.type for parameter in placed.transformer.parameters()} == {"meta"}
    assert weights_revision(placed.transformer) == revision


def test_a_precision_is_that_of_the_weights(t2i_pipe, tmp_path):
    t2i_pipe.transformer.register_to_config(_uvr_model="testbed")
    t2i_pipe.save_pretrained(tmp_path)
    pipe, _ = load_pipeline(str(tmp_path), placement=Placement("bfloat16"))
    assert {parameter.dtype for parameter in pipe.transformer.parameters()} == {torch.bfloat16}


def test_the_testbed_stays_as_it_is():
    with pytest.raises(InputError, match="neither a dtype nor an offload"):
        load_pipeline("testbed", "t2i", placement=Placement("bfloat16"))


@needs_no_gpu
def test_nothing_is_offloaded_where_there_is_no_gpu(t2i_pipe):
    with pytest.raises(NotFoundError, match="nothing to offload from"):
        Placement(offload="model").place(t2i_pipe)


@needs_no_gpu
def test_a_large_model_is_refused_on_a_cpu(tmp_path):
    weights = tmp_path / "transformer" / "part-1.safetensors"
    weights.parent.mkdir()
    for size in (LARGE - 1, LARGE):
        with weights.open("wb") as file:
            file.truncate(int(size))  # sparse: it takes no disk
        if size < LARGE:
            require_gpu(str(tmp_path))
            require_gpu("testbed")
    with pytest.raises(UVRError, match=r"no GPU here, and '.*' has 4 GB of weights"):
        require_gpu(str(tmp_path))
    with pytest.raises(UVRError, match=r"dev' is a repository of the hub"):
        require_gpu("black-forest-labs/FLUX.1-dev")
