from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import FluxKontextPipeline, FluxPipeline
from PIL import Image

from concepts.errors import MismatchError
from tests.uvr.conftest import bundle_of, call_pipe, make_pipe, make_scorer
from uvr.engine.regulator import Regulator
from uvr.families.known import profile_for
from uvr.method.presets import ModulatePreset, RestrictPreset
from uvr.profiles import PROFILES


@pytest.mark.parametrize(
    ("cls", "name", "profile"),
    [
        (FluxPipeline, "black-forest-labs/FLUX.1-dev", "flux.1-dev"),
        (FluxPipeline, "black-forest-labs/FLUX.1-schnell", "flux.1-schnell"),
        (FluxKontextPipeline, "black-forest-labs/FLUX.1-Kontext-dev", "flux.1-kontext-dev"),
        (FluxPipeline, "uvr/testbed", "testbed-t2i"),
        (FluxKontextPipeline, "uvr/testbed", "testbed-edit"),
    ],
)
def test_profile_is_found_by_name_and_class(cls, name, profile):
    pipe = make_pipe(cls)
    pipe.register_to_config(_name_or_path=name)
    assert profile_for(pipe).name == profile


def test_a_model_can_say_its_own_name():
    pipe = make_pipe()
    pipe.transformer.register_to_config(_uvr_model="testbed")
    assert profile_for(pipe).name == "testbed-t2i"


def test_full_size_models_are_known_by_their_structure():
    pipe = make_pipe()
    pipe.transformer.register_to_config(num_layers=19, num_single_layers=38)
    assert profile_for(pipe).name == "flux.1-schnell"
    pipe.transformer.register_to_config(guidance_embeds=True)
    assert profile_for(pipe).name == "flux.1-dev"


def test_an_unknown_model_is_refused(t2i_pipe):
    with pytest.raises(MismatchError, match="No profile"):
        profile_for(t2i_pipe)
    with pytest.raises(MismatchError, match=r"not a FLUX or FLUX\.2 pipeline"):
        profile_for(object())


@pytest.mark.parametrize(
    ("cls", "name"), [(FluxPipeline, "flux.1-dev"), (FluxKontextPipeline, "flux.1-kontext-dev")]
)
def test_flux_presets_run_on_a_random_transformer_of_that_structure(cls, name):
    """Real weights cannot be run here: eleven narrow single-stream blocks reach the same tap."""
    pipe = make_pipe(cls, singles=11, guidance=True)
    pipe.register_to_config(_name_or_path=name)
    profile = PROFILES[name]
    more: dict[str, Any] = {"num_inference_steps": 8, "guidance_scale": 2.5}
    if profile.task == "edit":
        picture = Image.new("RGB", (32, 32), "red")
        more |= {"image": picture, "max_area": 32 * 32, "_auto_resize": False}
    stock = call_pipe(pipe, ["a cup"], [1], **more)
    weights = torch.randn(32, generator=torch.Generator().manual_seed(0)).numpy()
    results = []
    for threshold in (1e9, -1e9):
        bundle = bundle_of(profile, {"ball": make_scorer(weights, threshold)}, dim=32)
        with Regulator(bundle).attach(pipe) as attachment:
            results.append(call_pipe(pipe, ["a cup"], [1], **more))
        assert attachment.profile is profile
    assert torch.equal(results[0], stock)
    assert not torch.equal(results[1], stock)


def test_a_profile_as_in_the_paper_has_noise_or_modulation_alone():
    t2i, edit = PROFILES["testbed-t2i"], PROFILES["testbed-edit"]
    paper = RestrictPreset(0.999, "noise")
    assert t2i.as_in_the_paper() == replace(t2i, restrict=paper, modulate=None)
    assert edit.as_in_the_paper() == replace(edit, restrict=None, modulate=ModulatePreset())


def test_importing_the_package_stays_light():
    code = "import sys, uvr; print({'torch', 'diffusers', 'uvr.testbed'} & set(sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "set()"
