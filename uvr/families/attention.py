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
from typing import Any

import torch
from torch import Tensor

from concepts.errors import UVRError
from uvr.method.features import Features
from uvr.method.modulation import (
    QueryGroup,
    attention_with_scaled_values,
    query_groups,
    restrict_output,
)
from uvr.method.presets import ModulatePreset, RestrictPreset
from uvr.method.taps import layer_of, output_taps, reference_taps
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
        sources: Patches of each given picture that show what is to be regulated, (rows, its
            patches), bool each; empty where they were not looked at.
        fired: Rows with anything to regulate, (rows,), bool.
        fired_rows: Numbers of those rows.
    """

    mask: Tensor
    noise: Tensor | None
    restrict: RestrictPreset | None
    modulate: ModulatePreset | None
    sources: tuple[Tensor, ...] = ()

    fired: Tensor = field(init=False)
    fired_rows: Tensor = field(init=False)

    def __post_init__(self) -> None:
        # Found once, and outside of compiled code: each look at them waits for the GPU.
        masks = torch.stack([mask.any(dim=1) for mask in (self.mask, *self.sources)])
        object.__setattr__(self, "fired", masks.any(dim=0))
        object.__setattr__(self, "fired_rows", self.fired.nonzero().flatten())


@dataclass
class AttentionState:
    """What the attention layers of one transformer share during a forward pass.

    Attributes:
        taps: Layers whose features may be captured.
        layout: Where the tokens of the pass lie.
        action: What they change.
        groups: The query groups of the fired rows, when attention is modulated.
        ready: Whether a forward pass may run now: nothing is regulated in one that the owner of
            this state knows nothing of.
        layers: All of them.
    """

    taps: frozenset[str] = frozenset()
    layout: TokenLayout | None = None
    action: Action | None = None
    ready: bool = True
    layers: list[RegulatedAttention] = field(default_factory=list)
    groups: list[QueryGroup] = field(default_factory=list)
    _groups_of: tuple[Action, TokenLayout] | None = None

    @property
    def capture(self) -> bool:
        """Whether the layers at the taps capture."""
        return any(layer.captures for layer in self.layers)

    @capture.setter
    def capture(self, on: bool) -> None:
        taps = tuple(self.taps)
        layers = {layer_of(tap) for tap in taps}
        references = bool(reference_taps(taps))
        for layer in self.layers:
            layer.captures = on and layer.module in layers
            layer.captures_references = layer.captures and references

    @contextmanager
    def forward_pass(self) -> Iterator[None]:
        """Let one forward pass run within the context, with all of its layers.

        Raises:
            UVRError: Some did not run, and what they would have done was not regulated.
        """
        self._prepare()
        ready, self.ready = self.ready, True
        try:
            yield
        finally:
            self.ready = ready
        skipped = [layer.module for layer in self.layers if not layer.ran]
        if skipped:
            raise UVRError(
                f"{len(skipped)} of {len(self.layers)} attention layers did not run as regulated "
                f"ones, from {skipped[0]} on: they were skipped, as by a cache, or got another "
                "attention processor. Undo that, then attach again."
            )

    def _prepare(self) -> None:
        """Make what the layers only read, so that compiled code need not."""
        for layer in self.layers:
            layer.ran = False
        action, layout = self.action, self.layout
        if action is None or layout is None:
            return
        if action.noise is not None:
            # One draw of noise serves all layers: rolled by their number, no two see the same.
            order = torch.arange(layout.num_output, device=action.noise.device)
            for layer in self.layers:
                layer.noise_order = order.roll(layer.layer)
        if action.modulate is None:
            return
        if (
            self._groups_of is None
            or self._groups_of[0] is not action
            or self._groups_of[1] != layout
        ):
            rows = action.fired_rows
            sources = [source[rows] for source in action.sources]
            self.groups = query_groups(layout, action.mask[rows], action.modulate, sources)
            self._groups_of = (action, layout)

    def take_features(self, taps: Sequence[str]) -> Features:
        """Return captured features and forget them."""
        captured = {layer.module: layer.features for layer in self.layers if layer.features}
        missing = [tap for tap in taps if layer_of(tap) not in captured]
        if missing:
            raise UVRError(f"No features were captured at {', '.join(missing)}.")
        output = [captured[tap][0] for tap in output_taps(taps)]
        given = [captured[layer_of(tap)][1:] for tap in reference_taps(taps)]
        for layer in self.layers:
            layer.features = []
        self.capture = False
        references = tuple(torch.cat(each, dim=-1) for each in zip(*given, strict=True))
        return Features(torch.cat(output, dim=-1), references)


class RegulatedAttention:
    """Capture and regulation of one attention layer; a family's processor derives from it.

    Args:
        module: The layer's name, as taps name it.
        layer: Its place among the layers.
        state: Shared by all layers of the transformer, which it knows.

    Attributes:
        captures: Whether it captures now.
        captures_references: Whether it then captures at given pictures too.
        noise_order: Which patch's noise each patch gets, (patches,).
        features: What it captured, (rows, patches, dim), float32: of the output, then of each
            given picture.
        ran: Whether it ran in the present forward pass.

    Compiled code is valid for the values that it reads here, and layers share it where they agree
    in them: when it runs, it reads neither its name nor anything that it writes.
    """

    def __init__(self, module: str, layer: int, state: AttentionState) -> None:
        self.module = module
        self.layer = layer
        self.state = state
        self.captures = False
        self.captures_references = False
        self.features: list[Tensor] = []
        self.noise_order: Tensor | None = None
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
            query[rows], key[rows], value[rows], self.state.groups, attend
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
        layout = self.state.layout
        if self.captures and layout is not None:
            given = layout.references if self.captures_references else ()
            self.features = [out[:, span].detach().float() for span in (layout.output, *given)]

    def _restrict(self, out: Tensor) -> Tensor:
        action, layout = self.state.action, self.state.layout
        if action is None or action.restrict is None or action.noise is None or layout is None:
            return out
        noise = action.noise[:, self.noise_order, : out.shape[-1]]
        out = out.clone()
        out[:, layout.output] = restrict_output(
            out[:, layout.output], action.mask, noise, action.restrict
        )
        return out


def _mask_rows(mask: Tensor | None, queries: slice) -> Tensor | None:
    if mask is None or mask.ndim < 3 or mask.shape[-2] == 1:
        return mask
    return mask[..., queries, :]
