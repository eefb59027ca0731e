import numpy as np
import torch
from diffusers import AutoencoderTiny

from uvr.testbed import SIDE_STEP, autoencoder
from uvr.testbed.model import VAE

SMALL = {**VAE, "decoder_block_out_channels": (8, 8, 8), "num_decoder_blocks": (2, 1, 0)}


def test_sides_are_multiples_of_what_the_pipeline_packs():
    scale = 2 ** (len(VAE["decoder_block_out_channels"]) - 1)  # its `vae_scale_factor`
    assert 2 * scale == SIDE_STEP


def test_a_grown_decoder_begins_as_the_same_function():
    torch.manual_seed(0)
    small, large = AutoencoderTiny(**SMALL), AutoencoderTiny(**VAE)
    autoencoder.grow_decoder(small.decoder, large.decoder)
    z = torch.randn(2, 16, 16, 16)
    with torch.no_grad():
        assert torch.allclose(large.decode(z).sample, small.decode(z).sample, atol=1e-5)


def test_every_part_of_a_grown_decoder_can_learn():
    torch.manual_seed(0)
    small, large = AutoencoderTiny(**SMALL), AutoencoderTiny(**VAE)
    autoencoder.grow_decoder(small.decoder, large.decoder)
    optimizer = torch.optim.SGD(large.decoder.parameters(), lr=0.1)
    before = [p.detach().clone() for p in large.decoder.parameters()]
    for _ in range(2):  # what reads a zero learns once that is no zero
        optimizer.zero_grad()
        large.decode(torch.randn(4, 16, 16, 16)).sample.square().mean().backward()
        optimizer.step()
    after = list(large.decoder.parameters())
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_training_with_a_given_encoder_changes_the_decoder_alone(tmp_path):
    torch.manual_seed(0)
    given = AutoencoderTiny(**SMALL).state_dict()
    saved: list[int] = []
    vae = autoencoder.from_encoder(given)
    begun = {k: v.clone() for k, v in vae.state_dict().items()}
    trained = autoencoder.train(vae, 2, 2, 0, lambda vae: saved.append(1)).state_dict()
    assert saved
    for name, tensor in trained.items():
        if name.startswith("encoder."):
            assert torch.equal(tensor, given[name]), name
    assert any(not torch.equal(trained[k], begun[k]) for k in trained if k.startswith("decoder."))


def test_pictures_weigh_things_more_than_the_background():
    x, weight = autoencoder.pictures(np.random.default_rng(0), 4)
    assert x.shape == (4, 3, 64, 64)
    assert weight.shape == (4, 1, 64, 64)
    assert -1 <= x.min() <= x.max() <= 1
    assert set(weight.unique().tolist()) == {1.0, 1 + autoencoder.THING_WEIGHT}


def test_roughened_latents_differ_by_at_least_the_small_noise():
    torch.manual_seed(0)
    z = torch.zeros(64, 16, 16, 16)
    spread = autoencoder.roughened(z).std((1, 2, 3))
    assert spread.min() > 0.9 * autoencoder.LATENT_NOISE
    assert 2 * autoencoder.LATENT_NOISE < spread.max() < 1.1 * autoencoder.ROUGH_NOISE


def test_sharp_loss_is_zero_for_the_picture_itself_and_counts_edges():
    x = torch.zeros(1, 3, 8, 8)
    x[..., 4:] = 1
    weight = torch.ones(1, 1, 8, 8)
    assert autoencoder.sharp_loss(x, x, weight) == 0
    flat = torch.full_like(x, 0.5)
    assert autoencoder.sharp_loss(flat, x, weight) > (flat - x).abs().mean()
