"""Train the testbed's autoencoder: flat icons through 16 x 16 latents of unit variance."""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from safetensors.torch import save_file

from uvr.testbed.model import VAE
from uvr.testbed.scenes import STYLES, random_scene, render

LATENT_NOISE = 0.05  # the decoder must forgive the small errors of a sampler
STYLE_SHARES = (0.6, 0.2, 0.2)  # most of it in the style that the transformer learns


def pictures(rng: np.random.Generator, count: int) -> torch.Tensor:
    """Random scenes in every style, (count, 3, 64, 64) in [-1, 1]."""
    scenes = (
        random_scene(rng, style=str(rng.choice(STYLES, p=STYLE_SHARES)), jitter=4)
        for _ in range(count)
    )
    stack = np.stack([np.asarray(render(scene)[0]) for scene in scenes])
    return torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 127.5 - 1


def train(steps: int, batch: int, seed: int) -> AutoencoderTiny:
    """Train for `steps` and return the model."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    vae = AutoencoderTiny(**VAE).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    start = time.time()
    for step in range(steps):
        x = pictures(rng, batch)
        z = vae.encode(x).latents
        decoded = vae.decode(z + LATENT_NOISE * torch.randn_like(z)).sample
        mean, std = z.mean((0, 2, 3)), z.std((0, 2, 3))
        moments = mean.square().mean() + (std - 1).square().mean()
        error = decoded - x
        loss = error.abs().mean() + 2 * F.mse_loss(decoded, x) + 0.1 * moments
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            psnr = -10 * torch.log10(error.square().mean() / 4).item()
            print(  # noqa: T201 (progress)
                f"step {step} loss {loss.item():.4f} psnr {psnr:.1f} dB "
                f"std {std.mean().item():.2f} {time.time() - start:.0f} s",
                flush=True,
            )
    return vae.eval()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    trained = train(options.steps, options.batch, options.seed)
    save_file({k: v.contiguous() for k, v in trained.state_dict().items()}, options.out)
