"""What the benchmarks of the engine share: arms that take turns, and bundles of many concepts."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np

from concepts.bundle import Bundle, BundleVariant, Member, lock_digest, locked_members

Name = TypeVar("Name")


def take_turns(
    arms: Mapping[Name, Callable[[int], float]], rounds: int, warm_up: int
) -> dict[Name, list[float]]:
    """Run all arms once a round; what they return in each round, without those that warm up.

    Each arm is first as often as the others, so that what changes over a run falls on all alike.
    """
    taken: dict[Name, list[float]] = {name: [] for name in arms}
    names = list(arms)
    for number in range(warm_up + rounds):
        turn = number % len(names)
        for name in (*names[turn:], *names[:turn]):
            measured = arms[name](number)
            if number >= warm_up:
                taken[name].append(measured)
    return taken


def enlarged(bundle: Bundle, concepts: int) -> Bundle:
    """The bundle with copies of its members that never match, up to so many concepts."""
    draw = np.random.default_rng(concepts)

    def copy(member: Member, number: int) -> Member:
        own = member.scorer.weights
        weights = draw.standard_normal(own.shape) * own.std() * (own != 0)  # reads what it reads
        scorer = replace(member.scorer, weights=weights, seed_threshold=1e6, grow_threshold=1e6)
        return replace(member, slug=f"copy-{number}", scorer=scorer, threshold=None)

    variants = []
    for variant in bundle.variants:
        members = variant.members
        more = [copy(members[n % len(members)], n) for n in range(concepts - len(members))]
        variants.append(BundleVariant(variant.space, (*members, *more)))
    lock = lock_digest(locked_members(variants))
    return replace(bundle, variants=tuple(variants), lock_digest=lock, signatures=(), digest="")
