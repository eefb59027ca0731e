"""Building and searching the FAISS index: `python benchmarks/index.py --json index.json`.

Anchors are synthetic: concepts of up to 10,000 anchors around a centre each, spread in 32
directions of their own, with noise. They lie in a registry on SQLite. Each size runs in a process
of its own. A single query by FAISS alone and one by `Registry.search`, which asks the database what
is current and returns exact scores, take turns; FAISS ranks as many candidates again as it does for
the registry.
"""

import argparse
import json
import multiprocessing
import resource
import shutil
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import faiss  # noqa: TID253 (this is what is measured)
import numpy as np
from sqlalchemy import select  # noqa: TID253 (as the registry does)

from concepts.anchors import AnchorSet, AnchorSpace
from concepts.definition import ConceptDefinition
from concepts.scorer import Scorer
from registry import Registry
from registry.index.build import SPARE
from registry.index.cache import OpenIndex
from registry.index.kinds import kind_for, search_parameters
from registry.index.overlap import CHECKED
from registry.index.search import space_index
from registry.store.models import AnchorSpaceRow
from registry.vectors.exact import unit_vectors

BYTES = {"flat": 4.0, "fp16": 2.0, "rabitq": 1.2, "ivf": 1.2}
"""Memory for a number of a vector, by kind; with room to work in, ``main`` asks for half more."""


def concept(seed: int, count: int, dim: int) -> np.ndarray:
    """Return the anchors of one concept, (count, dim), float32."""
    random = np.random.default_rng(seed)
    centre = random.standard_normal(dim, dtype=np.float32)
    directions = random.standard_normal((32, dim), dtype=np.float32) / np.sqrt(32)
    found = random.standard_normal((count, dim), dtype=np.float32)
    found *= 0.5
    found += random.standard_normal((count, 32), dtype=np.float32) @ directions
    found += centre
    return found


def collection(anchors: np.ndarray) -> tuple[AnchorSet, Scorer]:
    """What a concept with these anchors adds; both it and its images are made up."""
    count, dim = anchors.shape
    space = AnchorSpace("flux.1-dev", "", "t2i", ("single_transformer_blocks.10.attn",), dim, 0.9)
    images = np.arange(count, dtype=np.int32)
    made = AnchorSet(space, anchors, images, anchors[:1] + 1, images[:1] + count)
    return made, Scorer("mean", anchors[:1], np.zeros(1), 2.0, 1.0)


