"""What is done with FLUX.1 is done with its relatives: checks, drawing again, LoRA, caches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from packaging.version import Version

from concepts.bundle import Bundle
from concepts.errors import MismatchError
from tests.uvr.conftest import TAPS
from tests.uvr.engine.conftest import firing, picture
from tests.uvr.engine.test_regulated_pipeline import StrictOnceJudge, with_check
from tests.uvr.everywhere.weights import for_weights_of
from tests.uvr.families.chroma import make_chroma
from tests.uvr.families.longcat import make_longcat
from uvr import FeatureCheck, Regulator
from uvr.anchors.analyse import analyse
from uvr.method.presets import ModulatePreset, RestrictPreset
from uvr.profiles import ModelProfile
from uvr.sample import Sample

RELEASE = Version(diffusers.__version__)
PROMPTS = ["a red cup", "a blue ball", "a star"]
SMALL = {"height": 32, "width": 32, "num_inference_steps": 4}
T2I = ModelProfile(
    name="tiny-t2i",
    model="tiny",
    task="t2i",
    taps=TAPS,
    sigma=0.8,
    stage_end=0.3,
    restrict=RestrictPreset(),
    call=SMALL,
)
EDIT = replace(T2I, name="tiny-edit", task="edit", modulate=ModulatePreset())
SPOKEN = {"max_sequence_length": 12}


@dataclass(frozen=True)
class Relative:
    """A pipeline that is not FLUX.1's: how to make it, and how it is called."""

    make: Callable[[], Any]
    call: dict[str, Any]
    profile: ModelProfile = T2I
    since: str = "0.37"


def flux2(dev: bool = False) -> Any:
    from tests.uvr.families.flux2 import make_flux2  # noqa: PLC0415 (some releases lack it)

    return make_flux2(diffusers.Flux2Pipeline) if dev else make_flux2()


REFERENCES = {"image": [picture(seed, (64, 64)) for seed in range(3)]}
RELATIVES = {
    "FLUX.2-dev": Relative(lambda: flux2(dev=True), SPOKEN, since="0.38"),
    "FLUX.2-klein": Relative(flux2, {**SPOKEN, "guidance_scale": 1.0}, since="0.38"),
    "FLUX.2-klein, guided": Relative(flux2, {**SPOKEN, "guidance_scale": 2.5}, since="0.38"),
    "FLUX.2-klein, edit": Relative(
        flux2, {**SPOKEN, "guidance_scale": 1.0, **REFERENCES}, EDIT, since="0.38"
    ),
    "Chroma": Relative(make_chroma, {**SPOKEN, "guidance_scale": 2.5}),
    "LongCat-Image": Relative(
        make_longcat, {"guidance_scale": 2.5, "enable_prompt_rewrite": False}
    ),
}

# Chroma asks for a class of its own library where that has moved from.
pytestmark = pytest.mark.filterwarnings("ignore:.FluxPosEmbed. is deprecated:FutureWarning")


@pytest.fixture(params=RELATIVES)
def relative(request: pytest.FixtureRequest) -> Relative:
    found = RELATIVES[request.param]
    if Version(found.since) > RELEASE:
        pytest.skip(f"diffusers {RELEASE} does not have it")
    guidance = {name: value for name, value in found.call.items() if name == "guidance_scale"}
    call = {**found.profile.call, **guidance}
    return replace(found, profile=replace(found.profile, call={"guidance_scale": 4.0, **call}))


@pytest.fixture
def pipe(relative: Relative) -> Any:
    return relative.make()


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """No compiled code is left to the next test."""
    yield
    torch.compiler.reset()


def draw(pipe: Any, relative: Relative, drawing: Any = None, **more: Any) -> list[Any]:
    generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    arguments = {**SMALL, **relative.call, **more}
    images: list[Any] = (drawing or pipe)(prompt=PROMPTS, generator=generators, **arguments).images
    return images


def changed(some: list[Any], others: list[Any]) -> list[bool]:
    return [a.tobytes() != b.tobytes() for a, b in zip(some, others, strict=True)]


def quiet(profile: ModelProfile) -> Bundle:
    return firing(profile, 1e9)


def test_finished_pictures_are_checked(pipe, relative):
    stock = draw(pipe, relative)
    for threshold, outcome in ((1e9, "untouched"), (-1e9, "flagged")):
        bundle = with_check(quiet(relative.profile), relative.profile, threshold)
        regulator = Regulator(bundle, profile=relative.profile, check=FeatureCheck())
        with regulator.attach(pipe) as regulated:
            images = draw(pipe, relative, regulated)
        assert changed(stock, images) == [False] * 3
        assert [verdict.outcome for verdict in regulated.last.verdicts] == [outcome] * 3


