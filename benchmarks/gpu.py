"""What a regulator costs on FLUX.1-dev and FLUX.2-klein: `python benchmarks/gpu.py --json FILE`.

Both have their full structure with random weights (`random_models`), in bfloat16 at 1024 x 1024, so
that it needs one GPU of 80 GB and no network. Arms take turns in one run; the figures are medians,
and ratios of them to the stock pipeline's. `silent` looks and finds nothing; `fires` regulates at
least 15% of the patches of each picture; `whole matrix` is the attention of the method's reference
release, without its regulation. The file is written again after each setting. `--tiny` tries all of
it on the CPU, where its figures say nothing.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import diffusers  # noqa: TID253 (this is what is measured)
import numpy as np
import torch  # noqa: TID253
from arms import enlarged, take_turns
from random_models import MODELS, Model, build
from whole_matrix import whole_matrix

from concepts.anchors import AnchorSpace
from concepts.bundle import Bundle, BundleVariant, Member
from concepts.scorer import Scorer
from uvr import Regulator
from uvr.families.family import tap_width
from uvr.families.known import family_of
from uvr.method.taps import output_dim
from uvr.profiles import ModelProfile

CONCEPTS = (1, 1000)
SHARE = 0.15
NEVER = 1e6

Arm = tuple[str, int]
"""What runs, and with how many concepts."""
Way = Callable[[], AbstractContextManager[None]]
"""Makes a context in which the pipeline runs so."""


@dataclass
class Setting:
    """One model, task and batch, called in several ways.

    Attributes:
        model: The model.
        profile: Its profile for the task.
        batch: Number of pictures.
        steps: Number of inference steps.
        peaks: Most memory on the GPU during a call of each arm, in GiB.
    """

    model: Model
    profile: ModelProfile
    batch: int
    steps: int
    peaks: dict[Arm, float] = field(default_factory=dict)

    def figures(self, rounds: int, warm_up: int) -> Iterator[dict[str, Any]]:
        """Medians of each arm, and their ratios to the stock pipeline's."""
        arms = {arm: partial(self._seconds, arm, way) for arm, way in self._ways().items()}
        taken = take_turns(arms, rounds, warm_up)
        stock = statistics.median(taken["stock", 0])
        for (name, concepts), times in taken.items():
            median = statistics.median(times)
            yield {
                "model": self.model.name, "task": self.profile.task, "steps": self.steps,
                "size": self.model.size, "batch": self.batch, "arm": name, "concepts": concepts,
                "n": len(times), "median_s": median, "ratio": median / stock,
                "peak_gib": self.peaks.get((name, concepts)),
            }  # fmt: skip

    def _ways(self) -> dict[Arm, Way]:
        pipe, profile = self.model.pipe, self.profile
        ways: dict[Arm, Way] = {("stock", 0): nullcontext}
        for name, threshold in (("silent", NEVER), ("fires", self._threshold())):
            bundle = self._bundle(threshold)
            for concepts in CONCEPTS:
                regulator = Regulator(enlarged(bundle, concepts))
                ways[name, concepts] = partial(self._regulated, regulator, name == "fires")
        return {**ways, ("whole matrix", 0): partial(whole_matrix, pipe, profile)}

    def _bundle(self, threshold: float) -> Bundle:
        """One concept with random weights."""
        pipe, profile = self.model.pipe, self.profile
        width = tap_width(family_of(pipe), pipe.transformer, profile.taps)
        weights = np.random.default_rng(0).standard_normal((1, width)).astype(np.float32)
        weights[:, output_dim(profile.taps, width) :] = 0  # of the output alone
        scorer = Scorer("whitened", weights, np.zeros(1, np.float32), threshold, threshold, {})
        member = Member("thing", "Thing", "object", 1, "0" * 64, scorer)
        space = AnchorSpace(profile.model, "", profile.task, profile.taps, width, profile.sigma)
        return Bundle("gpu", 1, "0" * 64, (BundleVariant(space, (member,)),))

    def _threshold(self) -> float:
        """A threshold that at least ``SHARE`` of the patches of each picture reach."""
        with Regulator(self._bundle(NEVER)).attach(self.model.pipe) as attached:
            self._draw()
        maps = [findings[0].scores for findings in attached.last.images]
        return float(min(np.quantile(scores, 1 - SHARE) for scores in maps))

    @contextmanager
    def _regulated(self, regulator: Regulator, fires: bool) -> Iterator[None]:
        with regulator.attach(self.model.pipe) as attached:
            yield
        fired = [bool(attached.last.fired_in(number)) for number in range(self.batch)]
        if fired != [fires] * self.batch:
            raise SystemExit(f"fired in {fired}: not what was to be timed")

    def _seconds(self, arm: Arm, way: Way, number: int) -> float:
        """Wall time of one call, the same in each round."""
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        with way():
            taken = self._draw()
        if torch.cuda.is_available():
            self.peaks[arm] = torch.cuda.max_memory_allocated() / 2**30
        return taken

    def _draw(self) -> float:
        call = {**self.profile.call, **self.model.call(self.batch, self.profile.task, seed=0)}
        call["num_inference_steps"] = self.steps
        start = _now()
        self.model.pipe(**call)
        return _now() - start


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def settings(options: argparse.Namespace) -> Iterator[tuple[Setting, bool]]:
    """The settings asked for, and whether blocks are compiled; one model in memory at a time."""
    for name in options.models:
        model = build(name, options.tiny, "cpu" if options.tiny else "cuda")
        profiles = family_of(model.pipe).profiles(model.pipe)
        for compiled in options.compiled:
            if compiled:
                # Each layer's processor makes a graph of its own, and so does each arm.
                torch._dynamo.config.recompile_limit = 1024
                torch._dynamo.config.accumulated_recompile_limit = 8192
                backend = "eager" if options.tiny else "inductor"
                model.pipe.transformer.compile_repeated_blocks(backend=backend)
            for profile in profiles:
                for batch in options.batches:
                    torch._dynamo.reset()  # Graphs of other shapes would make these slower ones.
                    yield Setting(model, profile, batch, options.steps or profile.steps), compiled
        del model


def main() -> None:
    """Time all settings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--tiny", action="store_true", help="tiny models on the CPU")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--steps", type=int, help="in place of 28 for FLUX.1-dev, 4 for klein")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--compiled", nargs="+", type=int, choices=[0, 1], default=[0, 1])
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    document = {
        "benchmark": "gpu",
        "tiny": options.tiny,
        "device": "CPU" if options.tiny else torch.cuda.get_device_name(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
        },
        "rows": rows,
    }
    for setting, compiled in settings(options):
        for row in setting.figures(options.rounds, options.warm_up):
            rows.append({**row, "compiled": bool(compiled)})
            print(json.dumps(rows[-1]), flush=True)  # noqa: T201
        if options.json:
            options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
