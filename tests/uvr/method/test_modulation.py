from __future__ import annotations

import torch
from torch.nn import functional as F

from uvr.method.modulation import (
    QueryGroup,
    attention_with_scaled_values,
    query_groups,
    restrict_output,
    seeded_noise,
)
from uvr.method.presets import ModulatePreset, RestrictPreset
from uvr.method.tokens import TokenLayout

LAYOUT = TokenLayout(slice(0, 3), slice(3, 12), (slice(12, 28),), (3, 3), ((4, 4),))


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, queries: slice) -> torch.Tensor:
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)


def test_scaled_values_equal_scaled_columns_after_the_softmax():
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 28, 4, 8, generator=generator) for _ in range(3))
    mask = torch.rand(2, 9, generator=generator) > 0.5
    groups = query_groups(LAYOUT, mask, ModulatePreset())

    weights = torch.softmax(torch.einsum("bqhd,bkhd->bhqk", query, key) / 8**0.5, dim=-1)
    for group in groups:
        if group.scales is not None:
            weights[:, :, group.queries] *= group.scales[:, None, None, :]
    expected = torch.einsum("bhqk,bkhd->bqhd", weights, value)

    actual = attention_with_scaled_values(query, key, value, groups, attend)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_query_groups_cover_the_sequence_and_scale_core_ring_and_boost():
    layout = TokenLayout(slice(0, 2), slice(2, 11), (slice(11, 20),), (3, 3), ((3, 3),))
    mask = torch.zeros(1, 9, dtype=torch.bool)
    mask[0, 0] = True
    text, output, reference = query_groups(layout, mask, ModulatePreset())
    ring = torch.tensor([0.2, 0.4, 1, 0.4, 0.4, 1, 1, 1, 1])
    assert text.scales is not None
    assert output.scales is not None
    torch.testing.assert_close(text.scales, torch.cat([torch.ones(11), ring])[None])
    torch.testing.assert_close(output.scales, torch.cat([torch.full((11,), 1.05), ring])[None])
    assert reference == QueryGroup(slice(11, 20), None)
    assert (text.queries, output.queries) == (slice(0, 2), slice(2, 11))


def test_restricted_patches_become_noise_at_the_scale_of_the_activations():
    generator = torch.Generator().manual_seed(0)
    out = 5 * torch.randn(2, 64, 32, generator=generator)
    noise = torch.randn(2, 64, 32, generator=generator)
    mask = torch.zeros(2, 64, dtype=torch.bool)
    mask[0, :32] = True
    changed = restrict_output(out, mask, noise, RestrictPreset(fill="noise"))
    assert torch.equal(changed[~mask], out[~mask])
    assert abs(float(changed[mask].std() / out.std()) - 1) < 0.05
    assert float((changed[mask] - 5 * noise[mask]).abs().max()) < 0.6
    assert torch.equal(restrict_output(out, mask, noise, RestrictPreset(0.0, "noise")), out)


def test_restricted_patches_become_the_mean_of_the_others():
    generator = torch.Generator().manual_seed(0)
    out = 5 * torch.randn(2, 64, 32, generator=generator)
    mask = torch.zeros(2, 64, dtype=torch.bool)
    mask[0, :32] = True
    changed = restrict_output(out, mask, torch.zeros(2, 64, 32), RestrictPreset(1.0))
    assert torch.equal(changed[~mask], out[~mask])
    torch.testing.assert_close(changed[0, :32], out[0, 32:].mean(dim=0).expand(32, 32))


def test_a_picture_masked_all_over_has_no_surroundings_and_gets_noise():
    generator = torch.Generator().manual_seed(0)
    out = 5 * torch.randn(1, 64, 32, generator=generator)
    noise = torch.randn(1, 64, 32, generator=generator)
    mask = torch.ones(1, 64, dtype=torch.bool)
    filled, noisy = (
        restrict_output(out, mask, noise, RestrictPreset(fill=fill))
        for fill in ("surroundings", "noise")
    )
    assert torch.equal(filled, noisy)


def test_noise_follows_the_sample_and_not_the_batch():
    latents = torch.randn(3, 9, 4, generator=torch.Generator().manual_seed(1))
    before = torch.get_rng_state()
    together, alone = seeded_noise(latents, 16), seeded_noise(latents[1:2], 16)
    assert torch.equal(together[1:2], alone)
    assert not torch.equal(together[0], together[2])
    assert together.shape == (3, 9, 16)
    assert torch.equal(torch.get_rng_state(), before)
