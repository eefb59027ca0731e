"""Chroma and LongCat-Image pass what FLUX.1 does: stock to the bit, or regulated where it fired."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ChromaImg2ImgPipeline, LongCatImageEditPipeline
from diffusers.pipelines.longcat_image import pipeline_longcat_image_edit

from concepts.bundle import Bundle
from concepts.errors import MismatchError
from tests.uvr.conftest import HEAD_DIM, HEADS, TAPS, bundle_of, make_scorer
from tests.uvr.engine.conftest import picture
from tests.uvr.families.chroma import make_chroma
from tests.uvr.families.conftest import assert_only_one_changes
from tests.uvr.families.longcat import make_longcat
from uvr import Regulator
from uvr.anchors.extract import collect_from_images
from uvr.families.attention import Action, AttentionState
from uvr.families.known import family_of, profile_for
from uvr.method.presets import ModulatePreset, RestrictPreset
from uvr.method.taps import layer_of
from uvr.profiles import PROFILES, ModelProfile
from uvr.report import RegulationReport
from uvr.sample import Sample

WIDTH = len(TAPS) * HEADS * HEAD_DIM
PROMPTS = ["a red cup", "a blue ball on the left", "a star"]
SIZE = {"height": 32, "width": 32}
CALL = {**SIZE, "num_inference_steps": 5, "guidance_scale": 1.0}
T2I = ModelProfile(
    name="tiny-t2i",
    model="tiny",
    task="t2i",
    taps=TAPS,
    sigma=0.7,
    stage_end=0.3,
    restrict=RestrictPreset(),
    call=CALL,
)
EDIT = replace(T2I, name="tiny-edit", task="edit", modulate=ModulatePreset())
CHROMA = replace(T2I, call={**CALL, "max_sequence_length": 12})
LONGCAT = replace(T2I, call={**CALL, "enable_prompt_rewrite": False})
GUIDED = {"guidance_scale": 2.5}

# Chroma asks for a class of its own library where that has moved from.
pytestmark = pytest.mark.filterwarnings("ignore:.FluxPosEmbed. is deprecated:FutureWarning")


def make_editor(singles: int = 2) -> Any:
    return make_longcat(LongCatImageEditPipeline, singles)


@pytest.fixture(autouse=True)
def small_edits(monkeypatch: pytest.MonkeyPatch) -> None:
    """LongCat edits at a megapixel, whatever it is given."""
    monkeypatch.setattr(
        pipeline_longcat_image_edit, "calculate_dimensions", lambda area, ratio: (32, 32)
    )


USES = {
    "chroma": (make_chroma, CHROMA, {}),
    "chroma guided": (make_chroma, CHROMA, GUIDED),
    "chroma image to image": (
        lambda: make_chroma(ChromaImg2ImgPipeline), CHROMA, {"strength": 0.9}
    ),
    "longcat": (make_longcat, LONGCAT, {}),
    "longcat guided": (make_longcat, LONGCAT, {**GUIDED, "enable_cfg_renorm": False}),
    "longcat edit": (make_editor, EDIT, {}),
    "longcat edit guided": (make_editor, EDIT, GUIDED),
}  # fmt: skip


@pytest.fixture(params=USES)
def use(request: pytest.FixtureRequest) -> tuple[Any, ModelProfile, dict[str, Any]]:
    make, profile, more = USES[request.param]
    return make(), profile, more


def bundle(profile: ModelProfile, threshold: float, read: int = WIDTH) -> Bundle:
    dim = len(profile.taps) * HEADS * HEAD_DIM
    weights = np.zeros(dim)  # of the output's taps alone: no patch has a picture's as well
    weights[:read] = np.random.default_rng(3).normal(size=read)
    return bundle_of(profile, {"ball": make_scorer(weights, threshold)}, dim=dim)


def draw(pipe: Any, profile: ModelProfile, count: int = 3, **more: Any) -> torch.Tensor:
    """Three pictures of as many prompts, or of one instruction."""
    generators = [torch.Generator().manual_seed(seed) for seed in range(count)]
    arguments = family_of(pipe).call_arguments(profile, {**profile.call, **more})
    if profile.task == "edit":
        arguments |= {"prompt": "keep it", "image": picture(), "num_images_per_prompt": count}
    else:
        arguments["prompt"] = PROMPTS[:count]
    if "strength" in more:
        arguments["image"] = picture()
    latents: torch.Tensor = pipe(generator=generators, output_type="latent", **arguments).images
    return latents


def regulated(
    pipe: Any, profile: ModelProfile, threshold: float, **more: Any
) -> tuple[torch.Tensor, RegulationReport]:
    with Regulator(bundle(profile, threshold), profile=profile).attach(pipe) as attachment:
        latents = draw(pipe, profile, **more)
    return latents, attachment.last


def test_output_is_bit_identical_when_nothing_fires(use):
    pipe, profile, more = use
    stock = draw(pipe, profile, **more)
    latents, report = regulated(pipe, profile, 1e9, **more)
    assert torch.equal(stock, latents)
    assert (report.looked, report.fired, len(report.images)) == (True, False, 3)


def test_only_the_picture_that_fired_changes(use):
    pipe, profile, more = use
    report = assert_only_one_changes(
        draw(pipe, profile, **more), lambda threshold: regulated(pipe, profile, threshold, **more)
    )
    assert (report.rewound, report.notes) == (True, [])


def test_a_guided_velocity_that_is_scaled_back_is_regulated_from_the_look_on():
    pipe = make_longcat()
    stock = draw(pipe, LONGCAT, **GUIDED)
    latents, report = regulated(pipe, LONGCAT, -1e9, **GUIDED)
    assert not torch.equal(stock, latents)
    reason = "latents did not follow plain Euler steps"
    assert report.notes == [f"not rewound, regulated from the look on: {reason}"]


@torch.no_grad()
@pytest.mark.parametrize("name", ["chroma", "longcat"])
@pytest.mark.parametrize("layer", ["transformer_blocks.0", "single_transformer_blocks.1"])
def test_only_masked_patches_change_in_the_layer_that_is_regulated(name, layer):
    make, profile, _ = USES[name]
    pipe = make()
    family, transformer = family_of(pipe), pipe.transformer
    samples = [Sample(picture(seed), None, PROMPTS[seed]) for seed in range(2)]
    call = family.noised_call(pipe, profile, samples, 0.5, torch.Generator().manual_seed(0))
    outputs = []
    block = transformer.get_submodule(layer)
    block.register_forward_hook(lambda module, args, output: outputs.append(output))
    layout = family.layout(call)
    mask = torch.zeros(2, layout.num_output, dtype=torch.bool)
    mask[0, 1:3] = True
    noise = torch.randn(2, layout.num_output, HEADS * HEAD_DIM)
    action = Action(mask, noise, RestrictPreset(fill="noise"), None)
    state = AttentionState(layout=layout)
    transformer(**call)
    with family.regulated_attention(transformer, state):
        for processor in state.layers:
            processor.noise_order = torch.arange(layout.num_output)
        block.register_forward_pre_hook(lambda *args: setattr(state, "action", action))
        transformer(**call)
    plain, changed = (
        out[1] if isinstance(out, tuple) else out[:, layout.num_text :] for out in outputs
    )
    assert torch.equal((plain != changed).any(dim=-1), mask)


@pytest.mark.parametrize("name", ["chroma", "longcat", "longcat edit"])
def test_noised_call_passes_what_the_pipeline_passes(name):
    make, profile, _ = USES[name]
    pipe = make()
    seen: list[dict[str, Any]] = []
    hook = pipe.transformer.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs), with_kwargs=True
    )
    draw(pipe, profile, count=1)
    hook.remove()
    prompt = "keep it" if profile.task == "edit" else PROMPTS[0]
    sample = Sample(picture(), None, prompt)
    with torch.no_grad():
        mine = family_of(pipe).noised_call(
            pipe, profile, [sample], 0.5, torch.Generator().manual_seed(0)
        )
    theirs = seen[0]
    outputs = family_of(pipe).layout(mine).num_output
    assert mine["hidden_states"].shape == theirs["hidden_states"].shape
    torch.testing.assert_close(
        mine["hidden_states"][:, outputs:], theirs["hidden_states"][:, outputs:]
    )
    for key in set(theirs) - {"hidden_states", "timestep", "joint_attention_kwargs"}:
        torch.testing.assert_close(mine[key], theirs[key], check_dtype=False)


def test_anchors_are_collected_from_pictures(use):
    pipe, profile, _ = use
    mask = np.zeros((32, 32), dtype=bool)
    mask[:8, :8] = True
    shown = [Sample(picture(seed), mask, "a red cup") for seed in range(2)]
    benign = [Sample(picture(seed), None, "a cup") for seed in range(2, 4)]
    anchors = collect_from_images(pipe, profile, shown, benign)
    patch = family_of(pipe).patch_size(pipe)
    assert anchors.anchors.shape == (2 * (8 // patch) ** 2, WIDTH)


@pytest.mark.parametrize("name", ["chroma1-hd", "longcat-image", "longcat-image-edit"])
def test_profiles_run_on_a_random_transformer_that_has_their_tap(name):
    """Real weights cannot be run here: narrow blocks reach the same tap."""
    profile = PROFILES[name]
    singles = int(layer_of(profile.taps[0]).rpartition(".")[2]) + 1
    make = {"chroma1-hd": make_chroma, "longcat-image": make_longcat}.get(name, make_editor)
    pipe = make(singles=singles)
    with pytest.raises(MismatchError, match="No profile"):
        profile_for(pipe)
    pipe.register_to_config(_name_or_path=f"owner/{name}".upper())
    assert profile_for(pipe) is profile
    small = replace(T2I if profile.task == "t2i" else EDIT, call={**profile.call, **SIZE})
    more: dict[str, Any] = {"num_inference_steps": 8}
    if name == "longcat-image":
        more["enable_prompt_rewrite"] = False
    if name == "chroma1-hd":
        more["max_sequence_length"] = 12
    stock = draw(pipe, small, **more)
    results = []
    for threshold in (1e9, -1e9):
        found = bundle(profile, threshold, HEADS * HEAD_DIM)
        with Regulator(found).attach(pipe) as attachment:
            results.append(draw(pipe, small, **more))
        assert attachment.profile is profile
    assert [torch.equal(stock, result) for result in results] == [True, False]


def test_longcat_is_known_by_its_structure():
    for make, name in ((make_longcat, "longcat-image"), (make_editor, "longcat-image-edit")):
        pipe = make()
        pipe.transformer.register_to_config(num_layers=10, num_single_layers=20)
        assert profile_for(pipe).name == name


def test_chroma_of_another_name_needs_a_profile():
    """All of its checkpoints have the structure of FLUX.1."""
    pipe = make_chroma()
    pipe.transformer.register_to_config(num_layers=19, num_single_layers=38)
    with pytest.raises(MismatchError, match="No profile for model 'of unknown name'"):
        profile_for(pipe)
