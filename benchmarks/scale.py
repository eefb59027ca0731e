"""How a regulated call's cost grows with concepts, tokens and batch: `python benchmarks/scale.py`.

Random FLUX transformers of few layers, so that a call ends soon on a CPU: what the engine adds has
fewer layers to hide behind than in a real model. Stock and regulated calls take turns in one run;
a figure is the ratio of their medians, in wall time and in the process's CPU time, which other
work on the machine does not change. Writes each row as it is measured.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253 (the pipelines import it anyway)
from diffusers import (  # noqa: TID253
    AutoencoderTiny,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
)

from concepts.anchors import AnchorSpace
from concepts.bundle import Bundle, BundleVariant, Member, lock_digest, locked_members
from concepts.scorer import Scorer
from uvr import ModelProfile, Regulator
from uvr.method.presets import RestrictPreset

STEPS = 4
TAP = "single_transformer_blocks.0"
NEVER = 1e9


@dataclass(frozen=True)
class Size:
    """One size to measure: a transformer's width, and what a call is given.

    Attributes:
        width: Of the transformer, a multiple of 128.
        tokens: Of the picture, a square number; the text has an eighth of them.
        batch: Pictures in a call.
        concepts: In the bundle.
        prototypes: Weight vectors of each concept.
        compiled: Whether the blocks are compiled, in both arms.
    """

    width: int = 768
    tokens: int = 1024
    batch: int = 1
    concepts: int = 5
    prototypes: int = 1
    compiled: bool = False


USUAL = Size()
SERIES = {
    "concepts": [replace(USUAL, concepts=n) for n in (1, 10, 100, 1000, 10_000)],
    "prototypes": [replace(USUAL, concepts=1000, prototypes=16)],
    "tokens": [replace(USUAL, tokens=n) for n in (256, 1024, 2304, 4096)],
    "batch": [replace(USUAL, tokens=256, batch=n) for n in (1, 2, 4)],
    "compiled": [replace(USUAL, compiled=True)],
}
TINY = Size(width=128, tokens=64)
QUICK = {
    "concepts": [replace(TINY, concepts=n) for n in (1, 50)],
    "tokens": [replace(TINY, tokens=n) for n in (16, 64)],
    "batch": [replace(TINY, batch=n) for n in (1, 2)],
}


def make_pipe(width: int, *, compiled: bool) -> Any:
    """A FLUX pipeline with random weights, which is called with embeddings."""
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=2, attention_head_dim=128,
        num_attention_heads=width // 128, joint_attention_dim=64, pooled_projection_dim=32,
        guidance_embeds=False,
    )  # fmt: skip
    small = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    vae = AutoencoderTiny(
        latent_channels=4, num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1), **small
    )
    pipe = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(), vae=vae, transformer=transformer.eval(),
        text_encoder=None, text_encoder_2=None, tokenizer=None, tokenizer_2=None,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    if compiled:
        torch._dynamo.config.recompile_limit = 64  # each layer and each arm has a graph of its own
        transformer.compile_repeated_blocks()
    return pipe


def profile_of(size: Size) -> ModelProfile:
    """A profile that looks at the second of four steps and regulates three."""
    side = 4 * round(size.tokens**0.5)
    call = {"height": side, "width": side, "num_inference_steps": STEPS}
    return ModelProfile(
        "scale-t2i", "scale", "t2i", (TAP,), 0.75, 0.5, restrict=RestrictPreset(), call=call
    )


def make_bundle(size: Size, threshold: float = NEVER) -> Bundle:
    """Concepts with random weights; the first matches from a threshold on, the rest never."""
    random = np.random.default_rng(0)
    weights = random.standard_normal((size.concepts, size.prototypes, size.width), np.float32)

    def member(number: int) -> Member:
        line = threshold if number == 0 else NEVER
        scorer = Scorer("whitened", weights[number], np.zeros(size.prototypes), line, line, {})
        return Member(f"concept-{number}", "Concept", "object", 1, "0" * 64, scorer)

    space = AnchorSpace("scale", "", "t2i", (TAP,), size.width, 0.75)
    members = sorted((member(n) for n in range(size.concepts)), key=lambda item: item.slug)
    variants = (BundleVariant(space, tuple(members)),)
    return Bundle("scale", 1, lock_digest(locked_members(variants)), variants)


def seconds(pipe: Any, size: Size, seed: int) -> tuple[float, float]:
    """One call's wall time and CPU time."""
    generators = [torch.Generator().manual_seed(seed + n) for n in range(size.batch)]
    random = torch.Generator().manual_seed(seed)
    text = torch.randn(size.batch, size.tokens // 8, 64, generator=random)
    pooled = torch.randn(size.batch, 32, generator=random)
    start = time.perf_counter(), time.process_time()
    pipe(
        prompt_embeds=text, pooled_prompt_embeds=pooled, generator=generators,
        output_type="latent", **profile_of(size).call,
    )  # fmt: skip
    return time.perf_counter() - start[0], time.process_time() - start[1]


def firing_threshold(pipe: Any, size: Size) -> float:
    """A score that one patch in twenty of a picture reaches."""
    with Regulator(make_bundle(size), profile=profile_of(size)).attach(pipe) as attached:
        seconds(pipe, size, seed=1)
    first = next(item for item in attached.last.images[0] if item.slug == "concept-0")
    return float(np.quantile(first.scores, 0.95))


def measured(pipe: Any, size: Size, pairs: int, *, fires: bool) -> dict[str, Any]:
    """Medians of stock and regulated calls that took turns, and their ratio."""
    alone = replace(size, concepts=1)
    bundle = make_bundle(size, firing_threshold(pipe, alone) if fires else NEVER)
    regulator = Regulator(bundle, profile=profile_of(size))
    taken: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for number in range(pairs + 1):
        for regulated in (number % 2 == 0, number % 2 == 1):  # each is first as often
            if not regulated:
                time_taken = seconds(pipe, size, seed=1)
            else:
                with regulator.attach(pipe) as attached:
                    time_taken = seconds(pipe, size, seed=1)
                if attached.last.fired != fires:
                    raise RuntimeError(f"fired: {attached.last.fired}, expected: {fires}")
            if number:  # the first pair warms up
                taken[regulated].append(time_taken)
    wall, cpu = ([[times[kind] for times in arm] for arm in taken.values()] for kind in (0, 1))
    ratios = [after / before for before, after in zip(*cpu, strict=True)]
    stock, regulated_s = map(statistics.median, wall)
    stock_cpu, regulated_cpu = map(statistics.median, cpu)
    return {
        **asdict(size), "text_tokens": size.tokens // 8, "steps": STEPS, "fires": fires,
        "n": pairs, "stock_s": stock, "regulated_s": regulated_s, "ratio": regulated_s / stock,
        "stock_cpu_s": stock_cpu, "regulated_cpu_s": regulated_cpu,
        "cpu_ratio": regulated_cpu / stock_cpu, "cpu_pairs": [min(ratios), max(ratios)],
    }  # fmt: skip


def rows(series: dict[str, list[Size]], pairs: int) -> Iterator[dict[str, Any]]:
    """Measure every size, when nothing fires; over tokens and batch when something does, too."""
    for name, sizes in series.items():
        for size in sizes:
            pipe = make_pipe(size.width, compiled=size.compiled)
            for fires in (False,) if name in ("concepts", "prototypes") else (False, True):
                yield {"series": name, **measured(pipe, size, pairs, fires=fires)}


def main(arguments: list[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--series", nargs="*", choices=SERIES, help="some of them")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it works")
    parser.add_argument("--json", type=Path, help="where the rows go")
    options = parser.parse_args(arguments)
    series = QUICK if options.quick else SERIES
    if options.series:
        series = {name: series[name] for name in options.series}
    found = []
    for row in rows(series, options.pairs):
        print(json.dumps(row), flush=True)  # noqa: T201
        found.append(row)
        if options.json:
            options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
