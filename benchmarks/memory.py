"""Peak memory of a call, stock and regulated: `python benchmarks/memory.py`; on Linux.

Each figure is of a process of its own, in which one call warms up and the next is measured: the
highest resident memory during it, with the interpreter, the libraries and the model. Random
transformers as in `benchmarks/scale.py`; arms take turns, and the figures are medians.
"""

import argparse
import json
import multiprocessing
import re
import statistics
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from arms import take_turns
from scale import TINY, USUAL, Size, firing_threshold, make_bundle, make_pipe, profile_of, seconds

from uvr import Regulator

MEGABYTE = 1024  # kibibytes, in which Linux tells memory
ARMS = {
    "stock": None,
    "nothing fires, 5 concepts": 5,
    "nothing fires, 1,000 concepts": 1000,
    "something fires, 5 concepts": 5,
}


def highest() -> float:
    """The highest resident memory of this process, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)[1]) / MEGABYTE  # type: ignore[index]


def of_one_call(size: Size, arm: str, found: Any) -> None:
    """Send the peak of one call."""
    pipe, context = make_pipe(size.width, compiled=False), nullcontext()
    if concepts := ARMS[arm]:
        threshold = firing_threshold(pipe, size) if arm.startswith("something") else 1e9
        bundle = make_bundle(Size(**{**vars(size), "concepts": concepts}), threshold)
        context = Regulator(bundle, profile=profile_of(size)).attach(pipe)  # type: ignore[assignment]
    with context:
        seconds(pipe, size, seed=1)
        Path("/proc/self/clear_refs").write_text("5")  # the highest begins anew
        seconds(pipe, size, seed=1)
    found.put(highest())


def measured(size: Size, rounds: int) -> list[dict[str, Any]]:
    """Medians of every arm, and their ratios to stock."""
    fresh = multiprocessing.get_context("spawn")

    def run(arm: str) -> float:
        found = fresh.SimpleQueue()
        process = fresh.Process(target=of_one_call, args=(size, arm, found))
        process.start()
        process.join()
        if process.exitcode:
            raise RuntimeError(f"the process of '{arm}' failed")
        return float(found.get())

    turns = take_turns({arm: lambda _, arm=arm: run(arm) for arm in ARMS}, rounds, warm_up=0)
    peaks = {arm: statistics.median(found) for arm, found in turns.items()}
    return [
        {
            "arm": arm, "tokens": size.tokens, "width": size.width, "n": rounds,
            "peak_mb": round(peaks[arm], 1), "ratio": peaks[arm] / peaks["stock"],
        }
        for arm in ARMS
    ]  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="tiny size, to see that it works")
    parser.add_argument("--json", type=Path, help="where the rows go")
    options = parser.parse_args(arguments)
    found = measured(TINY if options.quick else USUAL, options.rounds)
    for row in found:
        print(json.dumps(row))  # noqa: T201
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
