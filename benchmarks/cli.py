"""CPU seconds of commands, each in a fresh process: `python benchmarks/cli.py`.

The registries are temporary ones of some concepts, all in a release; the figures are medians of
user and system time, of the process and what it started.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from concepts.anchors import AnchorSet, AnchorSpace
from concepts.definition import ConceptDefinition, load_shipped
from concepts.scorer import Scorer
from registry.registry import Registry

COMMANDS = {  # and the target in CPU seconds
    "--help": 0.15,
    "release --help": 0.15,
    "concepts": 0.8,
    "show pistol": 0.8,
    "releases": 0.8,
    "submit pistol --dry-run": 0.8,
    "release policy --dry-run": 0.8,
    "audit verify": 0.8,
    "live prod": 0.8,
    "bundle verify policy.uvr": 0.8,
    "index": 1.2,
    "init": 1.2,
}


SPACE = AnchorSpace("testbed", "", "t2i", ("single_transformer_blocks.0",), 512, 0.9)


def add_version(registry: Registry, slug: str, count: int) -> None:
    """Add so many random anchors of a concept."""
    rows = np.random.default_rng(count).normal(size=(count, 512))
    images = np.arange(count, dtype=np.int32)
    anchors = AnchorSet(SPACE, rows, images, rows + 1, images + count)
    scorer = Scorer("whitened", np.ones((1, 512)), np.zeros(1), 2.0, 1.0)
    registry.versions.add(slug, [(anchors, scorer)], actor="bench")


def fill(home: Path, concepts: int) -> None:
    """Make a registry with some concepts, a release and a channel; one has a newer version."""
    registry = Registry.create(home, f"sqlite:///{home / 'registry.db'}")
    registry.concepts.add(load_shipped("pistol"), actor="bench")
    add_version(registry, "pistol", 200)
    for number in range(1, concepts):
        slug = f"concept-{number}"
        definition = ConceptDefinition(slug, "Concept", "object", "A thing.", ("a thing",))
        registry.concepts.add(definition, actor="bench")
        add_version(registry, slug, 20)
    registry.releases.add("policy", actor="bench")
    add_version(registry, "pistol", 400)
    registry.channels.move("prod", "policy", actor="bench")


def cpu_seconds(command: str, home: Path) -> float:
    """User and system time of one run."""
    environment = {**os.environ, "UVR_HOME": str(home), "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "cli", *command.split()], check=True, env=environment, cwd=home,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(concepts: int, rounds: int) -> list[dict[str, Any]]:
    """Median CPU seconds of each command."""
    with tempfile.TemporaryDirectory(prefix="uvr-bench-") as folder:
        home = Path(folder)
        fill(home, concepts)
        cpu_seconds("bundle export policy --out policy.uvr", home)
        rows = []
        for command, target in COMMANDS.items():
            times = [cpu_seconds(command, home) for _ in range(rounds + 1)][1:]  # one warms up
            rows.append(
                {
                    "command": command, "concepts": concepts, "n": rounds,
                    "cpu_s": statistics.median(times), "target_s": target,
                }
            )  # fmt: skip
        return rows


def main() -> None:
    """Measure each command and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concepts", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    rows = []
    print(f"{'command':<26} {'concepts':>8} {'n':>3} {'CPU s':>6} {'target':>6}")  # noqa: T201
    for concepts in options.concepts:
        for row in measure(concepts, options.rounds):
            rows.append(row)
            print(  # noqa: T201
                f"{row['command']:<26} {row['concepts']:>8} {row['n']:>3} {row['cpu_s']:>6.3f} "
                f"{row['target_s']:>6.2f}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps({"benchmark": "cli", "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