def test_one_picture_is_drawn_again_from_its_own_latents(pipe, relative):
    stock = draw(pipe, relative)
    regulator = Regulator(
        with_check(quiet(relative.profile), relative.profile, 1e9), profile=relative.profile,
        check=[StrictOnceJudge(1), FeatureCheck()], on_residual="retry-or-block",
    )  # fmt: skip
    with regulator.attach(pipe) as regulated:
        images = draw(pipe, relative, regulated)
    verdict = regulated.last.verdicts[1]
    assert (verdict.outcome, verdict.retries) == ("retried", 1), verdict.reason
    assert changed(stock, images) == [False, True, False]


def test_drawing_again_with_nothing_to_fill_in_gives_the_same_picture(pipe, relative):
    """It has the prompt, the latents and all the references of the picture that was drawn first."""
    weak = replace(relative.profile, restrict=RestrictPreset(strength=0.0), modulate=None)
    stock = draw(pipe, relative)
    regulator = Regulator(
        with_check(quiet(weak), weak, 1e9), profile=weak,
        check=[StrictOnceJudge(1), FeatureCheck()], on_residual="retry",
    )  # fmt: skip
    with regulator.attach(pipe) as regulated:
        images = draw(pipe, relative, regulated)
    assert regulated.last.verdicts[1].retries == 1
    difference = np.asarray(images[1], dtype=int) - np.asarray(stock[1], dtype=int)
    assert abs(difference).max() <= 1


def test_a_model_is_analysed(pipe, relative):
    """Every attention layer is measured, at the first and the last step of the usual call."""
    mask = np.zeros((32, 32), dtype=bool)
    mask[:16, :16] = True
    shown = [Sample(picture(seed), mask, "a red cup") for seed in range(10)]
    benign = [Sample(picture(seed), None, "a cup") for seed in range(10, 20)]
    found = analyse(pipe, relative.profile, "cup", shown, benign, levels=2)
    layers = ["transformer_blocks.0", *TAPS]
    assert list(found.layers) == layers
    assert [[cell.taps[0] for cell in row] for row in found.single] == [layers, layers]
    assert found.sigmas[0] > found.sigmas[1]


def test_a_lora_counts_as_other_weights(pipe, relative):
    peft = pytest.importorskip("peft")
    bundle = for_weights_of(pipe, relative.profile)
    config = peft.LoraConfig(r=2, init_lora_weights=False, target_modules=["attn.add_k_proj"])
    with Regulator(bundle, profile=relative.profile).attach(pipe) as attachment:
        draw(pipe, relative)
        assert attachment.last.fired
        pipe.transformer.add_adapter(config)
        with pytest.raises(MismatchError, match="revision"):
            draw(pipe, relative)


def test_a_cache_is_refused_by_its_name(pipe, relative):
    regulator = Regulator(quiet(relative.profile), profile=relative.profile)
    pipe.transformer.enable_cache(
        diffusers.PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=2,
            spatial_attention_block_identifiers=["transformer_blocks"],
            current_timestep_callback=lambda: 500,
        )
    )
    with pytest.raises(MismatchError, match="PyramidAttentionBroadcast"), regulator.attach(pipe):
        pytest.fail("a picture could have been drawn")


# Compiling takes seconds: one of each kind of attention.
@pytest.mark.parametrize("relative", ["FLUX.2-klein, guided", "Chroma"], indirect=True)
def test_a_compiled_transformer_is_stock_to_the_bit(pipe, relative):
    pipe.transformer.compile(backend="eager", fullgraph=True)
    stock = draw(pipe, relative, output_type="latent", num_inference_steps=2)
    with Regulator(quiet(relative.profile), profile=relative.profile).attach(pipe):
        latents = draw(pipe, relative, output_type="latent", num_inference_steps=2)
    assert torch.equal(stock, latents)


def test_bfloat16_is_stock_to_the_bit_or_regulated(pipe, relative):
    pipe.to(torch.bfloat16)
    stock = draw(pipe, relative, output_type="latent")
    for bundle, same in ((quiet(relative.profile), True), (firing(relative.profile), False)):
        with Regulator(bundle, profile=relative.profile).attach(pipe):
            latents = draw(pipe, relative, output_type="latent")
        assert torch.equal(stock, latents) is same
        assert torch.isfinite(latents).all()
