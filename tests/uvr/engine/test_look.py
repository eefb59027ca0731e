"""One look: the same decisions for a few concepts and for many, at the same cost on a GPU."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from concepts.bundle import Member
from concepts.errors import NotFoundError, UVRError
from tests.uvr.conftest import make_scorer
from uvr.engine.look import NEAREST_MAPS, Look, look_at
from uvr.method.features import Features, resized
from uvr.method.masks import fill_holes, seeds_and_growth
from uvr.method.scores import LookScorers
from uvr.method.tokens import TokenLayout
from uvr.profiles import ModelProfile
from uvr.report import RegulationReport

GRID, DIM = (12, 10), 8
PATCHES = GRID[0] * GRID[1]
LAYOUT = TokenLayout(slice(0, 4), slice(4, 4 + PATCHES), (), GRID, ())
GIVEN = (6, 5)
EDIT = replace(
    LAYOUT,
    references=(slice(4 + PATCHES, 4 + PATCHES + 30), slice(34 + PATCHES, 34 + 2 * PATCHES)),
    reference_grids=(GIVEN, GRID),
)
"""Two given pictures, of which the first has a quarter of the patches."""


class Operations(TorchDispatchMode):
    """Counts tensor operations by name; those in ``WAITS`` make the host wait for a GPU."""

    WAITS = ("equal", "_local_scalar_dense", "nonzero")

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))

    @property
    def waits(self) -> int:
        return sum(self.counts[name] for name in self.WAITS)


def features_of(batch: int, seed: int = 0) -> torch.Tensor:
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.normal(size=(batch, GRID[0] * GRID[1], DIM)).astype(np.float32))


def members_of(count: int, threshold: float, grow: float | None = None) -> list[Member]:
    """Concepts with one to three random prototypes each."""
    random = np.random.default_rng(1)
    members = []
    for place in range(count):
        weights = random.normal(size=(1 + place % 3, DIM))
        scorer = make_scorer(weights[0], threshold, grow)
        scorer = replace(scorer, weights=weights, offset=np.zeros(len(weights)))
        members.append(Member(f"c-{place}", "C", "object", 1, "0" * 64, scorer))
    return members


def look(profile: ModelProfile, features: torch.Tensor, members: list[Member], **more: Any) -> Look:
    scorers = more.pop("scorers", None) or LookScorers([member.scorer for member in members])
    options = {"layout": LAYOUT, "step": 2, "sigma": 0.7, "mode_of": lambda member: member.mode}
    return look_at(Features(features), members, scorers, profile=profile, **{**options, **more})


@pytest.fixture
def profile(t2i_profile: ModelProfile) -> ModelProfile:
    return replace(t2i_profile, close_gaps=True, dilation=1)


def test_many_concepts_take_as_many_operations_as_few(profile):
    features, counted = features_of(2), []
    for count in (20, 300):
        members = members_of(count, 1e6)
        scorers = LookScorers([member.scorer for member in members])
        look(profile, features, members, scorers=scorers)  # It stacks the weights.
        with Operations() as operations:
            found = look(profile, features, members, scorers=scorers)
        assert not found.mask.any()
        counted.append(operations.counts)
    assert counted[0] == counted[1]
    assert counted[1]["addmm"] == len(features)


def test_what_does_not_fire_is_not_cleaned_up():
    with Operations() as operations:
        seeds_and_growth(torch.zeros(1, 4096), (64, 64), 5.0, 4.0, close_gaps=True, dilation=2)
    assert operations.waits == 1
    assert operations.counts.total() < 10


def test_holes_are_filled_from_the_whole_border_with_few_waits():
    ring = torch.zeros(64, 64, dtype=torch.bool)
    ring[16:48, 16:48] = True
    ring[24:40, 24:40] = False
    with Operations() as operations:
        filled = fill_holes(ring.reshape(1, -1), (64, 64))
    assert int(filled.sum()) == 32 * 32
    assert operations.waits <= 4


def test_a_look_decides_as_each_concept_alone_would(profile):
    features, members = features_of(3), members_of(40, 7.0, 4.0)
    found = look(profile, features, members)
    union = torch.zeros(features.shape[:2], dtype=torch.bool)
    for place, member in enumerate(members):
        weights, offset = (
            torch.tensor(part) for part in (member.scorer.weights, member.scorer.offset)
        )
        scores = (features @ weights.T + offset).amax(dim=-1)
        masks = seeds_and_growth(scores, GRID, 7.0, 4.0, close_gaps=True, dilation=1)
        union |= masks
        for picture, mask in enumerate(masks.reshape(-1, *GRID).numpy()):
            finding = found.images[picture][place]
            best = scores[picture].argmax()
            assert (finding.slug, finding.fired) == (member.slug, bool(mask.any()))
            assert np.array_equal(finding.mask, mask)
            assert finding.area == pytest.approx(mask.mean())
            assert finding.score == pytest.approx(float(scores[picture][best]), rel=1e-5)
            assert (finding.feature is None) is not finding.fired
            if finding.fired:
                assert finding.feature is not None
                assert finding.scores is not None
                assert np.array_equal(finding.feature, features[picture][best].half().numpy())
                assert np.allclose(finding.scores.ravel(), scores[picture], rtol=1e-5, atol=1e-5)
    assert torch.equal(found.mask, union)
    fired = {finding.fired for findings in found.images for finding in findings}
    assert fired == {True, False}


def test_a_score_equal_to_the_threshold_fires(profile):
    features, (member,) = features_of(1), members_of(1, 0.0)
    peak = look(profile, features, [member]).images[0][0].score
    above = float(np.nextafter(np.float32(peak), np.float32(np.inf)))
    for threshold, fired in ((peak, True), (above, False)):
        moved = replace(member, threshold=threshold)
        found = look(profile, features, [moved])
        assert (found.images[0][0].fired, bool(found.mask.any())) == (fired, fired)


def test_only_enforced_concepts_are_in_the_mask(profile):
    features = features_of(2)
    loud = members_of(3, -1e6)
    modes = ("shadow", "log", "enforce")
    members = [replace(member, mode=mode) for member, mode in zip(loud, modes, strict=True)]
    found = look(profile, features, members)
    assert [[finding.slug for finding in part[1]] for part in (found.images, found.shadow)] == [
        ["c-1", "c-2"], ["c-0"],
    ]  # fmt: skip
    assert found.mask.all()
    assert not look(profile, features, members[:2]).mask.any()


def test_maps_are_kept_of_what_fired_and_of_what_came_closest(profile):
    members = [
        replace(member, mode="shadow" if place < 30 else "enforce", threshold=1e6 + 100 * place)
        for place, member in enumerate(members_of(60, 1e6))
    ]
    members[-1] = replace(members[-1], threshold=-1e6)
    found = look(profile, features_of(1), members)
    kept = {
        finding.slug
        for finding in (*found.images[0], *found.shadow[0])
        if finding.scores is not None
    }
    nearest = [*range(NEAREST_MAPS), *range(30, 30 + NEAREST_MAPS - 1), 59]
    assert kept == {f"c-{place}" for place in nearest}
    report = RegulationReport("demo", 1, "f" * 64, "tiny", images=found.images)
    picture = Image.new("RGB", (20, 24))
    assert report.overlay(picture, 0).size == picture.size
    with pytest.raises(NotFoundError, match="no score map of 'c-58'"):
        report.overlay(picture, 0, "c-58")


def test_the_strongest_finding_has_a_map_when_nothing_fires(profile):
    found = look(profile, features_of(1), members_of(200, 1e3))
    strongest = max(found.images[0], key=lambda finding: finding.score - finding.threshold)
    assert strongest.scores is not None
    assert strongest.scores.max() == pytest.approx(strongest.score)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_not_finite_names_its_concept(profile, value):
    members, features = members_of(3, 9.0), features_of(2)
    scores = torch.zeros(2, 3, GRID[0] * GRID[1])
    scores[1, 1, 7] = value
    stack = LookScorers([member.scorer for member in members])
    stack.scores = lambda features: (scores, [])  # type: ignore[method-assign]
    with pytest.raises(UVRError, match="'c-1' are not finite at step 2"):
        look(profile, features, members, scorers=stack)


def edit_look(profile: ModelProfile, members: list[Member], features: Features) -> Look:
    return look_at(
        features, members, LookScorers([member.scorer for member in members], DIM),
        layout=EDIT, profile=profile, step=0, sigma=0.7, mode_of=lambda member: member.mode,
    )  # fmt: skip


def edit_members(profile: ModelProfile) -> list[Member]:
    """One concept with a row for the output's first feature and one for a given picture's."""
    weights = np.zeros((2, 2 * DIM))
    weights[0, 0] = weights[1, DIM] = 1.0
    scorer = replace(make_scorer(weights[0], 5.0, 5.0), weights=weights, offset=np.zeros(2))
    return [Member("c", "C", "object", 1, "0" * 64, scorer)]


def blank_features() -> Features:
    return Features(
        torch.zeros(2, PATCHES, DIM), (torch.zeros(2, 30, DIM), torch.zeros(2, PATCHES, DIM))
    )


@pytest.fixture
def plain(edit_profile: ModelProfile) -> ModelProfile:
    return replace(edit_profile, close_gaps=False, dilation=0)


def test_what_a_given_picture_shows_is_turned_down_there_and_not_filled_in(plain):
    features = blank_features()
    features.references[0][1, 7, 0] = 9.0
    found = edit_look(plain, edit_members(plain), features)
    assert found.regulates
    assert not found.mask.any()
    assert found.sources[0].nonzero().tolist() == [[1, 7]]
    assert not found.sources[1].any()
    (quiet,), (finding,) = found.images
    assert (quiet.fired, finding.fired, finding.score) == (False, True, 9.0)
    assert finding.scores is not None
    shown = resized(found.sources[0][1:].float(), GIVEN, GRID).reshape(GRID).numpy()
    assert np.array_equal(finding.mask, shown)
    assert np.array_equal(finding.scores, 9.0 * shown)
    assert finding.feature is not None
    assert finding.feature.tolist() == [*[0.0] * DIM, 9.0, *[0.0] * (DIM - 1)]


def test_what_an_instruction_says_is_filled_in_where_the_given_picture_shows_it_too(plain):
    features = blank_features()
    features.output[0, 3, 0] = 9.0
    features.references[1][0, 50, 0] = 8.0
    found = edit_look(plain, edit_members(plain), features)
    assert found.mask.nonzero().tolist() == [[0, 3], [0, 50]]
    assert found.sources[1].nonzero().tolist() == [[0, 50]]
    (finding,), _ = found.images
    assert finding.mask.ravel().nonzero()[0].tolist() == [3, 50]


def test_what_is_said_and_shown_takes_in_what_scores_somewhat_less_elsewhere(plain):
    (member,) = edit_members(plain)
    member = replace(member, scorer=replace(member.scorer, grow_threshold=3.0))
    features = blank_features()
    features.output[:, 3, 0] = 9.0
    features.output[:, 80, 0] = 2.5  # below the threshold for growth, and far from the rest
    features.output[:, 90, 0] = 1.5
    features.references[1][0, 50, 0] = 8.0
    found = edit_look(plain, [member], features)
    assert found.mask.nonzero().tolist() == [[0, 3], [0, 50], [0, 80], [1, 3]]


def test_rows_for_given_pictures_count_for_nothing_without_one(plain):
    features = Features(torch.zeros(1, PATCHES, DIM))
    (member,) = edit_members(plain)
    lone = replace(member, scorer=replace(member.scorer, offset=np.array([0.0, 99.0])))
    found = edit_look(plain, [lone], features)
    assert not found.regulates
    assert found.images[0][0].score == 0.0
