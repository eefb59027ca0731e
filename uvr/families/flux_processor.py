"""FLUX's attention processor: attend like stock FLUX, capture and regulate as the state says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor
from torch import Tensor

from concepts.errors import MismatchError, UVRError
from uvr.families.attention import AttentionState, RegulatedAttention


class RegulatedFluxAttention(RegulatedAttention):
    """Attention of one FLUX layer, double- or single-stream, with capture and regulation.

    diffusers passes on only the keyword arguments named in ``__call__``, so they are spelled out.
    ``set_attention_backend`` skips a processor without ``_attention_backend``.
    """

    _attention_backend: Any = None
    _parallel_config: Any = None

    def __new__(cls, *place: Any) -> RegulatedFluxAttention:
        """Refuse to be made anew without a place, as loading an IP adapter does with a layer's."""
        if not place:
            raise UVRError(
                "Attention processors cannot be exchanged, as for an IP adapter, while a regulator "
                "is attached. Leave the `with` block first."
            )
        return super().__new__(cls)

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Attend; single-stream layers hand over ``[text, image]`` as one sequence."""
        query, key, value = joint_projections(attn, hidden_states, encoder_hidden_states)
        hidden_states = self.rotated(query, key, value, attention_mask, image_rotary_emb)

        if encoder_hidden_states is None:
            return hidden_states
        text = encoder_hidden_states.shape[1]
        encoder_hidden_states, hidden_states = hidden_states.split_with_sizes(
            [text, hidden_states.shape[1] - text], dim=1
        )
        return self.projected(attn, hidden_states, encoder_hidden_states)

    def projected(self, attn: Any, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Project the attention's output, image and text."""
        image = attn.to_out[1](attn.to_out[0](image.contiguous()))
        return image, attn.to_add_out(text.contiguous())

    def rotated(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, rotary_emb: Any
    ) -> Tensor:
        """Attend with rotary positions, captured and regulated, (batch, tokens, inner dim)."""
        if rotary_emb is not None:
            query = apply_rotary_emb(query, rotary_emb, sequence_dim=1)
            key = apply_rotary_emb(key, rotary_emb, sequence_dim=1)
        out = self.attend(query, key, value, mask, self._dispatch)
        return self.regulate(out.flatten(2, 3).to(query.dtype))

    def _dispatch(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        out: Tensor = dispatch_attention_fn(
            query,
            key,
            value,
            attn_mask=mask,
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )
        return out


def flux_layers(transformer: Any) -> dict[str, int]:
    """Attention layers by the name of their block, with the width of their output."""
    modules = dict(transformer.named_modules())
    names = [key.removesuffix(".processor") for key in transformer.attn_processors]
    return {name.removesuffix(".attn"): int(modules[name].inner_dim) for name in names}


Kinds = Mapping[type, type[RegulatedFluxAttention]]
"""Stock processors, and what takes the place of each."""

FLUX_KINDS: Kinds = {FluxAttnProcessor: RegulatedFluxAttention}


@contextmanager
def regulated_flux_attention(
    transformer: Any, state: AttentionState, kinds: Kinds = FLUX_KINDS
) -> Iterator[None]:
    """Put a processor of ours on every layer; restore the old ones on the way out.

    Raises:
        MismatchError: A layer does not run stock FLUX attention.
    """
    originals = dict(transformer.attn_processors)
    processors = _processors(originals, list(flux_layers(transformer)), state, kinds)
    try:
        # set_attn_processor empties the dict that it is given.
        transformer.set_attn_processor(dict(processors))
        yield
    finally:
        for key, processor in processors.items():  # set_attention_backend may have been called.
            originals[key]._attention_backend = processor._attention_backend
        transformer.set_attn_processor(dict(originals))


def _processors(
    originals: Mapping[str, Any], layers: Sequence[str], state: AttentionState, kinds: Kinds
) -> dict[str, RegulatedFluxAttention]:
    processors = {}
    for place, (key, original) in enumerate(originals.items()):
        _check_stock(key, original, kinds)
        processor = kinds[type(original)](layers[place], place, state)
        processor._attention_backend = original._attention_backend
        processors[key] = processor
    return processors


def _check_stock(name: str, processor: Any, kinds: Kinds) -> None:
    if isinstance(processor, RegulatedAttention):
        raise MismatchError("This transformer is already attached to a regulator; detach it first.")
    if type(processor) not in kinds:
        raise MismatchError(
            f"{name} is a {type(processor).__name__}; only stock FLUX attention can be regulated "
            "(unload IP adapters and custom processors first)."
        )
    if processor._parallel_config is not None:
        raise MismatchError("Context parallelism splits the tokens and cannot be regulated yet.")


def joint_projections(
    attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value of the joint sequence, (batch, tokens, heads, head_dim) each."""
    query, key, value = _split_heads(attn, _image_projections(attn, hidden_states))
    query, key = attn.norm_q(query), attn.norm_k(key)
    if encoder_hidden_states is None or attn.added_kv_proj_dim is None:
        return query, key, value
    text = _split_heads(attn, _text_projections(attn, encoder_hidden_states))
    text_query, text_key = attn.norm_added_q(text[0]), attn.norm_added_k(text[1])
    return (
        torch.cat([text_query, query], dim=1),
        torch.cat([text_key, key], dim=1),
        torch.cat([text[2], value], dim=1),
    )


def _split_heads(attn: Any, projections: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    query, key, value = (part.view(*part.shape[:-1], -1, attn.head_dim) for part in projections)
    return query, key, value


def _image_projections(attn: Any, hidden_states: Tensor) -> Sequence[Tensor]:
    if attn.fused_projections:
        fused: Sequence[Tensor] = attn.to_qkv(hidden_states).chunk(3, dim=-1)
        return fused
    return attn.to_q(hidden_states), attn.to_k(hidden_states), attn.to_v(hidden_states)


def _text_projections(attn: Any, encoder_hidden_states: Tensor) -> Sequence[Tensor]:
    if attn.fused_projections:
        fused: Sequence[Tensor] = attn.to_added_qkv(encoder_hidden_states).chunk(3, dim=-1)
        return fused
    return (
        attn.add_q_proj(encoder_hidden_states),
        attn.add_k_proj(encoder_hidden_states),
        attn.add_v_proj(encoder_hidden_states),
    )
