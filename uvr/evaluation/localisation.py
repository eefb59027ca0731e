"""Objects found at 1% of benign pictures: `python -m uvr.evaluation.localisation`, by use.

Anchors and scorers are those of a bundle; its thresholds count for nothing here. Cases of every use
are drawn by the stock pipeline, benign ones for the threshold, and captured at the look. The first
judge says what a picture shows: of a banned thing's cases those count that show it, of the benign
ones those that do not. Of crowded ones that this model draws nearly half show something banned,
and a threshold above these would be above the concept itself. With ``--sigma`` the look is at other
noise levels, and anchors are collected anew at each.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
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
from uvr.anchors.collection import collect
from uvr.anchors.exemplars import Exemplars
from uvr.evaluation.cases import Case, batches_of
from uvr.evaluation.drawing import call_arguments
from uvr.evaluation.drawn import BATCH
from uvr.evaluation.judges import sightings
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
class Looks:
    """Cases as the stock pipeline draws them.

    Attributes:
        peaks: Highest scores at the look, (cases, members), float32.
        shown: Whether the picture shows the concept to the first judge, (cases, members), bool.
    """

    peaks: NDArray[np.float32]
    shown: NDArray[np.bool_]


@dataclass(frozen=True)
class Found:
    """Pictures of a use that show a concept and score above the threshold, of how many shown."""

    use: str
    slug: str
    found: int
    n: int


def looks(
    pipe: Any, profile: ModelProfile, cases: Sequence[Case], members: Sequence[Member]
) -> Looks:
    """Draw cases and score them at the look."""
    scorers = [member.scorer for member in members]
    split = output_dim(profile.taps, scorers[0].dim)
    stack, highest, shown = LookScorers(scorers, split), [], []
    for part in batches_of(cases, BATCH):
        with recorded_features(pipe, profile) as recorded:
            images = pipe(**call_arguments(pipe, profile, part)).images
        look = torch.from_numpy(recorded["look"])
        given = (look[..., split:],) if part[0].source and split < look.shape[-1] else ()
        output, others = stack.scores(Features(look[..., :split], given))
        highest.append(torch.stack([output, *others]).amax(dim=(0, -1)).numpy())
        seen = sightings(images)
        shown += [[CONCEPTS[member.slug] in things for member in members] for things in seen]
    return Looks(np.concatenate(highest), np.array(shown))


def localisation(
    pipe: Any,
    members: Sequence[Member],
    task: str,
    count: int,
    seed: int,
    profile: ModelProfile | None = None,
) -> list[Found]:
    """Measure every use of a task: ``count`` cases of each and concept, ``count`` benign ones.

    One threshold a concept serves all uses, as it does in the engine.
    """
    profile = profile or profile_for(pipe)
    benign = [
        looks(pipe, profile, make_cases(task, None, count, seed, use), members)
        for use in USES[task]
    ]
    peaks = np.concatenate([each.peaks for each in benign])
    shown = np.concatenate([each.shown for each in benign])
    lines = [
        np.quantile(peaks[~shown[:, place], place], 1 - RATE, method="higher")
        for place in range(len(members))
    ]
    rows = []
    for use in USES[task]:
        for member, line in zip(members, lines, strict=True):
            cases = make_cases(task, CONCEPTS[member.slug], count, seed, use)
            seen = looks(pipe, profile, cases, [member])
            above = seen.peaks[seen.shown] > line
            rows.append(Found(use, member.slug, int(above.sum()), len(above)))
    return rows


def collected_at(pipe: Any, profile: ModelProfile, members: Sequence[Member]) -> list[Member]:
    """The members with scorers of anchors that are collected anew, at a profile's look."""
    scorers = (collect(pipe, profile, load_shipped(m.slug), Exemplars())[1] for m in members)
    return [replace(m, scorer=scorer) for m, scorer in zip(members, scorers, strict=True)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each task, use and concept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("demo/demo.uvr"))
    parser.add_argument("--count", type=int, default=100, help="cases a use and concept")
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
                share = f"{row.found:4} of {row.n:4}  {row.found / max(1, row.n):.2f}"
                print(f"{task:5} {sigma:.2f} {row.use:11} {row.slug:23} {share}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
