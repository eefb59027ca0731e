"""Tiny random LongCat-Image pipelines of stock classes, text encoder and processor included."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    LongCatImagePipeline,
    LongCatImageTransformer2DModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLProcessor,
)

from tests.uvr.conftest import HEAD_DIM, HEADS, WORDS

# Older releases of transformers have it under the name of what needs torchvision in newer ones.
ImageProcessor = getattr(
    transformers, "Qwen2VLImageProcessorPil", transformers.Qwen2VLImageProcessor
)
HIDDEN, LENGTH = 8, 12
SPECIAL = ["<pad>", "<unk>", "<|image_pad|>", "<|video_pad|>", "<|vision_start|>"]
SPECIAL += ["<|vision_end|>", "<|im_start|>", "<|im_end|>"]


def make_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: place for place, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=SPECIAL[2:],
    )


def make_text_encoder() -> Qwen2_5_VLForConditionalGeneration:
    text = {
        "vocab_size": 32, "hidden_size": HIDDEN, "intermediate_size": HIDDEN,
        "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1,
        "bos_token_id": None, "eos_token_id": None,
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]},
    }  # fmt: skip
    vision = {
        "depth": 1, "hidden_size": 8, "intermediate_size": 8, "num_heads": 1, "patch_size": 4,
        "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 16,
        "out_hidden_size": HIDDEN, "fullatt_block_indexes": [0],
    }  # fmt: skip
    places = {
        f"{name}_id": SPECIAL.index(f"<|{word}|>")
        for name, word in (
            ("image_token", "image_pad"),
            ("video_token", "video_pad"),
            ("vision_start_token", "vision_start"),
            ("vision_end_token", "vision_end"),
        )
    }
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **places)
    return Qwen2_5_VLForConditionalGeneration(config).eval()


def make_transformer(singles: int = 2) -> LongCatImageTransformer2DModel:
    torch.manual_seed(0)
    transformer = LongCatImageTransformer2DModel(
        in_channels=64,
        num_layers=1,
        num_single_layers=singles,
        attention_head_dim=HEAD_DIM,
        num_attention_heads=HEADS,
        joint_attention_dim=HIDDEN,
        pooled_projection_dim=HIDDEN,
        axes_dims_rope=[4, 6, 6],
    )
    # A fresh model predicts nearly nothing; larger weights make pictures depend on attention.
    with torch.no_grad():
        for parameter in transformer.parameters():
            if parameter.ndim == 2:
                parameter.mul_(2.0)
    return transformer.eval()


def make_vae() -> AutoencoderKL:
    torch.manual_seed(1)
    return AutoencoderKL(
        block_out_channels=(4, 4),
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=16,
        norm_num_groups=1,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.1,
    ).eval()


class PictureProcessor(Qwen2VLProcessor):
    """Its videos would need torchvision; the pipeline asks for its pictures alone."""

    def __init__(self) -> None:
        self.image_processor = ImageProcessor(
            patch_size=4, merge_size=2, min_pixels=64, max_pixels=1024
        )


def make_longcat(cls: type = LongCatImagePipeline, singles: int = 2) -> Any:
    torch.manual_seed(2)
    pipe = cls(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=make_vae(),
        text_encoder=make_text_encoder(),
        tokenizer=make_tokenizer(),
        text_processor=PictureProcessor(),
        transformer=make_transformer(singles),
    )
    pipe.tokenizer_max_length = LENGTH
    pipe.set_progress_bar_config(disable=True)
    return pipe
