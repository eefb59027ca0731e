"""Train the testbed's autoencoder: icons through 16 x 16 latents of unit variance.

With `--encoder FILE` its encoder stays as it is in that file, so that a trained transformer's
latents stay true, and a wider, deeper decoder starts from that file's own and is trained alone.
"""

import argparse
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from uvr.testbed import scenes, variety
from uvr.testbed.model import VAE
from uvr.testbed.muon import Muon

# The decoder must forgive a sampler's errors, small ones in every picture and larger ones in some.
LATENT_NOISE, ROUGH_NOISE, ROUGH_SHARE = 0.05, 0.15, 0.4
PLAIN_SHARE = 0.6  # scenes that the transformer draws by default: there the decoder is sharpest
STYLE_SHARES = (0.4, 0.35, 0.25)  # of the others
BAND = 10  # rows of latents in most steps: above and below there is little but background
BAND_SHARE = 0.7
MUON_RATE, ADAM_RATE = 0.006, 1e-3
THING_WEIGHT = 4.0  # an error where a thing is drawn counts so much more than on the background


def pictures(rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Random scenes in every style: (count, 3, 64, 64) in [-1, 1], and weights of their pixels."""
    stack, weights = [], []
    for _ in range(count):
        if rng.random() < PLAIN_SHARE:
            count_of_things = int(rng.choice([1, 2, 3], p=[0.3, 0.6, 0.1]))
            things = variety.some_things(rng, count_of_things)
            scene = scenes.random_scene(rng, things=things)
        else:
            scene = variety.free_scene(rng, style=str(rng.choice(scenes.STYLES, p=STYLE_SHARES)))
        picture, masks = scenes.render(scene)
        stack.append(np.asarray(picture))
        weights.append(1 + THING_WEIGHT * masks.any(axis=0))
    x = torch.from_numpy(np.stack(stack)).permute(0, 3, 1, 2).float() / 127.5 - 1
    weight = torch.from_numpy(np.stack(weights)).float()[:, None]
    return x, F.max_pool2d(weight, 3, stride=1, padding=1)


def roughened(latents: Tensor) -> Tensor:
    """Latents with a sampler's errors."""
    rough = (torch.rand(len(latents)) < ROUGH_SHARE) * torch.rand(len(latents)) * ROUGH_NOISE
    return latents + rough.clamp(min=LATENT_NOISE)[:, None, None, None] * torch.randn_like(latents)


def sharp_loss(decoded: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Absolute error of pixels and of the differences between neighbours, so that edges count."""
    loss = (weight * (decoded - x).abs()).mean()
    for dim in (2, 3):
        edges = (decoded.diff(dim=dim) - x.diff(dim=dim)).abs()
        loss = loss + (weight.narrow(dim, 1, weight.shape[dim] - 1) * edges).mean()
    return loss


def stages(decoder: nn.Module) -> list[list[nn.Module]]:
    """The decoder's layers, split behind each upsampling."""
    parts: list[list[nn.Module]] = [[]]
    for layer in decoder.layers:  # type: ignore[union-attr]
        if isinstance(layer, nn.Upsample):
            parts.append([])
        elif any(True for _ in layer.parameters()):
            parts[-1].append(layer)
    return parts


def convolutions(modules: Iterable[nn.Module]) -> list[nn.Conv2d]:
    """All convolutions of some layers, in order."""
    return [m for layer in modules for m in layer.modules() if isinstance(m, nn.Conv2d)]


@torch.no_grad()
def grow_decoder(old: nn.Module, new: nn.Module) -> None:
    """Give a larger decoder the weights of a smaller one, so that it begins as the same function.

    New channels read but are not read; new blocks, the last of each resolution, add nothing.
    """
    for before, after in zip(stages(old), stages(new), strict=True):
        blocks = [[m for m in part if not isinstance(m, nn.Conv2d)] for part in (before, after)]
        kept, added = blocks[1][: len(blocks[0])], blocks[1][len(blocks[0]) :]
        tails = [[m for m in part if isinstance(m, nn.Conv2d)] for part in (before, after)]
        theirs = convolutions([*blocks[0], *tails[0]])
        for small, large in zip(theirs, convolutions([*kept, *tails[1]]), strict=True):
            outputs, inputs = small.weight.shape[:2]
            large.weight[:outputs] = 0
            large.weight[:outputs, :inputs] = small.weight
            if large.bias is not None and small.bias is not None:
                large.bias[:outputs] = small.bias
        for block in added:
            last = convolutions([block])[-1]
            nn.init.zeros_(last.weight)
            if last.bias is not None:
                nn.init.zeros_(last.bias)


def from_encoder(tensors: Mapping[str, Tensor]) -> AutoencoderTiny:
    """An autoencoder with a trained one's encoder, frozen, and its decoder, grown."""
    vae = AutoencoderTiny(**VAE)
    width = tensors["decoder.layers.0.weight"].shape[0]
    blocks = (
        VAE["num_decoder_blocks"] if width == VAE["decoder_block_out_channels"][0] else (2, 1, 0)
    )
    old = AutoencoderTiny(
        **{**VAE, "decoder_block_out_channels": (width,) * 3, "num_decoder_blocks": blocks}
    )
    old.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    vae.encoder.load_state_dict(old.encoder.state_dict())
    vae.encoder.requires_grad_(requires_grad=False)
    grow_decoder(old.decoder, vae.decoder)
    return vae


@torch.no_grad()
def sharpness(vae: AutoencoderTiny, count: int = 48) -> float:
    """Peak signal-to-noise ratio of fixed plain scenes where things are drawn, in dB."""
    x, weight = pictures(np.random.default_rng(99), count)
    z = vae.encode(x).latents
    error = vae.decode(z + LATENT_NOISE * torch.randn_like(z)).sample.clamp(-1, 1) - x
    drawn = (weight > 1).expand_as(error)
    return -10 * torch.log10(error[drawn].square().mean() / 4).item()


def train(
    vae: AutoencoderTiny,
    steps: int,
    batch: int,
    seed: int,
    save: Callable[[AutoencoderTiny], None],
) -> AutoencoderTiny:
    """Train for `steps` and return the model; `save` it now and then."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    vae = vae.to(memory_format=torch.channels_last)
    frozen = not next(vae.encoder.parameters()).requires_grad
    trained = [p for p in vae.parameters() if p.requires_grad]
    inner = [p for p in trained if p.ndim == 4 and min(p.shape[:2]) > 16]
    ends = [p for p in trained if not any(p is other for other in inner)]
    optimizers = [
        Muon(inner, lr=MUON_RATE),
        torch.optim.AdamW(ends, lr=ADAM_RATE, betas=(0.9, 0.98), weight_decay=1e-4),
    ]
    start = time.time()
    for step in range(steps):
        factor = min(1.0, (step + 1) / 30, 1.3 * (1 - step / steps))
        for optimizer, rate in zip(optimizers, (MUON_RATE, ADAM_RATE), strict=True):
            optimizer.param_groups[0]["lr"] = rate * factor
            optimizer.zero_grad()
        x, weight = pictures(rng, batch)
        with torch.set_grad_enabled(not frozen):
            z = vae.encode(x).latents
        if rng.random() < BAND_SHARE:
            top = int(rng.integers(2, 5))
            z = z[:, :, top : top + BAND]
            x, weight = (t[:, :, 4 * top : 4 * (top + BAND)] for t in (x, weight))
        loss = sharp_loss(vae.decode(roughened(z)).sample, x, weight)
        if not frozen:
            mean, std = z.mean((0, 2, 3)), z.std((0, 2, 3))
            loss = loss + 0.1 * (mean.square().mean() + (std - 1).square().mean())
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        for optimizer in optimizers:
            optimizer.step()
        if step % 50 == 0 or step == steps - 1:
            print(  # noqa: T201 (progress)
                f"step {step} loss {loss.item():.4f} things {sharpness(vae):.2f} dB "
                f"{time.time() - start:.0f} s",
                flush=True,
            )
            save(vae)
    return vae.eval()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--encoder", type=Path, help="keep this file's encoder, grow its decoder")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    def write(vae: AutoencoderTiny) -> None:
        """Save the weights as they are."""
        save_file({k: v.contiguous() for k, v in vae.state_dict().items()}, options.out)

    begun = AutoencoderTiny(**VAE)
    if options.encoder:
        begun = from_encoder(load_file(options.encoder))
    write(train(begun, options.steps, options.batch, options.seed, write))
