"""What an attached regulator costs when nothing fires: `python benchmarks/overhead.py`.

Stock and regulated calls take turns in one run; the figure is the ratio of the medians. Bundles of
100 and 1,000 concepts are the demo's members and copies of them with random weights, which match
nothing: how the cost grows with concepts.
"""

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253 (the pipelines import it anyway)

from concepts.bundle import (
    Bundle,
    BundleVariant,
    Member,
    lock_digest,
    locked_members,
    read_bundle,
)
from uvr import Regulator
from uvr.evaluation.cases import Case
from uvr.evaluation.uses import make_cases
from uvr.families.known import profile_for
from uvr.testbed import load_testbed

CONCEPTS = (5, 100, 1000)


def enlarged(bundle: Bundle, concepts: int) -> Bundle:
    """The bundle with copies of its members that never match, up to so many concepts."""
    draw = np.random.default_rng(concepts)

    def copy(member: Member, number: int) -> Member:
        weights = draw.standard_normal(member.scorer.weights.shape) * member.scorer.weights.std()
        scorer = replace(member.scorer, weights=weights, seed_threshold=1e6, grow_threshold=1e6)
        return replace(member, slug=f"copy-{number}", scorer=scorer, threshold=None)

    variants = []
    for variant in bundle.variants:
        members = variant.members
        more = [copy(members[n % len(members)], n) for n in range(concepts - len(members))]
        variants.append(BundleVariant(variant.space, (*members, *more)))
    lock = lock_digest(locked_members(variants))
    return replace(bundle, variants=tuple(variants), lock_digest=lock, signatures=(), digest="")


def seconds(pipe: Any, case: Case) -> float:
    """One call's wall time."""
    given: dict[str, Any] = {} if case.source is None else {"image": case.source}
    given["generator"] = torch.Generator().manual_seed(case.seed)  # each arm draws the same
    start = time.perf_counter()
    pipe(prompt=case.prompt, **given, **profile_for(pipe).call)
    return time.perf_counter() - start


def overhead(task: str, bundle: Bundle, count: int) -> list[dict[str, Any]]:
    """Median seconds of `count` benign pictures, stock and regulated, and their ratio."""
    pipe = load_testbed(task)
    regulators = {size: Regulator(enlarged(bundle, size)) for size in CONCEPTS}
    arms = [0, *CONCEPTS]  # 0 is the stock pipeline
    taken: dict[int, list[float]] = {size: [] for size in arms}
    fired = 0
    for number, case in enumerate(make_cases(task, None, count + 2, seed=1)):
        times, found = {}, False
        turn = number % len(arms)  # each arm is first as often as the others
        for size in (*arms[turn:], *arms[:turn]):
            if size == 0:
                times[size] = seconds(pipe, case)
                continue
            with regulators[size].attach(pipe) as attached:
                times[size] = seconds(pipe, case)
            found |= attached.last.fired
        if number < 2:  # the first calls warm up
            continue
        fired += found
        for size in arms if not found else ():
            taken[size].append(times[size])
    medians = {size: statistics.median(times) for size, times in taken.items()}
    return [
        {
            "task": task, "concepts": size, "n": len(taken[size]), "left_out_because_fired": fired,
            "stock_s": medians[0], "regulated_s": medians[size],
            "ratio": medians[size] / medians[0],
        }
        for size in CONCEPTS
    ]  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("demo/demo.uvr"))
    parser.add_argument("--count", type=int, default=40)
    options = parser.parse_args()
    released = read_bundle(options.bundle)
    for task in ("t2i", "edit"):
        for figures in overhead(task, released, options.count):
            print(json.dumps(figures), flush=True)  # noqa: T201
