"""FLUX.2 passes all that FLUX.1 does, and takes the task of each call from its references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import Flux2KleinKVPipeline, Flux2KleinPipeline, Flux2Pipeline
from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu

from concepts.bundle import Bundle, write_bundle
from concepts.errors import MismatchError
from tests.uvr.conftest import HEAD_DIM, HEADS, bundle_of, make_scorer
from tests.uvr.engine.conftest import locked, picture
from tests.uvr.families.conftest import assert_only_one_changes
from tests.uvr.families.flux2 import CALL, PATCH, make_flux2, make_transformer
from uvr import Regulator
from uvr.anchors.capturing import capture_from_prompts
from uvr.anchors.extract import collect_from_images
from uvr.families.attention import Action, AttentionState, RegulatedAttention
from uvr.families.flux2 import Flux2Family
from uvr.families.known import family_of, profile_for
from uvr.method.presets import ModulatePreset, RestrictPreset
from uvr.method.tokens import TokenLayout
from uvr.pipelines import load_pipeline
from uvr.profiles import PROFILES, ModelProfile
from uvr.report import RegulationReport
from uvr.sample import DRAWN, Sample

T2I = ModelProfile(
    name="tiny-t2i",
    model="tiny",
    task="t2i",
    taps=("transformer_blocks.0", "single_transformer_blocks.1"),
    sigma=0.9,
    stage_end=0.3,
    restrict=RestrictPreset(),
    call={**CALL, "guidance_scale": 1.0},
)
EDIT = replace(T2I, name="tiny-edit", task="edit", modulate=ModulatePreset())
WIDTH = len(T2I.taps) * HEADS * HEAD_DIM
PROMPTS = ["a red cup", "a blue ball", "a star on the right"]
REFERENCES = {"image": [picture(0, (64, 64)), picture(1, (96, 64))]}
DEV, KLEIN = Flux2Pipeline, Flux2KleinPipeline
GUIDED = {"guidance_scale": 2.5}
USES = [
    pytest.param(cls, task, more, id=f"{cls.__name__}-{task.name}-{len(more)}")
    for cls, more in ((DEV, {}), (KLEIN, {}), (KLEIN, GUIDED))
    for task in (T2I, EDIT)
]


def bundle(profile: ModelProfile, threshold: float) -> Bundle:
    weights = np.random.default_rng(3).normal(size=WIDTH)
    return bundle_of(profile, {"ball": make_scorer(weights, threshold)}, dim=WIDTH)


def draw(pipe: Any, profile: ModelProfile, prompts: Sequence[str] = PROMPTS, **more: Any) -> Any:
    count = len(prompts) * more.get("num_images_per_prompt", 1)
    generators = [torch.Generator().manual_seed(seed) for seed in range(count)]
    references = REFERENCES if profile.task == "edit" else {}
    arguments = {**profile.call, **references, **more, "output_type": "latent"}
    return pipe(prompt=list(prompts), generator=generators, **arguments).images


def regulated(
    pipe: Any, profile: ModelProfile, threshold: float, **more: Any
) -> tuple[Any, RegulationReport]:
    regulator = Regulator(bundle(profile, threshold), profile=profile)
    with regulator.attach(pipe) as attachment:
        latents = draw(pipe, profile, **more)
    return latents, attachment.last


@pytest.mark.parametrize(("cls", "profile", "more"), USES)
def test_output_is_bit_identical_when_nothing_fires(cls, profile, more):
    pipe = make_flux2(cls)
    stock = draw(pipe, profile, **more)
    latents, report = regulated(pipe, profile, 1e9, **more)
    assert torch.equal(stock, latents)
    assert (report.looked, report.fired, len(report.images)) == (True, False, 3)


@pytest.mark.parametrize(
    "more", [{"height": 80}, {"num_images_per_prompt": 2}, {"max_sequence_length": 7}]
)
def test_sizes_counts_and_lengths_are_read_from_the_call(more):
    pipe = make_flux2()
    for profile in (T2I, EDIT):
        stock = draw(pipe, profile, PROMPTS[:2], **more)
        latents, report = regulated(pipe, profile, 1e9, prompts=PROMPTS[:2], **more)
        assert torch.equal(stock, latents)
        rows = more.get("height", 64) // PATCH
        shapes = {findings[0].scores.shape for findings in report.images}
        assert (shapes, len(report.images)) == ({(rows, 8)}, len(latents))


@pytest.mark.parametrize("cls", [DEV, KLEIN])
def test_fused_projections_are_regulated_too(cls):
    pipe = make_flux2(cls)
    pipe.transformer.fuse_qkv_projections()
    stock = draw(pipe, EDIT)
    assert torch.equal(stock, regulated(pipe, EDIT, 1e9)[0])
    assert not torch.equal(stock, regulated(pipe, EDIT, -1e9)[0])


@pytest.mark.parametrize(("cls", "profile", "more"), USES)
def test_only_the_picture_that_fired_changes(cls, profile, more):
    pipe = make_flux2(cls)
    report = assert_only_one_changes(
        draw(pipe, profile, **more), lambda threshold: regulated(pipe, profile, threshold, **more)
    )
    assert (report.rewound, report.notes) == (True, [])


@pytest.mark.parametrize(
    ("cls", "profile", "more"), [(DEV, T2I, {}), (KLEIN, EDIT, {}), (KLEIN, EDIT, GUIDED)]
)
def test_rewind_equals_regulation_from_the_first_step(cls, profile, more):
    """All patches fire, so a look at the first step and a rewound one must draw the same."""
    pipe = make_flux2(cls)
    early, _ = regulated(pipe, replace(profile, sigma=1.0), -1e9, **more)
    late, report = regulated(pipe, profile, -1e9, **more)
    assert report.rewound
    assert report.images[0][0].step > 0
    assert (late - draw(pipe, profile, **more)).abs().max() > 0.05
    torch.testing.assert_close(early, late, atol=2e-4, rtol=2e-4)


def test_each_call_is_regulated_for_its_task_by_one_attachment(tmp_path):
    pipe = make_flux2()
    pipe.transformer.register_to_config(_uvr_model="flux.2-klein-4b")
    parts = []
    for task in ("t2i", "edit"):
        profile = replace(PROFILES[f"flux.2-klein-4b-{task}"], taps=T2I.taps)
        parts += bundle(profile, -1e9).variants
    both = locked(replace(bundle(T2I, -1e9), variants=tuple(parts), digest=""))
    path = tmp_path / "both.uvr"
    path.write_bytes(write_bundle(both))
    with Regulator(path, keys=None).attach(pipe) as attachment:
        for profile in (T2I, EDIT, T2I):
            draw(pipe, profile, num_inference_steps=4)
    names = ["flux.2-klein-4b-t2i", "flux.2-klein-4b-edit", "flux.2-klein-4b-t2i"]
    assert [report.profile for report in attachment.reports] == names
    assert all(report.fired for report in attachment.reports)


def call_of(rows: int = 2, references: bool = True) -> dict[str, torch.Tensor]:
    """A transformer call with 3 text tokens, 2 x 3 output tokens and references of two sizes."""
    draw = torch.Generator().manual_seed(0)
    latents = [torch.empty(1, 16, *size) for size in ((4, 2), (3, 3))] if references else []
    ids = [KLEIN._prepare_latent_ids(torch.empty(rows, 16, 2, 3))]
    if latents:
        ids.append(KLEIN._prepare_image_ids(latents).expand(rows, -1, -1))
    img_ids = torch.cat(ids, dim=1)
    text = torch.randn(rows, 3, 24, generator=draw)
    return {
        "hidden_states": torch.randn(rows, img_ids.shape[1], 16, generator=draw),
        "encoder_hidden_states": text,
        "timestep": torch.full((rows,), 0.8),
        "img_ids": img_ids,
        "txt_ids": KLEIN._prepare_text_ids(text),
        "return_dict": False,
    }


def test_references_lie_after_the_output_in_steps_of_ten():
    layout = Flux2Family().layout(call_of())
    spans = (slice(9, 17), slice(17, 26))
    assert layout == TokenLayout(slice(0, 3), slice(3, 9), spans, (2, 3), ((4, 2), (3, 3)))
    alone = Flux2Family().layout(call_of(references=False))
    assert alone == TokenLayout(slice(0, 3), slice(3, 9), (), (2, 3), ())
    assert [Flux2Family().task(each) for each in (layout, alone)] == ["edit", "t2i"]


@pytest.mark.parametrize("layer", ["single_transformer_blocks.1", "transformer_blocks.0"])
@torch.no_grad()
def test_a_regulated_layer_changes_only_the_masked_outputs(layer):
    """What lies behind the layer in its block works token by token."""
    family, transformer, call = Flux2Family(), make_transformer(), call_of()
    outputs: list[torch.Tensor] = []
    block = transformer.get_submodule(layer)

    def keep(module: Any, args: Any, output: Any) -> None:
        outputs.append(torch.cat(output, dim=1) if isinstance(output, tuple) else output)

    block.register_forward_hook(keep)
    mask = torch.zeros(2, 6, dtype=torch.bool)
    mask[0, 1:3] = True
    state = AttentionState(layout=family.layout(call))
    action = Action(mask, torch.randn(2, 6, HEADS * HEAD_DIM), RestrictPreset(fill="noise"), None)
    transformer(**call)
    with family.regulated_attention(transformer, state):
        for processor in state.layers:
            processor.noise_order = torch.arange(6)
        block.register_forward_pre_hook(lambda *args: setattr(state, "action", action))
        transformer(**call)
    plain, changed = outputs
    expected = torch.zeros(2, 26, dtype=torch.bool)
    expected[0, 4:6] = True
    assert torch.equal((plain != changed).any(dim=-1), expected)


@torch.no_grad()
def test_taps_read_the_attention_before_the_mlp_is_joined():
    family, transformer, call = Flux2Family(), make_transformer(), call_of()
    attn = transformer.single_transformer_blocks[1].attn
    joined: list[torch.Tensor] = []
    attn.to_out.register_forward_pre_hook(lambda module, args: joined.append(args[0]))
    taps = frozenset(["single_transformer_blocks.1"])
    state = AttentionState(taps=taps, layout=family.layout(call))
    with family.regulated_attention(transformer, state):
        state.capture = True
        transformer(**call)
    width = family.layers(transformer)["single_transformer_blocks.1"]
    assert joined[0].shape[-1] > width == HEADS * HEAD_DIM
    assert torch.equal(
        state.take_features(["single_transformer_blocks.1"]).output, joined[0][:, 3:9, :width]
    )


def test_processors_are_restored_after_an_exception():
    pipe = make_flux2()
    processors = pipe.transformer.attn_processors
    seen: list[Any] = []

    def fail(*args: Any) -> dict[str, Any]:
        seen.extend(pipe.transformer.attn_processors.values())
        raise RuntimeError("stop here")

    attached = Regulator(bundle(T2I, -1e9), profile=T2I).attach(pipe)
    with pytest.raises(RuntimeError, match="stop here"), attached:
        draw(pipe, T2I, callback_on_step_end=fail)
    assert [isinstance(each, RegulatedAttention) for each in seen] == [True] * 3
    assert pipe.transformer.attn_processors == processors
    assert not pipe.transformer._forward_hooks
    assert not pipe.transformer._forward_pre_hooks


@pytest.mark.parametrize("profile", [None, T2I])
def test_the_klein_that_caches_its_references_is_refused(profile):
    pipe = make_flux2(Flux2KleinKVPipeline)
    with (
        pytest.raises(MismatchError, match=r"KV cache.*Flux2KleinPipeline"),
        Regulator(bundle(T2I, 1e9), profile=profile).attach(pipe),
    ):
        pytest.fail("a picture could have been drawn")


@pytest.mark.parametrize(
    ("cls", "structure", "model"),
    [
        (DEV, {"num_layers": 8, "num_single_layers": 48, "num_attention_heads": 48}, "dev"),
        (KLEIN, {"num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24}, "klein-4b"),
    ],
)
def test_models_are_known_by_structure_or_by_name(cls, structure, model):
    pipe = make_flux2(cls)
    assert type(family_of(pipe)) is Flux2Family
    pipe.register_to_config(is_distilled=True)
    with pytest.raises(MismatchError, match="No profile for model 'of unknown name'"):
        profile_for(pipe)
    pipe.transformer.register_to_config(**structure)
    names = [f"flux.2-{model}-{task}" for task in ("t2i", "edit")]
    assert [profile.name for profile in Flux2Family().profiles(pipe)] == names
    assert profile_for(pipe).name == names[0]
    pipe.transformer.register_to_config(num_layers=1)
    pipe.register_to_config(_name_or_path=f"black-forest-labs/FLUX.2-{model}")
    assert profile_for(pipe).name == names[0]


def test_the_base_of_klein_is_not_taken_for_the_distilled_one():
    pipe = make_flux2()
    pipe.transformer.register_to_config(num_layers=5, num_single_layers=20, num_attention_heads=24)
    with pytest.raises(MismatchError, match="No profile"):
        profile_for(pipe)


@pytest.mark.parametrize(("cls", "model"), [(DEV, "flux.2-dev"), (KLEIN, "flux.2-klein-4b")])
def test_presets_run_on_a_random_transformer_of_that_structure(cls, model):
    """Real weights cannot be run here: narrow blocks reach the same tap."""
    singles = {"flux.2-dev": 21, "flux.2-klein-4b": 8}[model]
    pipe = make_flux2(cls, singles=singles)
    pipe.transformer.register_to_config(_uvr_model=model)
    for profile in (PROFILES[f"{model}-t2i"], PROFILES[f"{model}-edit"]):
        small = replace(profile, call={**profile.call, **CALL, "num_inference_steps": 4})
        stock = draw(pipe, small, PROMPTS[:1])
        dim = HEADS * HEAD_DIM * len(profile.taps)
        weights = np.random.default_rng(0).normal(size=HEADS * HEAD_DIM)
        weights = np.pad(weights, (0, dim - len(weights)))  # of output patches
        results = []
        for threshold in (1e9, -1e9):
            scorer = make_scorer(weights, threshold)
            found = bundle_of(profile, {"ball": scorer}, dim=dim)
            with Regulator(found).attach(pipe) as attachment:
                results.append(draw(pipe, small, PROMPTS[:1]))
            assert attachment.profile is profile
        assert [torch.equal(stock, result) for result in results] == [True, False]


def test_usual_sigmas_are_those_of_a_call():
    pipe = make_flux2()
    draw(pipe, T2I, PROMPTS[:1])
    assert Flux2Family().sigmas(pipe, T2I) == pipe.scheduler.sigmas.tolist()[:-1]
    for tokens in (16, 4096, 4400):
        mine = Flux2Family().shift(tokens, 28, {})
        assert mine == pytest.approx(compute_empirical_mu(tokens, 28))


@pytest.mark.parametrize("cls", [DEV, KLEIN])
@pytest.mark.parametrize("profile", [T2I, EDIT])
def test_noised_call_passes_what_the_pipeline_passes(cls, profile):
    pipe = make_flux2(cls)
    seen: list[dict[str, Any]] = []
    hook = pipe.transformer.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs), with_kwargs=True
    )
    sample = Sample(picture(0, (64, 64)), None, "a cup")
    reference = {"image": sample.image} if profile.task == "edit" else {}
    arguments = Flux2Family().call_arguments(profile, {"prompt": sample.prompt, **reference})
    pipe(**arguments, output_type="latent")
    hook.remove()
    with torch.no_grad():
        mine = Flux2Family().noised_call(
            pipe, profile, [sample], 0.5, torch.Generator().manual_seed(0)
        )
    theirs = seen[0]
    assert mine["hidden_states"].shape == theirs["hidden_states"].shape
    torch.testing.assert_close(mine["hidden_states"][:, 64:], theirs["hidden_states"][:, 64:])
    for name in ("guidance", "encoder_hidden_states", "txt_ids", "img_ids"):
        torch.testing.assert_close(mine[name], theirs[name])


def test_the_reference_is_what_a_sample_is_given():
    pipe = make_flux2()
    edited, own, bare = (
        Sample(picture(0, (64, 64)), source=picture(1, (64, 64))),
        Sample(picture(1, (64, 64))),
        Sample(picture(0, (64, 64)), kind=DRAWN),
    )
    states = []
    for sample in (edited, own, bare):
        noise = torch.Generator().manual_seed(0)
        call = Flux2Family().noised_call(pipe, EDIT, [sample], 0.5, noise)
        states.append(call["hidden_states"])
    assert torch.equal(states[0][:, 64:], states[1][:, 64:])
    assert torch.equal(states[0][:, :64], states[2])


@pytest.mark.parametrize("profile", [T2I, EDIT])
def test_anchors_are_collected_from_pictures(profile):
    mask = np.zeros((64, 64), dtype=bool)
    mask[:16, :16] = True
    shown = [Sample(picture(seed, (64, 64)), mask, "a red cup") for seed in range(2)]
    benign = [Sample(picture(seed, (64, 64)), None, "a cup") for seed in range(2, 4)]
    anchors = collect_from_images(make_flux2(), profile, shown, benign)
    assert anchors.anchors.shape == (2 * (16 // PATCH) ** 2, WIDTH)


def test_features_are_captured_along_generations():
    look, late = capture_from_prompts(make_flux2(), T2I, PROMPTS)
    assert (look.shape, late.shape) == ((3, 64, WIDTH), (3, 64, WIDTH))


def test_one_folder_is_loaded_for_either_task(tmp_path):
    pipe = make_flux2()
    pipe.transformer.register_to_config(_uvr_model="flux.2-klein-4b")
    pipe.save_pretrained(tmp_path)
    names = [load_pipeline(str(tmp_path), task)[1].name for task in (None, "t2i", "edit")]
    assert names == ["flux.2-klein-4b-t2i", "flux.2-klein-4b-t2i", "flux.2-klein-4b-edit"]
