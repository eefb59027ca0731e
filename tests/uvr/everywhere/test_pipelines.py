"""Every FLUX.1 pipeline of diffusers: stock to the bit, or regulated when something fires."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import diffusers
import pytest
import torch
import transformers
from diffusers import (
    AutoencoderKL,
    FluxControlImg2ImgPipeline,
    FluxControlInpaintPipeline,
    FluxControlNetImg2ImgPipeline,
    FluxControlNetInpaintPipeline,
    FluxControlNetModel,
    FluxControlNetPipeline,
    FluxControlPipeline,
    FluxFillPipeline,
    FluxImg2ImgPipeline,
    FluxInpaintPipeline,
    FluxKontextInpaintPipeline,
    FluxKontextPipeline,
    FluxPipeline,
    FluxPriorReduxPipeline,
    ReduxImageEncoder,
)
from PIL import Image
from transformers import SiglipVisionConfig, SiglipVisionModel

from concepts.errors import MismatchError, UVRError
from tests.uvr.conftest import HEAD_DIM, HEADS, call_pipe, make_pipe
from tests.uvr.engine.conftest import firing, picture
from uvr.engine.regulator import Regulator
from uvr.method.presets import RestrictPreset
from uvr.profiles import ModelProfile

# Older releases of transformers have it under the name of what needs torchvision in newer ones.
SiglipImageProcessor = getattr(
    transformers, "SiglipImageProcessorPil", transformers.SiglipImageProcessor
)

MASK = Image.new("L", (32, 32))
MASK.paste(255, (0, 0, 16, 32))
PICTURE = {"image": picture()}
PAINTED = {**PICTURE, "mask_image": MASK}
CONTROL = {"control_image": picture(2)}
KONTEXT = {"max_area": 32 * 32, "_auto_resize": False}
BLENDED = "latents did not follow plain Euler steps"
WIDE = "the transformer sees more channels than it predicts"
SMALL = {"height": 32, "width": 32, "num_inference_steps": 5}
RESIDUALS = "ControlNet residuals belong to the steps as they ran"


@dataclass(frozen=True)
class Use:
    """A pipeline, its arguments, and why it cannot run its first steps again."""

    cls: Any
    call: Mapping[str, Any] = field(default_factory=dict)
    stays: str | None = None
    channels: int = 16
    references: int = 0


USES = {
    "text to image": Use(FluxPipeline),
    "image to image .2": Use(FluxImg2ImgPipeline, {**PICTURE, "strength": 0.2}),
    "image to image .6": Use(FluxImg2ImgPipeline, {**PICTURE, "strength": 0.6}),
    "image to image .9": Use(FluxImg2ImgPipeline, {**PICTURE, "strength": 0.9}),
    "inpaint": Use(FluxInpaintPipeline, {**PAINTED, "strength": 1.0}, BLENDED),
    "fill": Use(FluxFillPipeline, PAINTED, WIDE, channels=48),
    "control": Use(FluxControlPipeline, CONTROL, WIDE, channels=32),
    "control image to image": Use(
        FluxControlImg2ImgPipeline, {**PICTURE, **CONTROL, "strength": 0.9}, WIDE, channels=32
    ),
    "control inpaint": Use(
        FluxControlInpaintPipeline, {**PAINTED, **CONTROL, "strength": 0.9}, WIDE, channels=32
    ),
    "controlnet": Use(FluxControlNetPipeline, CONTROL, RESIDUALS),
    "controlnet image to image": Use(
        FluxControlNetImg2ImgPipeline, {**PICTURE, **CONTROL, "strength": 0.9}, RESIDUALS
    ),
    "controlnet inpaint": Use(
        FluxControlNetInpaintPipeline, {**PAINTED, **CONTROL, "strength": 0.9}, RESIDUALS
    ),
    "kontext": Use(FluxKontextPipeline, {**PICTURE, **KONTEXT}, references=1),
    "kontext without a picture": Use(FluxKontextPipeline, KONTEXT),
    "kontext inpaint": Use(
        FluxKontextInpaintPipeline, {**PAINTED, **KONTEXT, "strength": 1.0}, BLENDED, references=1
    ),
    "kontext inpaint with a reference": Use(
        FluxKontextInpaintPipeline,
        {**PAINTED, **KONTEXT, "strength": 1.0, "image_reference": picture(3)},
        BLENDED,
        references=1,
    ),
}


def pipe_for(use: Use) -> Any:
    parts = make_pipe(channels=use.channels).components
    parts = {name: part for name, part in parts.items() if part is not None}
    if "ControlNet" in use.cls.__name__:
        parts["controlnet"] = controlnet(parts["transformer"])
    pipe = use.cls(**{**parts, "vae": autoencoder()})
    pipe.set_progress_bar_config(disable=True)
    return pipe


def autoencoder() -> AutoencoderKL:
    """Control pipelines ask for the distribution that AutoencoderTiny does not have."""
    torch.manual_seed(6)
    return AutoencoderKL(
        block_out_channels=(4, 4),
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=4,
        norm_num_groups=1,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.0,
    ).eval()


def controlnet(transformer: Any) -> Any:
    torch.manual_seed(5)
    config = {**transformer.config, "num_layers": 1, "num_single_layers": 1}
    known = FluxControlNetModel._get_init_keys(FluxControlNetModel)
    model = FluxControlNetModel(**{name: config[name] for name in known & set(config)})
    with torch.no_grad():
        for parameter in model.parameters():  # Its outputs begin at zero.
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(params=USES)
def use(request: pytest.FixtureRequest) -> Use:
    return USES[request.param]


@pytest.fixture
def profile(use: Use, t2i_profile: ModelProfile, edit_profile: ModelProfile) -> ModelProfile:
    return edit_profile if "Kontext" in use.cls.__name__ else t2i_profile


def test_every_pipeline_of_diffusers_is_tried():
    offered = {
        name for name in dir(diffusers)
        if name.startswith("Flux") and name.endswith("Pipeline")
        and not name.startswith(("Flux2", "Flux3")) and "Modular" not in name
    }  # fmt: skip
    assert offered - {use.cls.__name__ for use in USES.values()} == {"FluxPriorReduxPipeline"}


@pytest.mark.filterwarnings(
    "ignore:`FluxPosEmbed` is deprecated:FutureWarning"
)  # ControlNet's own.
def test_a_pipeline_is_stock_to_the_bit_or_regulated(use, profile, silent):
    profile = replace(profile, sigma=0.7, restrict=RestrictPreset())
    pipe = pipe_for(use)
    stock = call_pipe(pipe, "a red cup", [1], **use.call)
    with Regulator(silent(profile), profile=profile).attach(pipe) as attachment:
        assert torch.equal(stock, call_pipe(pipe, "a red cup", [1], **use.call))
    assert attachment.last.looked
    with Regulator(firing(profile), profile=profile).attach(pipe) as attachment:
        regulated = call_pipe(pipe, "a red cup", [1], **use.call)
    assert attachment.last.fired_in(0) == ["ball"]
    assert (regulated - stock).abs().max() > 0.01
    notes = [] if use.stays is None else [f"not rewound, regulated from the look on: {use.stays}"]
    assert attachment.last.notes == notes


class TwoReferences(FluxKontextPipeline):
    """Kontext with the same reference twice, numbered as its model was trained to have several."""

    def prepare_latents(self, *args: Any, **kwargs: Any) -> Any:
        latents, image_latents, latent_ids, image_ids = super().prepare_latents(*args, **kwargs)
        second = image_ids + torch.tensor([1, 0, 0]).to(image_ids)
        return (
            latents,
            torch.cat([image_latents, image_latents], dim=1),
            latent_ids,
            torch.cat([image_ids, second]),
        )


def test_several_references_are_regulated(edit_profile, silent):
    pipe = pipe_for(Use(TwoReferences))
    call = {**PICTURE, **KONTEXT}
    stock = call_pipe(pipe, "keep it", [1], **call)
    with Regulator(silent(edit_profile), profile=edit_profile).attach(pipe):
        assert torch.equal(stock, call_pipe(pipe, "keep it", [1], **call))
    with Regulator(firing(edit_profile), profile=edit_profile).attach(pipe) as attachment:
        regulated = call_pipe(pipe, "keep it", [1], **call)
    assert attachment.last.fired
    assert not torch.equal(stock, regulated)


CALLS = {
    "negative prompt": {"negative_prompt": ["red", "blue"], "true_cfg_scale": 2.5},
    "several pictures a prompt": {"num_images_per_prompt": 2},
    "wide": {"height": 16, "width": 80},
    "tall": {"height": 72, "width": 24},
    "given sigmas": {"sigmas": [1.0, 0.9, 0.5, 0.2], "num_inference_steps": 4},
    "low sigmas": {"sigmas": [0.3, 0.2, 0.1], "num_inference_steps": 3},
    **{f"{steps} steps": {"num_inference_steps": steps} for steps in (1, 2, 4, 50)},
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_of_any_kind_is_stock_to_the_bit_or_regulated(t2i_pipe, t2i_profile, silent, name):
    prompts, call = ["a red cup", "a star"], CALLS[name]
    seeds = range(2 * call.get("num_images_per_prompt", 1))
    stock = call_pipe(t2i_pipe, prompts, seeds, **call)
    with Regulator(silent(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        assert torch.equal(stock, call_pipe(t2i_pipe, prompts, seeds, **call))
    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe) as attachment:
        regulated = call_pipe(t2i_pipe, prompts, seeds, **call)
    report = attachment.last
    assert [report.fired_in(place) for place in seeds] == [["ball"] for _ in seeds]
    assert all((a - b).abs().max() > 0.01 for a, b in zip(stock, regulated, strict=True))
    assert report.rewound is (report.images[0][0].step > 0)


def test_redux_is_regulated_as_the_pipeline_that_it_prompts(t2i_pipe, t2i_profile, silent):
    torch.manual_seed(7)
    vision = SiglipVisionConfig(
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
    )
    redux = FluxPriorReduxPipeline(
        image_encoder=SiglipVisionModel(vision).eval(),
        feature_extractor=SiglipImageProcessor(size={"height": 32, "width": 32}),
        image_embedder=ReduxImageEncoder(redux_dim=8, txt_in_features=24),
        **{
            name: getattr(t2i_pipe, name)
            for name in ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
        },
    )
    prompts = dict(redux(picture(), prompt="a cup"))

    def draw() -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        return t2i_pipe(generator=generator, output_type="latent", **SMALL, **prompts).images

    stock = draw()
    with Regulator(silent(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        assert torch.equal(stock, draw())
    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe) as attachment:
        assert not torch.equal(stock, draw())
    assert attachment.last.rewound


def with_ip_adapter(pipe: Any) -> None:
    width = HEADS * HEAD_DIM
    weights = {"0.to_k_ip.weight": torch.randn(width, 24), "0.to_k_ip.bias": torch.zeros(width)}
    weights |= {name.replace("_k_", "_v_"): value for name, value in weights.items()}
    projection = {"proj.weight": torch.randn(4 * 24, 8), "proj.bias": torch.zeros(4 * 24)}
    projection |= {"norm.weight": torch.ones(24), "norm.bias": torch.zeros(24)}
    state = {"image_proj": projection, "ip_adapter": weights}
    pipe.load_ip_adapter(state, None, None, image_encoder_pretrained_model_name_or_path=None)


def test_an_ip_adapter_is_refused(t2i_pipe, t2i_profile):
    regulator = Regulator(firing(t2i_profile), profile=t2i_profile)
    with (
        regulator.attach(t2i_pipe),
        pytest.raises(UVRError, match="cannot be exchanged, as for an IP adapter"),
    ):
        with_ip_adapter(t2i_pipe)
    with_ip_adapter(t2i_pipe)
    with pytest.raises(MismatchError, match="unload IP adapters"), regulator.attach(t2i_pipe):
        pass
    t2i_pipe.unload_ip_adapter()
    with regulator.attach(t2i_pipe) as attachment:
        call_pipe(t2i_pipe, "a cup", [1])
    assert attachment.last.fired
