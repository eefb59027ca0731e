"""Train the miniature FLUX: `python -m uvr.testbed.train --preset cpu --out FOLDER`.

1. Render pools of scenes and edit triples (`variety`) and encode them once.
2. Flow matching on both tasks in turn: velocity of `noise - latents` at random sigmas.
   Muon on the block matrices, AdamW on the rest, an exponential average of the weights.
3. A checkpoint every so often (a later run with the same --out resumes from it), with a sample
   sheet; `--export` writes the averaged weights as the package's own.
"""

import argparse
import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from safetensors.torch import load_file, save_file

from uvr.testbed import MAX_SEQUENCE_LENGTH, STEPS, scenes
from uvr.testbed.model import VAE, build_pipeline, build_tokenizer
from uvr.testbed.pools import make_pools, vocabulary
from uvr.testbed.trainer import PRESETS, Trainer


def sample_sheet(trainer: Trainer, vae: AutoencoderTiny, tokenizer: Any, path: Path) -> None:
    """Fixed prompts and edits drawn by the averaged weights, as one picture."""
    rng = np.random.default_rng(2)
    average = trainer.average.eval()
    encoders = (average.text_encoder, average.text_encoder_2)
    drawn = [scenes.random_scene(rng, count=2) for _ in range(16)]
    call = {"height": 64, "width": 64, "num_inference_steps": STEPS,
            "max_sequence_length": MAX_SEQUENCE_LENGTH,
            "generator": torch.Generator().manual_seed(0)}  # fmt: skip
    t2i = build_pipeline("t2i", tokenizer, encoders, vae, average.transformer)
    rows = [[scenes.render(scene)[0] for scene in drawn]]
    rows.append(t2i([scenes.caption(scene) for scene in drawn], **call).images)
    edits = [scenes.random_edit(rng) for _ in range(16)]
    edit = build_pipeline("edit", tokenizer, encoders, vae, average.transformer)
    sources = [scenes.render(e.source)[0] for e in edits]
    rows += [sources, [scenes.render(e.target)[0] for e in edits]]
    rows.append(
        edit(image=sources, prompt=[e.instruction for e in edits],
             max_area=64 * 64, _auto_resize=False, **call).images
    )  # fmt: skip
    sheet = Image.new("RGB", (64 * 16, 64 * len(rows)))
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            sheet.paste(picture, (64 * x, 64 * y))
    sheet.save(path)


def export(trainer: Trainer, vae: AutoencoderTiny, tokenizer: Any, folder: Path) -> None:
    """Write the averaged weights (float16), the tokenizer and the configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    average = trainer.average
    parts = {"transformer": average.transformer, "text_encoder": average.text_encoder,
             "text_encoder_2": average.text_encoder_2, "vae": vae}  # fmt: skip
    digest = hashlib.sha256()
    for name, module in parts.items():
        tensors = {k: v.half().cpu().contiguous() for k, v in module.state_dict().items()}
        # T5 ties its embedding under two names; safetensors wants each storage once.
        tensors.pop("encoder.embed_tokens.weight", None)
        for key in sorted(tensors):
            digest.update(key.encode() + tensors[key].numpy().tobytes())
        save_file(tensors, folder / f"{name}.safetensors")
    (folder / "tokenizer.json").write_text(tokenizer.backend_tokenizer.to_str(pretty=False))
    card = {"revision": digest.hexdigest()[:16], "steps": trainer.step, "seed": trainer.seed}
    if trainer.init:  # steps count from these weights
        card["init"] = trainer.init
    (folder / "config.json").write_text(json.dumps(card, indent=1) + "\n")


def train(options: argparse.Namespace) -> None:
    """Train as the options say, resuming from the checkpoint in `options.out` if there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    preset = PRESETS[options.preset]
    if options.steps:
        preset = replace(preset, steps=options.steps)
    options.out.mkdir(parents=True, exist_ok=True)
    vae = AutoencoderTiny(**VAE)
    vae.load_state_dict({k: v.float() for k, v in load_file(options.vae).items()})
    vae.eval().requires_grad_(requires_grad=False).to(device)
    tokenizer = build_tokenizer(vocabulary())
    trainer = Trainer(preset, len(tokenizer), options.seed, device)
    checkpoint = options.out / "checkpoint.pt"
    if checkpoint.exists():
        trainer.load(checkpoint)
        if options.mix:
            trainer.mix(options.init, tokenizer, options.mix)
    elif options.init:
        trainer.start_from(options.init, tokenizer)
    print(  # noqa: T201 (progress)
        f"{sum(p.numel() for p in trainer.model.parameters()) / 1e6:.2f} M parameters, "
        f"step {trainer.step} of {preset.steps} on {device}",
        flush=True,
    )
    pools = make_pools(preset.pool, vae, tokenizer, device) if trainer.step < preset.steps else []
    losses: list[list[float]] = [[], []]
    start = time.time()
    while trainer.step < preset.steps:
        which, loss = trainer.run_step(pools)
        losses[which].append(loss)
        if trainer.step % 50 == 0:
            t2i, edit = (np.mean(values or [np.nan]) for values in losses)
            print(  # noqa: T201 (progress)
                f"step {trainer.step} t2i {t2i:.4f} edit {edit:.4f} {time.time() - start:.0f} s",
                flush=True,
            )
            losses = [[], []]
        if trainer.step % options.every == 0 or trainer.step == preset.steps:
            trainer.save(checkpoint)
            sample_sheet(trainer, vae, tokenizer, options.out / "samples.png")
    if options.export:
        export(trainer, vae, tokenizer, options.export)


def main() -> None:
    """Parse the command line and train."""
    package = Path(__file__).parent / "weights"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--out", type=Path, default=Path("checkpoints"))
    parser.add_argument("--vae", type=Path, default=package / "vae.safetensors")
    parser.add_argument("--init", type=Path, help="start from the exported weights in this folder")
    parser.add_argument(
        "--steps", type=int, help="instead of the preset's; a resumed run may change it"
    )
    parser.add_argument(
        "--mix", type=float, help="on resuming, the share of --init's weights to take"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=300, help="steps between checkpoints")
    parser.add_argument("--export", type=Path, help="write the weights here when done")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
