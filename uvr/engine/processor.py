"""The one attention processor: attend like stock FLUX, capture at taps, regulate what is masked.

1. ``install_processors`` puts one processor on each attention layer and puts the old ones back.
2. All processors of a transformer share one ``AttentionState``; its owner sets the token layout
   before each forward pass, asks for features, and sets an ``Action`` once something is masked.
3. With no action the processor runs stock operations in stock order: same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor
from torch import Tensor

from concepts.errors import MismatchError, UVRError
from uvr.method.modulation import (
    QueryGroup,
    attention_with_scaled_values,
    query_groups,
    restrict_output,
)
from uvr.method.tokens import TokenLayout
from uvr.profiles import ModulatePreset, RestrictPreset


@dataclass(frozen=True)
class Action:
    """What to change in every attention layer of one generation.

    Attributes:
        mask: Output patches to regulate, (batch, output patches), bool.
        noise: Unit noise for restricted patches, (batch, output patches, dim), float32; None when
            nothing is restricted.
        restrict: Preset, or None.
        modulate: Preset, or None.
    """

    mask: Tensor
    noise: Tensor | None
    restrict: RestrictPreset | None
    modulate: ModulatePreset | None

    @cached_property
    def fired(self) -> Tensor:
        """Samples with anything to regulate, (batch,), bool."""
        return self.mask.any(dim=1)

    @cached_property
    def chosen(self) -> Tensor:
        """Numbers of those samples; found once, because each look at them waits for the GPU."""
        return self.fired.nonzero().flatten()


@dataclass
class AttentionState:
    """What the processors of one transformer share during a forward pass."""

    taps: frozenset[str] = frozenset()
    layout: TokenLayout | None = None
    capture: bool = False
    features: dict[str, Tensor] = field(default_factory=dict)
    action: Action | None = None
    _groups: tuple[Action, TokenLayout, list[QueryGroup]] | None = None

    def groups(self) -> list[QueryGroup]:
        """Query groups of the fired samples; all layers of a generation share them."""
        action, layout = self.action, self.layout
        if action is None or layout is None or action.modulate is None:
            raise ValueError("there is nothing to modulate")
        cached = self._groups
        if cached is None or cached[0] is not action or cached[1] != layout:
            chosen = action.mask[action.chosen]
            cached = (action, layout, query_groups(layout, chosen, action.modulate))
            self._groups = cached
        return cached[2]

    def take_features(self, taps: Sequence[str]) -> Tensor:
        """Return captured features, taps concatenated, (batch, patches, dim), and forget them."""
        missing = [tap for tap in taps if tap not in self.features]
        if missing:
            raise UVRError(f"No features were captured at {', '.join(missing)}.")
        features = torch.cat([self.features[tap] for tap in taps], dim=-1)
        self.features = {}
        self.capture = False
        return features


class UVRAttnProcessor:
    """Attention of one FLUX layer, double- or single-stream, with capture and regulation.

    diffusers passes on only the keyword arguments named in ``__call__``, so they are spelled out.
    ``set_attention_backend`` skips a processor without ``_attention_backend``.
    """

    _attention_backend: Any = None
    _parallel_config: Any = None

    def __init__(self, module: str, layer: int, state: AttentionState) -> None:
        self.module = module
        self.layer = layer
        self.state = state

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Attend; single-stream layers hand over ``[text, image]`` as one sequence."""
        query, key, value = _joint_projections(attn, hidden_states, encoder_hidden_states)
        if image_rotary_emb is not None:
            query = apply_rotary_emb(query, image_rotary_emb, sequence_dim=1)
            key = apply_rotary_emb(key, image_rotary_emb, sequence_dim=1)

        hidden_states = self._attend(query, key, value, attention_mask)
        hidden_states = hidden_states.flatten(2, 3)
        hidden_states = hidden_states.to(query.dtype)
        self._capture(hidden_states)
        hidden_states = self._restrict(hidden_states)

        if encoder_hidden_states is None:
            return hidden_states
        text = encoder_hidden_states.shape[1]
        encoder_hidden_states, hidden_states = hidden_states.split_with_sizes(
            [text, hidden_states.shape[1] - text], dim=1
        )
        hidden_states = attn.to_out[0](hidden_states.contiguous())
        hidden_states = attn.to_out[1](hidden_states)
        encoder_hidden_states = attn.to_add_out(encoder_hidden_states.contiguous())
        return hidden_states, encoder_hidden_states

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        action = self.state.action
        if action is None or action.modulate is None:
            return self._dispatch(query, key, value, mask)
        chosen, batch = action.chosen, len(action.mask)
        chosen_mask = mask[chosen] if mask is not None and mask.shape[0] == batch else mask

        def attend(q: Tensor, k: Tensor, v: Tensor, queries: slice) -> Tensor:
            return self._dispatch(q, k, v, _mask_rows(chosen_mask, queries))

        changed = attention_with_scaled_values(
            query[chosen], key[chosen], value[chosen], self.state.groups(), attend
        )
        if len(chosen) == batch:
            return changed
        # Samples in which nothing fired keep the bits of a plain call of the same batch.
        out = self._dispatch(query, key, value, mask).clone()
        out[chosen] = changed.to(out.dtype)
        return out

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

    def _capture(self, out: Tensor) -> None:
        state = self.state
        if state.capture and self.module in state.taps and state.layout is not None:
            state.features[self.module] = out[:, state.layout.output].detach().float()

    def _restrict(self, out: Tensor) -> Tensor:
        action, layout = self.state.action, self.state.layout
        if action is None or action.restrict is None or action.noise is None or layout is None:
            return out
        # One draw of noise serves all layers: rolled by the layer number, no two see the same.
        noise = action.noise.roll(self.layer, dims=1)
        out = out.clone()
        out[:, layout.output] = restrict_output(
            out[:, layout.output], action.mask, noise, action.restrict.strength
        )
        return out


