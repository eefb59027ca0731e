"""What the attention of every family does: capture at taps, regulate what is masked.

1. A family puts a ``RegulatedAttention`` of its own on each attention layer, and takes it off.
2. All of a transformer's share one ``AttentionState``; its owner sets the token layout before each
   forward pass, asks for features, and sets an ``Action`` once something is masked.
3. With no action a family's processor runs stock operations in stock order: same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from concepts.errors import UVRError
from uvr.method.modulation import (
    QueryGroup,
    attention_with_scaled_values,
    query_groups,
    restrict_output,
)
from uvr.method.presets import ModulatePreset, RestrictPreset
from uvr.method.tokens import TokenLayout

NOT_READY = (
    "The transformer of a regulated pipeline was called outside of that pipeline's call, as by "
    "another pipeline that shares it, or was compiled while the regulator was attached. Attach a "
    "regulator to the pipeline that you call, once it is compiled."
)

Dispatch = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""Plain attention ``(query, key, value, mask) -> output``, (rows, tokens, heads, head_dim) each."""


@dataclass(frozen=True)
class Action:
    """What to change in every attention layer of one generation.

    Attributes:
        mask: Output patches to regulate, (rows, output patches), bool.
        noise: Unit noise for restricted patches, (rows, output patches, dim), float32; None when
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
        """Rows with anything to regulate, (rows,), bool."""
        return self.mask.any(dim=1)

    @cached_property
    def fired_rows(self) -> Tensor:
        """Numbers of those rows; found once, because each look at them waits for the GPU."""
        return self.fired.nonzero().flatten()


@dataclass
class AttentionState:
    """What the attention layers of one transformer share during a forward pass.

    Attributes:
        taps: Layers whose features may be captured.
        layout: Where the tokens of the pass lie.
        capture: Whether the layers capture.
        features: What they captured.
        action: What they change.
        ready: Whether a forward pass may run now: nothing is regulated in one that the owner of
            this state knows nothing of.
        layers: All of them.
    """

    taps: frozenset[str] = frozenset()
    layout: TokenLayout | None = None
    capture: bool = False
    features: dict[str, Tensor] = field(default_factory=dict)
    action: Action | None = None
    ready: bool = True
    layers: list[RegulatedAttention] = field(default_factory=list)
    _groups: tuple[Action, TokenLayout, list[QueryGroup]] | None = None

    @contextmanager
    def forward_pass(self) -> Iterator[None]:
        """Let one forward pass run within the context, with all of its layers.

        Raises:
            UVRError: Some did not run, and what they would have done was not regulated.
        """
        for layer in self.layers:
            layer.ran = False
        self.ready = True
        try:
            yield
        finally:
            self.ready = False
        skipped = [layer.module for layer in self.layers if not layer.ran]
        if skipped:
            raise UVRError(
                f"{len(skipped)} of {len(self.layers)} attention layers did not run as regulated "
                f"ones, from {skipped[0]} on: they were skipped, as by a cache, or got another "
                "attention processor. Undo that, then attach again."
            )

    def groups(self) -> list[QueryGroup]:
        """Query groups of the fired rows; all layers of a generation share them."""
        action, layout = self.action, self.layout
        if action is None or layout is None or action.modulate is None:
            raise ValueError("there is nothing to modulate")
        cached = self._groups
        if cached is None or cached[0] is not action or cached[1] != layout:
            mask = action.mask[action.fired_rows]
            cached = (action, layout, query_groups(layout, mask, action.modulate))
            self._groups = cached
        return cached[2]

    def take_features(self, taps: Sequence[str]) -> Tensor:
        """Return captured features, taps concatenated, (rows, patches, dim), and forget them."""
        missing = [tap for tap in taps if tap not in self.features]
        if missing:
            raise UVRError(f"No features were captured at {', '.join(missing)}.")
        features = torch.cat([self.features[tap] for tap in taps], dim=-1)
        self.features = {}
        self.capture = False
        return features


class RegulatedAttention:
    """Capture and regulation of one attention layer; a family's processor derives from it.

    Args:
        module: The layer's name, as taps name it.
        layer: Its place among the layers.
        state: Shared by all layers of the transformer, which it knows.

    Attributes:
        ran: Whether the layer ran in the present forward pass. Only written here: compiled code is
            valid for the values that it reads.
    """

    def __init__(self, module: str, layer: int, state: AttentionState) -> None:
        self.module = module
        self.layer = layer
        self.state = state
        self.ran = False
        state.layers.append(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise UVRError(
            "A transformer cannot be copied or pickled while a regulator is attached. Leave the "
            "`with` block first."
        )

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dispatch: Dispatch
    ) -> Tensor:
        """Attend over the joint sequence, modulated where something fired.

        Args:
            query: (rows, tokens, heads, head_dim).
            key: Like query.
            value: Like query.
            mask: The model's own attention mask, or None.
            dispatch: The family's stock attention.
        """
        action = self.state.action
        if action is None or action.modulate is None:
            return dispatch(query, key, value, mask)
        rows, batch = action.fired_rows, len(action.mask)
        row_mask = mask[rows] if mask is not None and mask.shape[0] == batch else mask

        def attend(q: Tensor, k: Tensor, v: Tensor, queries: slice) -> Tensor:
            return dispatch(q, k, v, _mask_rows(row_mask, queries))

        modulated = attention_with_scaled_values(
            query[rows], key[rows], value[rows], self.state.groups(), attend
        )
        if len(rows) == batch:
            return modulated
        # Rows in which nothing fired keep the bits of a plain call of the same batch.
        out = dispatch(query, key, value, mask).clone()
        out[rows] = modulated.to(out.dtype)
        return out

    def regulate(self, out: Tensor) -> Tensor:
        """Capture the joint attention output, (rows, tokens, dim), then restrict what is masked."""
        if not self.state.ready:
            raise UVRError(NOT_READY)
        self.ran = True
        self._capture(out)
        return self._restrict(out)

    def _capture(self, out: Tensor) -> None:
        state = self.state
        if state.capture and self.module in state.taps and state.layout is not None:
            state.features[self.module] = out[:, state.layout.output].detach().float()

    def _restrict(self, out: Tensor) -> Tensor:
        action, layout = self.state.action, self.state.layout
        if action is None or action.restrict is None or action.noise is None or layout is None:
            return out
        # One draw of noise serves all layers: rolled by the layer number, no two see the same.
        noise = action.noise.roll(self.layer, dims=1)[..., : out.shape[-1]]
        out = out.clone()
        out[:, layout.output] = restrict_output(
            out[:, layout.output], action.mask, noise, action.restrict
        )
        return out


def _mask_rows(mask: Tensor | None, queries: slice) -> Tensor | None:
    if mask is None or mask.ndim < 3 or mask.shape[-2] == 1:
        return mask
    return mask[..., queries, :]
