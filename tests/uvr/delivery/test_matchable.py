"""The smoke query of a bundle."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from concepts.bundle import (
    Bundle,
    BundleVariant,
    Member,
    lock_digest,
    locked_members,
)
from concepts.errors import (
    MismatchError,
)
from concepts.scorer import Scorer
from tests.uvr.delivery.conftest import SPACE, make_scorer
from uvr.delivery.matchable import check_matchable


def test_scorers_that_can_match_pass_and_others_do_not():
    def bundle_of(scorer: Scorer, threshold: float | None = None) -> Bundle:
        member = Member("ball", "Ball", "object", 1, "a" * 64, scorer, threshold=threshold)
        variants = (BundleVariant(SPACE, (member,)),)
        return Bundle("demo", 1, lock_digest(locked_members(variants)), variants)

    rng = np.random.default_rng(3)
    for _ in range(300):
        weights = rng.normal(size=(rng.integers(1, 5), 4)) * 10 ** rng.uniform(-4, 4)
        offset = rng.normal(size=len(weights)) * 10 ** rng.uniform(-3, 3)
        seed = rng.normal() * 10 ** rng.uniform(-3, 4)
        scorer = Scorer("whitened", weights.astype(np.float32), offset, seed, seed)
        check_matchable(bundle_of(scorer))
        check_matchable(bundle_of(scorer, threshold=1e6))
    with pytest.raises(MismatchError, match="'ball'"):
        check_matchable(bundle_of(make_scorer(((0, 0, 0, 0), (0, 2, 0, 0)))))
    with pytest.raises(MismatchError, match="'ball'"):
        check_matchable(bundle_of(make_scorer(((1e-30, 0, 0, 0),)), threshold=1e20))


def test_the_smoke_query_takes_no_more_memory_than_its_scorer_many_times():
    rows = np.ones((20_000, 4), dtype=np.float32)
    member = Member("ball", "Ball", "object", 1, "a" * 64, make_scorer(rows))
    variants = (BundleVariant(SPACE, (member,)),)
    bundle = Bundle("demo", 1, lock_digest(locked_members(variants)), variants)
    tracemalloc.start()
    check_matchable(bundle)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * rows.nbytes
