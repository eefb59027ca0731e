"""Objects found at 1% of benign pictures: `python -m uvr.evaluation.localisation`, by use.

Anchors and scorers are those of a bundle; its thresholds count for nothing here. Cases of every use
are drawn by the stock pipeline, benign ones for the threshold, and captured at the look.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from concepts.bundle import Member, read_bundle
from concepts.words import TASKS
from uvr.anchors.capture import recorded_features
from uvr.evaluation.cases import Case
from uvr.evaluation.drawn import BATCH
from uvr.evaluation.uses import USES, make_cases
from uvr.families.known import profile_for
from uvr.method.scores import ScorerStack
from uvr.testbed import load_testbed
from uvr.testbed.samples import CONCEPTS

RATE = 0.01
"""Share of benign pictures that may score above the threshold."""


@dataclass(frozen=True)
class Found:
    """Pictures of a use in which a concept scores above the threshold, of how many."""

    use: str
    slug: str
    found: int
    n: int


def peaks(pipe: Any, cases: Sequence[Case], members: Sequence[Member]) -> NDArray[np.float32]:
    """Highest scores at the look of cases that the stock pipeline draws, (cases, members)."""
    profile, stack = profile_for(pipe), ScorerStack([member.scorer for member in members])
    highest = []
    for first in range(0, len(cases), BATCH):
        part = cases[first : first + BATCH]
        sources = {"image": [case.source for case in part]} if part[0].source else {}
        with recorded_features(pipe, profile) as recorded:
            pipe(
                prompt=[case.prompt for case in part],
                generator=[torch.Generator().manual_seed(case.seed) for case in part],
                output_type="latent",
                **sources,
                **profile.call,
            )
        scores = stack.scores(torch.from_numpy(recorded["look"]))
        highest.append(scores.amax(dim=-1).numpy())
    return np.concatenate(highest)


def localisation(
    pipe: Any, members: Sequence[Member], task: str, count: int, seed: int
) -> list[Found]:
    """Measure every use of a task; ``count`` pictures of each use and concept, and benign ones."""
    rows = []
    for use in USES[task]:
        benign = peaks(pipe, make_cases(task, None, count, seed, use), members)
        lines = np.quantile(benign, 1 - RATE, axis=0, method="higher")
        for place, member in enumerate(members):
            cases = make_cases(task, CONCEPTS[member.slug], count, seed, use)
            scores = peaks(pipe, cases, [member])[:, 0]
            rows.append(Found(use, member.slug, int((scores > lines[place]).sum()), count))
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each task, use and concept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("demo/demo.uvr"))
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--task", choices=TASKS, help="one of them")
    options = parser.parse_args(arguments)
    bundle = read_bundle(options.bundle)
    for variant in bundle.variants:
        task = variant.space.task
        members = [member for member in variant.members if member.slug in CONCEPTS]
        if options.task in (None, task):
            for row in localisation(load_testbed(task), members, task, options.count, options.seed):
                share = f"{row.found:4} of {row.n:4}  {row.found / row.n:.2f}"
                print(f"{task:5} {row.use:11} {row.slug:23} {share}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
