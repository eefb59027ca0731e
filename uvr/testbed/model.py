"""The miniature FLUX: stock diffusers and transformers classes at tiny configurations.

A 64 x 64 picture is 16 x 16 latents of 16 channels (`AutoencoderTiny`, factor 4), packed two by
two into 8 x 8 = 64 output tokens of 64 numbers. One `FluxTransformer2DModel` draws and edits.
"""

import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

from diffusers import (
    AutoencoderTiny,
    FlowMatchEulerDiscreteScheduler,
    FluxKontextPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
)
from safetensors.torch import load as load_tensors
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from uvr.testbed import MAX_SEQUENCE_LENGTH

PAD, EOS, UNKNOWN = "<pad>", "</s>", "<unk>"

TRANSFORMER: dict[str, Any] = {
    "patch_size": 1,
    "in_channels": 64,
    "num_layers": 3,
    "num_single_layers": 6,
    "attention_head_dim": 32,
    "num_attention_heads": 4,
    "joint_attention_dim": 128,
    "pooled_projection_dim": 64,
    "guidance_embeds": False,
    "axes_dims_rope": (4, 14, 14),
}
VAE: dict[str, Any] = {
    "encoder_block_out_channels": (32, 32, 32),
    "decoder_block_out_channels": (48, 48, 48),
    "num_encoder_blocks": (0, 1, 2),
    "num_decoder_blocks": (4, 2, 0),
    "latent_channels": 16,
    "scaling_factor": 1.0,
    "shift_factor": 0.0,
}
SCHEDULER: dict[str, Any] = {"shift": 1.0, "use_dynamic_shifting": False}


def build_tokenizer(words: Iterable[str]) -> PreTrainedTokenizerFast:
    """A real fast tokenizer, one token a word, over the captions' vocabulary."""
    vocabulary = {w: i for i, w in enumerate([PAD, EOS, UNKNOWN, *sorted(set(words))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {EOS}", special_tokens=[(EOS, vocabulary[EOS])]
    )
    return wrap_tokenizer(tokenizer)


def wrap_tokenizer(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """`tokenizer` as transformers' class, padding on the right."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        model_max_length=MAX_SEQUENCE_LENGTH,
        padding_side="right",
    )


def build_text_encoders(vocabulary: int) -> tuple[CLIPTextModel, T5EncoderModel]:
    """The pooled (CLIP) and the per-token (T5) text encoder."""
    clip = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=MAX_SEQUENCE_LENGTH,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=1,
        )
    )
    t5 = T5EncoderModel(
        T5Config(
            vocab_size=vocabulary,
            d_model=128,
            d_kv=32,
            num_heads=4,
            d_ff=256,
            num_layers=3,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            pad_token_id=0,
            eos_token_id=1,
        )
    )
    return clip, t5


def build_pipeline(
    task: str,
    tokenizer: PreTrainedTokenizerFast,
    text_encoders: tuple[CLIPTextModel, T5EncoderModel],
    vae: AutoencoderTiny,
    transformer: FluxTransformer2DModel,
) -> Any:
    """The stock FLUX pipeline of `task` around the given parts, silent and ready to call."""
    cls = FluxPipeline if task == "t2i" else FluxKontextPipeline
    pipe = cls(
        scheduler=FlowMatchEulerDiscreteScheduler(**SCHEDULER),
        vae=vae,
        text_encoder=text_encoders[0],
        tokenizer=tokenizer,
        text_encoder_2=text_encoders[1],
        tokenizer_2=tokenizer,
        transformer=transformer,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def load_weights(data: bytes) -> dict[str, Tensor]:
    """An exported part's state dict in float32, from the bytes of its safetensors file."""
    tensors = {name: tensor.float() for name, tensor in load_tensors(data).items()}
    if "shared.weight" in tensors:  # T5 ties its embedding under two names, saved once
        tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"]
    return tensors


def _named_as_in(clip: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors with the names that this release of transformers gives to CLIP's.

    Older ones have its parts in one more module than newer ones.
    """
    outer = "text_model."
    bare = {name.removeprefix(outer): tensor for name, tensor in tensors.items()}
    nested = any(name.startswith(outer) for name in clip.state_dict())
    return {f"{outer}{name}": tensor for name, tensor in bare.items()} if nested else bare


def load_testbed(task: str) -> Any:
    """The trained testbed as a stock pipeline, float32 on the CPU.

    Args:
        task: "t2i" for a FluxPipeline, "edit" for a FluxKontextPipeline; both share the weights
            of one transformer. Call either with `height=64, width=64,
            num_inference_steps=STEPS, max_sequence_length=MAX_SEQUENCE_LENGTH`.

    Raises:
        ValueError: Another task.
        FileNotFoundError: The weights are not in the installation.
    """
    if task not in ("t2i", "edit"):
        raise ValueError(f"unknown task {task!r}; expected 't2i' or 'edit'")
    folder = files("uvr.testbed") / "weights"
    tokenizer = wrap_tokenizer(Tokenizer.from_str((folder / "tokenizer.json").read_text()))
    card = json.loads((folder / "config.json").read_text())
    clip, t5 = build_text_encoders(len(tokenizer))
    vae = AutoencoderTiny(**VAE)
    transformer = FluxTransformer2DModel(**TRANSFORMER)
    parts = {"text_encoder": clip, "text_encoder_2": t5, "vae": vae, "transformer": transformer}
    for name, module in parts.items():
        tensors = load_weights((folder / f"{name}.safetensors").read_bytes())
        if name == "text_encoder":
            tensors = _named_as_in(module, tensors)
        module.load_state_dict(tensors)
        module.eval().requires_grad_(requires_grad=False)
    transformer.register_to_config(_uvr_model="testbed", _uvr_revision=card["revision"])
    return build_pipeline(task, tokenizer, (clip, t5), vae, transformer)
