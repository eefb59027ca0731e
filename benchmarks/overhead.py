"""What an attached regulator costs when nothing fires: `python benchmarks/overhead.py`.

Stock and regulated calls alternate in one run; the figure is the ratio of the medians.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from concepts.bundle import read_bundle
from uvr import Regulator
from uvr.evaluation.cases import Case, make_cases
from uvr.profiles import profile_for
from uvr.testbed import load_testbed


def seconds(pipe: Any, case: Case) -> float:
    """One call's wall time."""
    source = {} if case.source is None else {"image": case.source}
    start = time.perf_counter()
    pipe(prompt=case.prompt, **source, **profile_for(pipe).call)
    return time.perf_counter() - start


def overhead(task: str, bundle: Path, count: int) -> dict[str, Any]:
    """Median seconds of `count` benign pictures, stock and regulated, and their ratio."""
    pipe, regulator = load_testbed(task), Regulator(read_bundle(bundle))
    cases = make_cases(task, None, count + 2, seed=1)
    stock, regulated, fired = [], [], 0
    for number, case in enumerate(cases):
        plain = seconds(pipe, case)
        with regulator.attach(pipe) as attached:
            guarded = seconds(pipe, case)
        if number < 2:  # the first calls warm up
            continue
        if attached.last.fired:
            fired += 1
            continue
        stock.append(plain)
        regulated.append(guarded)
    medians = statistics.median(stock), statistics.median(regulated)
    return {
        "task": task, "n": len(stock), "left_out_because_fired": fired,
        "stock_s": medians[0], "regulated_s": medians[1], "ratio": medians[1] / medians[0],
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("demo/demo.uvr"))
    parser.add_argument("--count", type=int, default=40)
    options = parser.parse_args()
    for task in ("t2i", "edit"):
        print(json.dumps(overhead(task, options.bundle, options.count)))  # noqa: T201
