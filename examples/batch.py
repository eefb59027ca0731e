"""Draw a file of prompts on a Ray cluster, regulated, and keep pictures with their verdicts.

pip install '.[ray]' pandas pyarrow
python examples/batch.py prompts.txt OUT --bundle policy.uvr --keys keys.json

One prompt a line. Each worker has a pipeline, and a decision log of its own in OUT/decisions; a row
of the Parquet files in OUT/pictures is a prompt with its picture, as PNG, and what became of it.
"""

import argparse
import io
import os
from pathlib import Path
from typing import Any

import ray
import torch

from uvr import DecisionLog, Regulator, named_request
from uvr.pipelines import load_pipeline


class Draw:
    """A worker: draws batches of rows with ``id`` and ``prompt``."""

    def __init__(self, model: str, bundle: Path, keys: Path | None, logs: Path) -> None:
        pipe, profile = load_pipeline(model, "t2i")
        self.log = DecisionLog(logs / f"decisions-{ray.get_runtime_context().get_actor_id()}.jsonl")
        regulator = Regulator(bundle, keys=keys, profile=profile, on_decision=self.log)
        self.usual, self.attached = dict(profile.call), regulator.attach(pipe)
        self.regulated = self.attached.__enter__()  # until the worker ends

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Add picture and verdict to each row; the row's number is its seed and its request."""
        told: dict[str, list[Any]] = {"png": [], "outcome": [], "concept": [], "why": []}
        for number, prompt in zip(batch["id"], batch["prompt"], strict=True):
            generator = torch.Generator().manual_seed(int(number))
            with named_request(f"row-{number}"):
                image = self.regulated(prompt=prompt, generator=generator, **self.usual).images[0]
            png, verdict = io.BytesIO(), self.regulated.last.verdicts[0]
            image.save(png, "PNG")
            deciding = verdict.deciding.concept if verdict.deciding else None
            row = (png.getvalue(), verdict.outcome, deciding, verdict.reason)
            for values, value in zip(told.values(), row, strict=True):
                values.append(value)
        self.log.flush()  # before the batch counts as done: Ray may end the worker then
        return {**batch, **told}


def main() -> None:
    """Read the arguments and draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("prompts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="testbed")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--keys", type=Path, help="without: only for a file nobody else can write")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    prompts = [line for line in given.prompts.read_text().splitlines() if line.strip()]
    rows = [{"id": number, "prompt": prompt} for number, prompt in enumerate(prompts)]
    bundle, keys, out = (path and path.absolute() for path in (given.bundle, given.keys, given.out))
    drawn = ray.data.from_items(rows).map_batches(
        Draw, batch_size=8, num_gpus=int(torch.cuda.is_available()),
        compute=ray.data.ActorPoolStrategy(size=given.workers),
        fn_constructor_args=(given.model, bundle, keys, out / "decisions"),
    )  # fmt: skip
    drawn.write_parquet(os.fspath(out / "pictures"))


if __name__ == "__main__":
    main()
