"""Objects found at 1% of benign pictures: `python -m uvr.evaluation.localisation`, by use.

Anchors and scorers are those of a bundle; its thresholds count for nothing here. Cases of every use
are drawn by the stock pipeline, benign ones for the threshold, and captured at the look. With
``--sigma`` the look is at other noise levels, and anchors are collected anew at each.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from concepts.bundle import Member, read_bundle
from concepts.definition import load_shipped
from concepts.words import TASKS
from uvr.anchors.capture import recorded_features
from uvr.anchors.collection import Exemplars, collect
from uvr.evaluation.cases import Case
from uvr.evaluation.drawn import BATCH
from uvr.evaluation.uses import USES, make_cases
from uvr.families.known import profile_for
from uvr.method.features import Features
from uvr.method.scores import LookScorers
from uvr.method.taps import output_dim
from uvr.profiles import ModelProfile
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


def peaks(
    pipe: Any, profile: ModelProfile, cases: Sequence[Case], members: Sequence[Member]
) -> NDArray[np.float32]:
    """Highest scores at the look of cases that the stock pipeline draws, (cases, members)."""
    scorers = [member.scorer for member in members]
    split = output_dim(profile.taps, scorers[0].dim)
    stack, highest = LookScorers(scorers, split), []
    for first in range(0, len(cases), BATCH):
        part = cases[first : first + BATCH]
        sources = {"image": [case.source for case in part]} if part[0].source else {}
        with recorded_features(pipe, profile) as recorded:

            def stop(pipe: Any, *_: Any, seen: Mapping[str, Any] = recorded) -> dict[str, Any]:
                pipe._interrupt = "look" in seen  # the rest of the picture is not needed
                return {}

            pipe(
                prompt=[case.prompt for case in part],
                generator=[torch.Generator().manual_seed(case.seed) for case in part],
                output_type="latent",
                callback_on_step_end=stop,
                **sources,
                **profile.call,
            )
        look = torch.from_numpy(recorded["look"])
        given = (look[..., split:],) if sources and split < look.shape[-1] else ()
        output, others = stack.scores(Features(look[..., :split], given))
        highest.append(torch.stack([output, *others]).amax(dim=(0, -1)).numpy())
    return np.concatenate(highest)


def localisation(
    pipe: Any,
    members: Sequence[Member],
    task: str,
    count: int,
    seed: int,
    profile: ModelProfile | None = None,
) -> list[Found]:
    """Measure every use of a task; ``count`` pictures of each use and concept, and benign ones."""
    profile, rows = profile or profile_for(pipe), []
    for use in USES[task]:
        benign = peaks(pipe, profile, make_cases(task, None, count, seed, use), members)
        lines = np.quantile(benign, 1 - RATE, axis=0, method="higher")
        for place, member in enumerate(members):
            cases = make_cases(task, CONCEPTS[member.slug], count, seed, use)
            scores = peaks(pipe, profile, cases, [member])[:, 0]
            rows.append(Found(use, member.slug, int((scores > lines[place]).sum()), count))
    return rows


def collected_at(pipe: Any, profile: ModelProfile, members: Sequence[Member]) -> list[Member]:
    """The members with scorers of anchors that are collected anew, at a profile's look."""
    scorers = (collect(pipe, profile, load_shipped(m.slug), Exemplars())[1] for m in members)
    return [replace(m, scorer=scorer) for m, scorer in zip(members, scorers, strict=True)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each task, use and concept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("demo/demo.uvr"))
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--task", choices=TASKS, help="one of them")
    parser.add_argument("--sigma", type=float, nargs="*", help="levels to look at instead")
    options = parser.parse_args(arguments)
    bundle = read_bundle(options.bundle)
    for variant in bundle.variants:
        task = variant.space.task
        members = [member for member in variant.members if member.slug in CONCEPTS]
        if options.task not in (None, task):
            continue
        pipe = load_testbed(task)
        usual = profile_for(pipe)
        for sigma in options.sigma or [usual.sigma]:
            profile = replace(usual, sigma=sigma)
            looking = collected_at(pipe, profile, members) if options.sigma else members
            for row in localisation(pipe, looking, task, options.count, options.seed, profile):
                share = f"{row.found:4} of {row.n:4}  {row.found / row.n:.2f}"
                print(f"{task:5} {sigma:.2f} {row.use:11} {row.slug:23} {share}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
