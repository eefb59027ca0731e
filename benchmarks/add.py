"""What it costs to add a version with many anchors: `python benchmarks/add.py`.

Each round writes the same bytes as a plain safetensors file with fsync, then adds them to a
registry on SQLite, so that both meet the same disk; the figure is the ratio of the medians. Large
sizes take fewer rounds. A version of a million anchors is not measured: it is one array of 12 GB,
held several times over while it is written; a million is many concepts' (see index.py).
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from concepts.anchors import AnchorSet, AnchorSpace
from concepts.definition import ConceptDefinition
from concepts.scorer import Scorer
from registry import Registry

DIM = 3072
SPACE = AnchorSpace("flux.1-dev", "", "t2i", ("single_transformer_blocks.10.attn",), DIM, 0.9)


def make_anchors(count: int, seed: int) -> AnchorSet:
    """As many random anchors and a few counter-anchors."""
    draw = np.random.default_rng(seed)
    return AnchorSet(
        space=SPACE,
        anchors=draw.standard_normal((count, DIM), dtype=np.float32),
        anchor_images=np.arange(count, dtype=np.int32),
        counter_anchors=draw.standard_normal((16, DIM), dtype=np.float32),
        counter_images=np.arange(16, dtype=np.int32),
    )


def write_plain(path: Path, anchors: AnchorSet) -> float:
    """Seconds to write the anchors with safetensors and to wait for the disk."""
    start = time.perf_counter()
    with path.open("wb") as file:
        file.write(save(anchors.to_tensors()))
        file.flush()
        os.fsync(file.fileno())
    return time.perf_counter() - start


def add(registry: Registry, anchors: AnchorSet) -> float:
    """Seconds to add the anchors as the next version."""
    scorer = Scorer("mean", anchors.anchors[:1], np.zeros(1), 2.0, 1.0)
    start = time.perf_counter()
    registry.versions.add("bench", [(anchors, scorer)], actor="bench")
    return time.perf_counter() - start


def measure(count: int, most: int) -> dict[str, Any]:
    """Median seconds of both ways, and their ratio."""
    plain, added = [], []
    rounds = min(most, max(3, most * 10_000 // count))
    with tempfile.TemporaryDirectory(prefix="uvr-bench-") as folder:
        registry = Registry.create(Path(folder), f"sqlite:///{Path(folder) / 'registry.db'}")
        definition = ConceptDefinition("bench", "Bench", "object", "A bench.", ("a bench",))
        registry.concepts.add(definition, actor="bench")
        for number in range(rounds + 1):
            anchors = make_anchors(count, number)
            seconds = (
                write_plain(Path(folder) / "plain.safetensors", anchors),
                add(registry, anchors),
            )
            if number:  # the first round warms up
                plain.append(seconds[0])
                added.append(seconds[1])
    medians = statistics.median(plain), statistics.median(added)
    return {
        "anchors": count, "n": rounds, "write_s": medians[0], "add_s": medians[1],
        "ratio": medians[1] / medians[0],
    }  # fmt: skip


def main() -> None:
    """Measure each size and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--anchors", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=10, help="for up to 10,000 anchors")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    results = [measure(count, options.rounds) for count in options.anchors]
    for row in results:
        print(  # noqa: T201
            f"{row['anchors']:>7,} anchors: written in {row['write_s']:.3f} s, "
            f"added in {row['add_s']:.3f} s, ratio {row['ratio']:.2f} (n = {row['n']})"
        )
    if options.json:
        options.json.write_text(json.dumps({"benchmark": "add", "rows": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
