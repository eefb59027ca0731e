"""From masks to changed attention: scaled values and restricted outputs. Pure functions.

UVR (arXiv 2606.06875), regulation, in every attention layer of the start-up stage:

- *Modulate attention* (editing): text and output queries attend less to the reference patches under
  the mask, output queries a little more to text and output. The reference release multiplies
  columns of the attention matrix after the softmax and does not normalise again. Scaling the value
  rows of those keys is the same, ``sum_k (p_k c_k) v_k = sum_k p_k (c_k v_k)``: a fused attention
  call for each group of queries that sees the same scales, and no attention matrix is ever built.
- *Restrict information flow* (text-to-image): the attention output of masked patches becomes noise
  in the reference release. Noise in the shape of a thing is still drawn as one, so here it is by
  default the mean output of the other patches: the place is filled in like its surroundings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uvr.method.masks import dilate, resize_mask
from uvr.method.presets import ModulatePreset, RestrictPreset
from uvr.method.tokens import TokenLayout

Attend = Callable[[Tensor, Tensor, Tensor, slice], Tensor]


@dataclass(frozen=True)
class QueryGroup:
    """A run of queries and the scales they put on every key's value row.

    Attributes:
        queries: Positions in the joint sequence.
        scales: (batch, keys), float32; None leaves the values as they are.
    """

    queries: slice
    scales: Tensor | None


def query_groups(
    layout: TokenLayout, mask: Tensor, preset: ModulatePreset, sources: Sequence[Tensor] = ()
) -> list[QueryGroup]:
    """Say what text, output and reference queries see once a mask is known.

    Text and output queries attend less to the reference patches under the mask (its core, and a
    ring around it); output queries attend a little more to text and output; reference queries see
    everything unchanged (paper, I2I).

    Args:
        layout: Spans of the joint sequence.
        mask: Output patches to regulate, (batch, output patches), bool.
        preset: Factors for core, ring and boost.
        sources: Patches of each reference to turn down beside those under the mask, (batch, its
            patches), bool each; none by default.

    Returns:
        Groups that cover the whole sequence in order.
    """
    text_scales = torch.ones(mask.shape[0], layout.total, device=mask.device)
    for number, (span, grid) in enumerate(
        zip(layout.references, layout.reference_grids, strict=True)
    ):
        core = resize_mask(mask, layout.grid, grid)
        if sources:
            core = core | sources[number]
        ring = dilate(core, grid, preset.ring_width) & ~core
        text_scales[:, span] = 1 + (preset.ring - 1) * ring + (preset.core - 1) * core
    output_scales = text_scales.clone()
    for span in (layout.text, layout.output):
        output_scales[:, span] = preset.boost
    groups = [QueryGroup(layout.text, text_scales), QueryGroup(layout.output, output_scales)]
    groups += [QueryGroup(span, None) for span in _joined(layout.references)]
    return sorted(groups, key=lambda group: int(group.queries.start))


def _joined(spans: Sequence[slice]) -> list[slice]:
    """Join spans that lie next to each other, so that they take one attention call."""
    joined: list[slice] = []
    for span in sorted(spans, key=lambda span: int(span.start)):
        if joined and joined[-1].stop == span.start:
            joined[-1] = slice(joined[-1].start, span.stop)
        else:
            joined.append(span)
    return joined


def attention_with_scaled_values(
    query: Tensor, key: Tensor, value: Tensor, groups: Sequence[QueryGroup], attend: Attend
) -> Tensor:
    """Attend once for each group of queries, with that group's value scales.

    Args:
        query: (batch, tokens, heads, head_dim).
        key: Like query.
        value: Like query.
        groups: Disjoint runs of queries that cover the sequence in order.
        attend: Plain attention ``(query, key, value, queries) -> output``; ``queries`` is the span,
            for attention masks with a row for each query.

    Returns:
        (batch, tokens, heads, head_dim).
    """
    outputs = []
    for group in groups:
        scaled = value
        if group.scales is not None:
            scaled = value * group.scales[:, :, None, None].to(value.dtype)
        outputs.append(attend(query[:, group.queries], key, scaled, group.queries))
    return torch.cat(outputs, dim=1)


def restrict_output(out: Tensor, mask: Tensor, noise: Tensor, preset: RestrictPreset) -> Tensor:
    """Replace the attention output of masked patches: ``(1 - s) out + s fill``.

    Noise is scaled to the activations, the standard deviation of each sample's own output, so that
    one strength serves every layer (the reference adds unit noise). A sample without unmasked
    patches has no surroundings and gets noise.

    Args:
        out: Attention output at the output positions, (batch, patches, dim).
        mask: Patches to restrict, (batch, patches), bool.
        noise: Unit noise, broadcastable to ``out``.
        preset: Strength and fill.
    """
    plain = out.float()
    fill = plain.std(dim=(1, 2), keepdim=True) * noise.to(out.device)
    if preset.fill == "surroundings":
        others = (~mask)[:, :, None].float()
        count = others.sum(dim=1, keepdim=True)
        mean = (plain * others).sum(dim=1, keepdim=True) / count.clamp(min=1)
        fill = torch.where(count > 0, mean, fill)
    restricted = (1 - preset.strength) * plain + preset.strength * fill
    return torch.where(mask[:, :, None], restricted.to(out.dtype), out)


def seeded_noise(first_latents: Tensor, dim: int) -> Tensor:
    """Unit noise for each sample, seeded by the latents its generation starts from.

    Those latents were drawn from the caller's generator, so the noise follows from it without
    advancing it, and does not depend on the batch, the device or what else is generated.

    Args:
        first_latents: (batch, patches, channels).
        dim: Width of the attention output.

    Returns:
        float32 on the CPU, (batch, patches, dim).
    """
    samples = first_latents.detach().to("cpu", torch.float32).contiguous()
    noise = []
    for sample in samples:
        seed = int.from_bytes(hashlib.sha256(sample.numpy().tobytes()).digest()[:7], "big")
        generator = torch.Generator().manual_seed(seed)
        noise.append(torch.randn(samples.shape[1], dim, generator=generator))
    return torch.stack(noise)
