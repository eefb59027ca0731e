"""Tiny random FLUX pipelines of stock classes, and bundles made to fire where a test wants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderTiny,
    FlowMatchEulerDiscreteScheduler,
    FluxKontextPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
)
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from concepts.anchors import AnchorSpace
from concepts.bundle import Bundle, BundleVariant, Member
from concepts.definition import ConceptDefinition
from concepts.scorer import Scorer
from uvr.decisions.decision import Decision, pixels_digest
from uvr.method.presets import ModulatePreset, RestrictPreset
from uvr.profiles import ModelProfile
from uvr.verdict import Evidence, Verdict

WORDS = ["a", "red", "blue", "cup", "star", "ball", "on", "the", "left", "right"]
WORDS += ["make", "it", "keep", "remove"]
HEADS, HEAD_DIM, STEPS = 2, 16, 5
TAPS = ("single_transformer_blocks.0", "single_transformer_blocks.1")
CALL = {"height": 32, "width": 32, "num_inference_steps": STEPS, "max_sequence_length": 12}


def make_tokenizer(length: int) -> PreTrainedTokenizerFast:
    vocabulary = {word: place for place, word in enumerate(["<pad>", "<eos>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        model_max_length=length,
    )


def make_transformer(
    *,
    singles: int = 2,
    doubles: int = 1,
    guidance: bool = False,
    seed: int = 0,
    channels: int = 16,
) -> FluxTransformer2DModel:
    torch.manual_seed(seed)
    transformer = FluxTransformer2DModel(
        in_channels=channels,
        out_channels=16,
        num_layers=doubles,
        num_single_layers=singles,
        attention_head_dim=HEAD_DIM,
        num_attention_heads=HEADS,
        joint_attention_dim=24,
        pooled_projection_dim=20,
        guidance_embeds=guidance,
        axes_dims_rope=(4, 6, 6),
    )
    # A fresh model predicts nearly nothing; larger weights make pictures depend on attention.
    with torch.no_grad():
        for parameter in transformer.parameters():
            if parameter.ndim == 2:
                parameter.mul_(2.0)
    return transformer.eval()


def make_pipe(cls: type = FluxPipeline, **options: Any) -> Any:
    transformer = make_transformer(**options)
    torch.manual_seed(1)
    clip = CLIPTextConfig(
        vocab_size=32,
        hidden_size=20,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
        eos_token_id=1,
        bos_token_id=2,
        pad_token_id=0,
    )
    t5 = T5Config(vocab_size=32, d_model=24, d_kv=8, d_ff=24, num_layers=1, num_heads=2)
    vae = AutoencoderTiny(
        latent_channels=4,
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )
    pipe = cls(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=vae.eval(),
        text_encoder=CLIPTextModel(clip).eval(),
        tokenizer=make_tokenizer(16),
        text_encoder_2=T5EncoderModel(t5).eval(),
        tokenizer_2=make_tokenizer(32),
        transformer=transformer,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="session")
def ball() -> ConceptDefinition:
    """A concept whose nine pictures a tiny pipeline draws at once."""
    return ConceptDefinition(
        slug="ball",
        name="Ball",
        category="object",
        description="A ball.",
        prompts=("a red ball",),
        near_misses=("a blue cup",),
        benign=("a star",),
        parameters={"seeds_per_prompt": 3},
    )


@pytest.fixture
def t2i_pipe() -> Any:
    return make_pipe()


@pytest.fixture
def edit_pipe() -> Any:
    return make_pipe(FluxKontextPipeline)


@pytest.fixture(scope="session")
def t2i_profile() -> ModelProfile:
    return ModelProfile(
        name="tiny-t2i",
        model="tiny",
        task="t2i",
        taps=TAPS,
        sigma=0.7,
        stage_end=0.3,
        restrict=RestrictPreset(),
        call=CALL,
    )


@pytest.fixture
def edit_profile() -> ModelProfile:
    return ModelProfile(
        name="tiny-edit",
        model="tiny",
        task="edit",
        taps=TAPS,
        sigma=1.0,
        stage_end=0.3,
        modulate=ModulatePreset(),
        call={**CALL, "max_area": 32 * 32, "_auto_resize": False},
    )


def space_of(profile: ModelProfile, dim: int | None = None) -> AnchorSpace:
    width = dim or len(profile.taps) * HEADS * HEAD_DIM
    return AnchorSpace(profile.model, "", profile.task, profile.taps, width, profile.sigma)


def bundle_of(
    profile: ModelProfile, scorers: dict[str, Scorer], *, dim: int | None = None
) -> Bundle:
    members = tuple(
        Member(
            slug=slug,
            name=slug.title(),
            category="object",
            version=1,
            content_digest="0" * 64,
            scorer=scorer,
        )
        for slug, scorer in sorted(scorers.items())
    )
    return Bundle(
        name="test",
        sequence=1,
        lock_digest="0" * 64,
        variants=(BundleVariant(space_of(profile, dim), members),),
    )


def make_scorer(weights: np.ndarray, seed: float, grow: float | None = None) -> Scorer:
    return Scorer(
        rule="whitened",
        weights=np.atleast_2d(weights).astype(np.float32),
        offset=np.zeros(1, dtype=np.float32),
        seed_threshold=seed,
        grow_threshold=seed if grow is None else grow,
        metadata={},
    )


@pytest.fixture(scope="session")
def silent(t2i_profile: ModelProfile) -> Callable[[ModelProfile], Bundle]:
    """A bundle that looks and never finds anything."""
    width = len(t2i_profile.taps) * HEADS * HEAD_DIM
    return lambda profile: bundle_of(profile, {"ball": make_scorer(np.ones(width), 1e9)})


def random_weights(profile: ModelProfile, seed: int = 3) -> np.ndarray:
    width = len(profile.taps) * HEADS * HEAD_DIM
    return np.random.default_rng(seed).normal(size=width)


def call_pipe(pipe: Any, prompts: Sequence[str] | str, seeds: Sequence[int], **more: Any) -> Any:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    arguments = {**CALL, "output_type": "latent", **more}
    prompt = prompts if isinstance(prompts, str) else list(prompts)
    return pipe(prompt=prompt, generator=generators, **arguments).images


@pytest.fixture
def decide() -> Callable[..., Decision]:
    """Make a decision on a picture in which concepts were found, each in a mode."""

    def make(*found: tuple[str, str], day: str = "2026-11-24", **changes: object) -> Decision:
        evidence = tuple(
            Evidence("look", slug, slug.title(), 3, mode, 4.0, 2.0, 0.25) for slug, mode in found
        )
        outcome = "regulated" if any(mode == "enforce" for _, mode in found) else "untouched"
        picture = Image.new("RGB", (8, 4), (200, 10, 10))
        parts = {
            "time": f"{day}T10:00:00.000000Z", "request": "r-17", "model": "testbed", "task": "t2i",
            "bundle": "policy", "sequence": 5, "state": "ok", "space": "e" * 64,
            "verdict": Verdict(0, outcome, "f" * 64, evidence, "Why."),
            "seconds": {"call": 2.5, "look": 0.25}, "pixels": pixels_digest(picture),
            "prompt": "a red ball", "picture": picture,
            "features": {slug: np.arange(4, dtype=np.float16) for slug, _ in found},
        }  # fmt: skip
        return Decision(**{**parts, **changes})  # type: ignore[arg-type]

    return make
