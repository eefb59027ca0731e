"""What an attached regulator costs when nothing fires: `python benchmarks/overhead.py`.

Stock and regulated calls take turns in one run; the figure is the ratio of the medians. Bundles of
100 and 1,000 concepts are the demo's members and copies of them with random weights, which match
nothing: how the cost grows with concepts.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch  # noqa: TID253 (the pipelines import it anyway)
from arms import enlarged, take_turns

from concepts.bundle import Bundle, read_bundle
from uvr import Regulator
from uvr.evaluation.cases import Case
from uvr.evaluation.uses import make_cases
from uvr.families.known import profile_for
from uvr.testbed import load_testbed

CONCEPTS = (5, 100, 1000)
WARM_UP = 2


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
    cases = make_cases(task, None, count + WARM_UP, seed=1)
    fired: set[int] = set()

    def regulated(regulator: Regulator) -> Callable[[int], float]:
        def arm(number: int) -> float:
            with regulator.attach(pipe) as attached:
                taken = seconds(pipe, cases[number])
            if attached.last.fired:
                fired.add(number)
            return taken

        return arm

    # 0 is the stock pipeline.
    arms = {size: regulated(Regulator(enlarged(bundle, size))) for size in CONCEPTS}
    turns = take_turns({0: lambda number: seconds(pipe, cases[number]), **arms}, count, WARM_UP)
    silent = [place for place in range(count) if place + WARM_UP not in fired]
    taken = {size: [times[place] for place in silent] for size, times in turns.items()}
    medians = {size: statistics.median(times) for size, times in taken.items()}
    return [
        {
            "task": task,
            "concepts": size,
            "n": len(taken[size]),
            "left_out_because_fired": count - len(silent),
            "stock_s": medians[0],
            "regulated_s": medians[size],
            "ratio": medians[size] / medians[0],
        }
        for size in CONCEPTS
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("demo/demo.uvr"))
    parser.add_argument("--count", type=int, default=40)
    options = parser.parse_args()
    released = read_bundle(options.bundle)
    for task in ("t2i", "edit"):
        for figures in overhead(task, released, options.count):
            print(json.dumps(figures), flush=True)  # noqa: T201