@contextmanager
def install_processors(transformer: Any, state: AttentionState) -> Iterator[None]:
    """Put a ``UVRAttnProcessor`` on every attention layer; restore the old ones on the way out.

    Raises:
        MismatchError: A tap is missing, or a layer does not run stock FLUX attention.
    """
    originals = dict(transformer.attn_processors)
    names = [name.removesuffix(".processor").removesuffix(".attn") for name in originals]
    missing = sorted(state.taps - set(names))
    if missing:
        raise MismatchError(
            f"The transformer has no attention layer at {', '.join(missing)}; it has {len(names)} "
            f"layers up to {names[-1]}. The anchors were collected on another model."
        )
    processors = {}
    for layer, (key, original) in enumerate(originals.items()):
        _check_stock(key, original)
        processor = UVRAttnProcessor(names[layer], layer, state)
        processor._attention_backend = original._attention_backend
        processors[key] = processor
    try:
        # set_attn_processor empties the dict that it is given.
        transformer.set_attn_processor(dict(processors))
        yield
    finally:
        transformer.set_attn_processor(dict(originals))


def tap_width(transformer: Any, taps: Sequence[str]) -> int:
    """Number of dimensions of the concatenated features at these taps."""
    modules = dict(transformer.named_modules())
    missing = [tap for tap in taps if f"{tap}.attn" not in modules]
    if missing:
        raise MismatchError(f"The transformer has no attention layer at {', '.join(missing)}.")
    return sum(int(modules[f"{tap}.attn"].inner_dim) for tap in taps)


def _check_stock(name: str, processor: Any) -> None:
    if isinstance(processor, UVRAttnProcessor):
        raise MismatchError("This transformer is already attached to a regulator; detach it first.")
    if type(processor) is not FluxAttnProcessor:
        raise MismatchError(
            f"{name} is a {type(processor).__name__}; only stock FLUX attention can be regulated "
            "(unload IP adapters and custom processors first)."
        )
    if processor._parallel_config is not None:
        raise MismatchError("Context parallelism splits the tokens and cannot be regulated yet.")


def _mask_rows(mask: Tensor | None, queries: slice) -> Tensor | None:
    if mask is None or mask.ndim < 3 or mask.shape[-2] == 1:
        return mask
    return mask[..., queries, :]


def _joint_projections(
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