def fill(registry: Registry, count: int, dim: int) -> None:
    """Add concepts with so many anchors in all."""
    each = min(10_000, count // 10)
    for number in range(count // each):
        slug = f"concept-{number}"
        definition = ConceptDefinition(slug, "Concept", "object", "A thing.", ("a thing",))
        registry.concepts.add(definition, actor="bench")
        registry.versions.add(slug, [collection(concept(number, each, dim))], actor="bench")
        registry.versions.submit(slug, actor="bench")


def index_of(registry: Registry, kind: str | None = None) -> OpenIndex:
    """The index of the only space, built or opened as a search does it."""
    with registry.workspace.read() as opened:
        row = opened.scalars(select(AnchorSpaceRow)).one()
        found = space_index(opened, registry.workspace.store, registry.index.cache, row, kind)
        assert found is not None
        return found


def latency(registry: Registry, space: str, queries: np.ndarray) -> dict[str, Any]:
    """Median milliseconds of one query for ten anchors, by FAISS alone and by the registry."""
    raw, ours, index = [], [], index_of(registry)
    units = unit_vectors(queries).astype(np.float32)
    effort = dict(index.about.effort)
    if "k_factor" in effort:  # The registry has it find some more than ten.
        effort["k_factor"] = effort["k_factor"] * (10 + SPARE) // 10
    parameters = search_parameters(effort)
    for number in range(len(queries)):
        start = time.perf_counter()
        index.finder.faiss.search(units[number : number + 1], 10, params=parameters)
        middle = time.perf_counter()
        registry.index.search(space, queries[number : number + 1], 10)
        end = time.perf_counter()
        if number >= 5:  # the first queries warm up
            raw.append(1e3 * (middle - start))
            ours.append(1e3 * (end - middle))
    medians = statistics.median(raw), statistics.median(ours)
    return {
        "n": len(raw), "raw_p50_ms": medians[0], "p50_ms": medians[1],
        "ratio": medians[1] / medians[0], "p95_ms": float(np.quantile(ours, 0.95)),
    }  # fmt: skip


def measure(count: int, dim: int, kind: str | None, searches: int) -> dict[str, Any]:
    """Build, open and search one size."""
    with tempfile.TemporaryDirectory(prefix="uvr-index-") as place:
        home, url = Path(place), f"sqlite:///{Path(place) / 'registry.db'}"
        registry = Registry.create(home, url)
        fill(registry, count, dim)
        started = time.perf_counter()
        about = index_of(registry, kind).about
        seconds = time.perf_counter() - started
        (file,) = (home / "index").glob("*.faiss")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        registry = Registry.open(home, url)
        started = time.perf_counter()
        opened = index_of(registry)
        reopened = time.perf_counter() - started
        random = np.random.default_rng(7)
        near = [
            unit_vectors(opened.finder.stack.take(np.sort(random.choice(count, wanted, False))))
            for wanted in (searches + 5, min(count, CHECKED))
        ]
        queries = near[0] + 0.5 * unit_vectors(random.normal(size=near[0].shape))
        new = collection(near[1].astype(np.float32))
        times = latency(registry, new[0].space.digest, random.permutation(queries))
        started = time.perf_counter()
        registry.index.overlaps("new", [new])
        compared = time.perf_counter() - started
        return {
            "anchors": count, "dim": dim, "kind": about.kind, "effort": dict(about.effort),
            "recall_at_10": about.recall, "recall_queries": about.queries,
            "build_s": seconds, "open_s": reopened, "bytes": file.stat().st_size,
            "vectors_bytes": 4 * count * dim, "peak_gib": peak, **times,
            "overlap_s": compared, "overlap_anchors": len(near[1]),
            "threads": faiss.omp_get_max_threads(),
        }  # fmt: skip


def lacking(count: int, dim: int, kind: str) -> str | None:
    """Why a size cannot be measured here, None when it can."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) << 10
    memory, disk = int(1.5 * BYTES[kind] * count * dim) + (2 << 30), int(6.5 * count * dim)
    if memory > free:
        return f"needs {memory >> 30} GiB of memory, {free >> 30} are free"
    left = shutil.disk_usage(tempfile.gettempdir()).free
    return f"needs {disk >> 30} GiB of disk, {left >> 30} are free" if disk > left else None


def main() -> None:
    """Measure the sizes asked for, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--anchors", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000]
    )
    parser.add_argument("--dim", type=int, default=3072)
    parser.add_argument("--kind", help="by default the one for each size")
    parser.add_argument("--searches", type=int, default=200)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: list[dict[str, Any]] = []
    print("  anchors  kind     build s   open s      MiB  recall  FAISS ms   p50 ms  ratio")  # noqa: T201
    for count in options.anchors:
        why = lacking(count, options.dim, options.kind or kind_for(count))
        if why:
            found.append({"anchors": count, "dim": options.dim, "skipped": why})
            print(f"{count:9,}  skipped: {why}")  # noqa: T201
            continue
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            job = pool.submit(measure, count, options.dim, options.kind, options.searches)
            row = job.result()
        found.append(row)
        print(  # noqa: T201
            f"{count:9,}  {row['kind']:7}{row['build_s']:9.2f}{row['open_s']:9.2f}"
            f"{row['bytes'] / 2**20:9.0f}{row['recall_at_10']:8.4f}{row['raw_p50_ms']:10.2f}"
            f"{row['p50_ms']:9.2f}{row['ratio']:7.2f}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
