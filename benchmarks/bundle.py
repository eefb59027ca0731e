"""What it costs to verify and load a signed bundle: `python benchmarks/bundle.py`.

Each round reads and hashes the file, verifies and loads it, then starts a new engine's source of
it, so that all meet the same machine; the figures are ratios of the medians. Starting is what an
engine does: it loads, asks each scorer for its own prototype, and records on disk, with fsync, the
bundle and that it was accepted. A concept has 16 prototypes of 3,072 float16.
"""

import argparse
import hashlib
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from concepts.anchors import AnchorSpace
from concepts.bundle import (
    Bundle,
    BundleVariant,
    Member,
    lock_digest,
    locked_members,
    read_bundle,
    write_bundle,
)
from concepts.scorer import Scorer
from concepts.signing.keys import KeyList, PrivateKey
from uvr.delivery.source import BundleSource

PROTOTYPES, DIM = 16, 3072
SPACE = AnchorSpace("flux.1-dev", "", "t2i", ("single_transformer_blocks.10.attn",), DIM, 0.9)
# What calibration stores beside a scorer, so that the manifest has the size that it has in use.
METADATA = {"images": 64, "shrinkage": 0.1, "auc": 0.987654321, "false_positive_rate": 0.00390625}


def make_bundle(concepts: int, key: PrivateKey) -> Bundle:
    """A signed bundle of as many concepts with random scorers."""
    draw = np.random.default_rng(concepts)
    members = []
    for number in range(concepts):
        weights = draw.standard_normal((PROTOTYPES, DIM), dtype=np.float32).astype(np.float16)
        offset = draw.standard_normal(PROTOTYPES, dtype=np.float32)
        scorer = Scorer("whitened", weights, offset, 3.0, 2.0, METADATA)
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        members.append(Member(f"concept-{number}", "Concept", "object", 1, digest, scorer))
    variants = (BundleVariant(SPACE, tuple(members)),)
    return Bundle("bench", 1, lock_digest(locked_members(variants)), variants).sign(key)


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(path: Path, keys: KeyList, rounds: int) -> dict[str, Any]:
    """Median seconds of each way to take the file in, and their ratios."""
    times = []
    for _ in range(rounds + 1):
        with tempfile.TemporaryDirectory(dir=path.parent) as state:
            source = BundleSource(path, keys=keys, state=Path(state), poll_seconds=0)
            times.append(
                (
                    seconds(lambda: hashlib.sha256(path.read_bytes()).digest()),
                    seconds(lambda: read_bundle(path, keys)),
                    seconds(source.start),
                )
            )
    # The first round warms up.
    hashed, loaded, started = map(statistics.median, zip(*times[1:], strict=True))
    return {
        "bytes": path.stat().st_size, "n": rounds, "hash_s": hashed, "load_s": loaded,
        "ratio": loaded / hashed, "start_s": started, "start_ratio": started / hashed,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }  # fmt: skip


def main() -> None:
    """Measure each size and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concepts", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    key, rows = PrivateKey.generate(), []
    print(  # noqa: T201
        f"{'concepts':>8} {'MB':>8} {'n':>4} {'hash ms':>9} {'load ms':>9} {'ratio':>6} "
        f"{'start ms':>9} {'ratio':>6}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for concepts in options.concepts:
            path = Path(folder, f"{concepts}.uvr")
            path.write_bytes(write_bundle(make_bundle(concepts, key)))
            row = {
                "concepts": concepts,
                **measure(path, KeyList(1, 1, (key.public,)), options.rounds),
            }
            rows.append(row)
            print(  # noqa: T201
                f"{concepts:>8} {row['bytes'] / 1e6:>8.1f} {row['n']:>4} "
                f"{row['hash_s'] * 1e3:>9.1f} {row['load_s'] * 1e3:>9.1f} {row['ratio']:>6.2f} "
                f"{row['start_s'] * 1e3:>9.1f} {row['start_ratio']:>6.2f}"
            )
    if options.json:
        options.json.write_text(json.dumps({"benchmark": "bundle", "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
