from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxKontextPipeline, FluxPipeline
from PIL import Image

from concepts.errors import InputError, MismatchError
from tests.uvr.conftest import bundle_of, call_pipe, make_pipe, make_scorer, random_weights
from uvr.engine.regulator import Regulator
from uvr.families.chroma import ChromaFamily
from uvr.families.flux import FluxFamily
from uvr.families.flux2 import Flux2Family
from uvr.families.known import profile_for
from uvr.method.presets import ModulatePreset, RestrictPreset
from uvr.method.stage import plan_stage
from uvr.profiles import PROFILES, ProfileError


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
    with pytest.raises(MismatchError, match="of none of the families"):
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
    dim = 32 * len(profile.taps)
    weights = torch.randn(32, generator=torch.Generator().manual_seed(0)).numpy()
    weights = np.pad(weights, (0, dim - 32))  # of output patches, also where there are others
    results = []
    for threshold in (1e9, -1e9):
        bundle = bundle_of(profile, {"ball": make_scorer(weights, threshold)}, dim=dim)
        with Regulator(bundle).attach(pipe) as attachment:
            results.append(call_pipe(pipe, ["a cup"], [1], **more))
        assert attachment.profile is profile
    assert torch.equal(results[0], stock)
    assert not torch.equal(results[1], stock)


def test_the_preset_of_the_paper_is_noise_or_modulation_alone():
    t2i, edit = PROFILES["testbed-t2i"], PROFILES["testbed-edit"]
    paper = RestrictPreset(0.999, "noise")
    assert t2i.with_preset("paper") == replace(t2i, restrict=paper, modulate=None)
    assert edit.with_preset("paper") == replace(edit, restrict=None, modulate=ModulatePreset())
    assert edit.with_preset() is edit


def test_a_strength_moves_a_preset_towards_doing_nothing():
    edit = PROFILES["flux.1-kontext-dev"]
    half = replace(
        edit,
        restrict=RestrictPreset(0.4995),
        modulate=ModulatePreset(core=0.6, ring=0.7, boost=1.025),
    )
    assert edit.with_preset(strength=0.5) == half
    nothing = ModulatePreset(core=1, ring=1, boost=1)
    assert edit.with_preset("paper", 0).modulate == nothing


def test_a_preset_or_strength_that_there_is_not_is_refused():
    silent = bundle_of(PROFILES["flux.1-dev"], {"ball": make_scorer(np.ones(32), 1e9)}, dim=32)
    with pytest.raises(InputError, match=r"No preset 'papr'.*paper\. Did you mean 'paper'"):
        Regulator(silent, preset="papr")
    for strength in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="a number from 0 to 1 is expected"):
            Regulator(silent, strength=strength)


def test_no_strength_leaves_a_fired_picture_as_it_was_but_for_rounding(t2i_pipe, t2i_profile):
    firing = bundle_of(t2i_profile, {"ball": make_scorer(random_weights(t2i_profile), 0)})
    stock = call_pipe(t2i_pipe, "a cup", [1])
    changes = []
    for strength in (0.0, 0.5, 1.0):
        regulator = Regulator(firing, profile=t2i_profile, preset="paper", strength=strength)
        with regulator.attach(t2i_pipe) as attachment:
            changes.append(float((call_pipe(t2i_pipe, "a cup", [1]) - stock).abs().max()))
        assert attachment.last.fired
    assert changes[0] < 1e-4 < changes[1] < changes[2]


def test_a_profile_whose_taps_the_transformer_lacks_is_refused(t2i_pipe, t2i_profile):
    bundle = bundle_of(t2i_profile, {"ball": make_scorer(random_weights(t2i_profile), 0)})
    deep = replace(t2i_profile, taps=("single_transformer_blocks.9",))
    with (
        pytest.raises(MismatchError, match=r"no attention layer at single_transformer_blocks\.9"),
        Regulator(bundle, profile=deep).attach(t2i_pipe),
    ):
        pass


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("sigma", 1.2, "field 'sigma': found 1.2, allowed: a number from 0.0 to 1.0"),
        ("sigma", float("nan"), "field 'sigma': found nan"),
        ("task", "video", "field 'task': found 'video', allowed: t2i, edit"),
        ("restrict", RestrictPreset(2.0), r"field 'restrict.strength': found 2.0"),
        ("taps", (), "field 'taps': found a list, expected"),
        ("name", "../up", "field 'name': found '../up', allowed: letters"),
    ],
)
def test_a_profile_checks_itself(t2i_profile, field, value, message):
    with pytest.raises(ProfileError, match=message):
        replace(t2i_profile, **{field: value})


def test_importing_the_package_stays_light():
    code = "import sys, uvr; print({'torch', 'diffusers', 'uvr.testbed'} & set(sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "set()"


FLUX_SHIFT = {"use_dynamic_shifting": True, "shift": 3.0}
COSTS = [
    ("flux.1-dev", "FLUX.1-dev, FLUX.1-Kontext-dev, 28", FluxFamily(), FLUX_SHIFT, 1),
    ("flux.1-kontext-dev", "FLUX.1-dev, FLUX.1-Kontext-dev, 28", FluxFamily(), FLUX_SHIFT, 1),
    ("flux.1-schnell", "FLUX.1-schnell, 4", FluxFamily(), {}, 1),
    ("flux.2-dev-t2i", "FLUX.2-dev, 28", Flux2Family(), FLUX_SHIFT, 1),
    ("flux.2-klein-4b-edit", "FLUX.2-klein-4B, 4", Flux2Family(), FLUX_SHIFT, 1),
    ("chroma1-hd", "Chroma1-HD, 35, true CFG", ChromaFamily(), FLUX_SHIFT, 2),
]


@pytest.mark.parametrize(("name", "row", "family", "schedule", "each"), COSTS)
def test_what_regulating_costs_is_what_the_manual_says(name, row, family, schedule, each):
    profile = PROFILES[name]
    pipe = SimpleNamespace(
        scheduler=FlowMatchEulerDiscreteScheduler(**schedule), vae_scale_factor=8
    )
    stage = plan_stage(
        family.sigmas(pipe, profile),
        first=0,
        look_sigma=profile.sigma,
        stage_end=profile.stage_end,
    )
    passes, more = profile.steps * each, stage.look * each + 1
    manual = (Path(__file__).parents[2] / "docs/serving.md").read_text(encoding="utf-8")
    assert f"| {row} | {passes} | {more} | {1 + more / passes:.2f} times |" in manual
