"""Where a picture is filled in when it is drawn again: by features, by judges, by both."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from uvr.engine.check import Examined
from uvr.engine.redraw import Redraws, places_of
from uvr.engine.request import CannotRedrawError
from uvr.judges.judge import Judgement
from uvr.report import ConceptFinding

GRID = (4, 4)


def at(*patches: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(GRID, dtype=bool)
    for patch in patches:
        mask[patch] = True
    return mask


def finding(
    slug: str, best: tuple[int, int], *, fired: bool, mode: str = "enforce"
) -> ConceptFinding:
    scores = at(best).astype(np.float32)
    return ConceptFinding(slug, slug, 1, mode, fired, 0, 0.5, 1.0, 0.5, 0.1,
                          at(best) if fired else at(), scores)  # fmt: skip


def judged(slug: str, heat: NDArray[np.float32] | None) -> Judgement:
    return Judgement(slug, 0.9, 0.5, "test/1", heat)


def places(
    examined: Examined, looked: list[ConceptFinding], *slugs: str
) -> list[NDArray[np.bool_]]:
    found = places_of(slugs, examined, looked, GRID)
    assert found is not None
    return [found.whole, found.middles]


def test_what_the_check_s_features_found_is_covered_by_their_mask():
    findings = [finding("ball", (0, 0), fired=True), finding("hat", (1, 1), fired=True)]
    looked = [finding("ball", (3, 3), fired=True)]
    whole, middles = places(Examined(findings, []), looked, "ball")
    assert (whole == at((0, 0))).all()
    assert (middles == at()).all()


def test_where_a_judge_sees_it_is_a_middle():
    heat = np.zeros((8, 8), dtype=np.float32)
    heat[4, 6], heat[0, 0] = 0.8, 0.3
    examined = Examined([finding("ball", (0, 3), fired=True)], [judged("ball", heat)])
    whole, middles = places(examined, [], "ball")
    assert (whole == at((0, 3))).all()
    assert (middles == at((2, 3))).all()


def test_a_coarse_heat_map_covers_all_patches_below_it():
    examined = Examined([], [judged("ball", np.array([[0, 0], [0, 0.4]], dtype=np.float32))])
    _, middles = places(examined, [], "ball")
    assert (middles == at((2, 2), (2, 3), (3, 2), (3, 3))).all()


@pytest.mark.parametrize(("at_look", "expected"), [(True, (0, 0)), (False, (1, 2))])
def test_without_a_place_it_is_where_the_look_found_it_or_features_match_best(at_look, expected):
    examined = Examined([finding("ball", (1, 2), fired=False)], [judged("ball", None)])
    looked = [finding("ball", (0, 0), fired=True)] if at_look else []
    whole, middles = places(examined, [*looked, finding("cup", (3, 3), fired=True)], "ball")
    assert (whole == at()).all()
    assert (middles == at(expected)).all()


@pytest.mark.parametrize("slugs", [("ball",), ("ball", "cup")])
def test_where_nothing_tells_of_a_place_there_is_none(slugs):
    examined = Examined([finding("hat", (1, 1), fired=False)], [judged("ball", None)])
    assert places_of(slugs, examined, [finding("hat", (0, 0), fired=True)], GRID) is None


def redraws(looked: list[ConceptFinding], first_sigma: float = 1.0) -> Redraws:
    """Of a picture that a generation drew; only what is read of the generation is there."""
    latents = torch.randn(1, 16, 4, generator=torch.Generator().manual_seed(0))
    return Redraws(
        SimpleNamespace(
            layout=SimpleNamespace(grid=GRID), report=SimpleNamespace(images=[looked]),
            first_latents=latents, sigmas=[first_sigma, 0.0], stage=SimpleNamespace(first=0),
        ), 0,
    )  # fmt: skip


def test_the_look_s_place_stays_as_it_was_and_the_rest_gets_rings():
    tries = redraws([finding("cup", (3, 3), fired=True)])
    examined = Examined([finding("ball", (0, 0), fired=True)], [])
    first, second, third = (tries.next({"ball"}, examined) for _ in range(3))
    assert first.mask.reshape(GRID).nonzero().tolist() == [[0, 0], [3, 3]]
    assert second.mask.reshape(GRID).nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [3, 3]]
    assert [item.afresh for item in (first, second, third)] == [False, False, True]
    assert torch.equal(first.latents, second.latents)
    assert not torch.equal(first.latents, third.latents)
    assert third.mask.reshape(GRID).nonzero().tolist() == [[0, 0]]
    assert tries.next({"ball"}, examined) is None


def test_what_was_filled_in_already_gets_a_ring_at_once():
    tries = redraws([finding("ball", (0, 0), fired=True)])
    redraw = tries.next({"ball"}, Examined([finding("ball", (0, 0), fired=True)], []))
    assert redraw.mask.reshape(GRID).nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_there_is_no_other_noise_below_full_noise():
    examined = Examined([finding("ball", (0, 0), fired=True)], [])
    with pytest.raises(
        CannotRedrawError, match=r"^where it is in the picture is not known, and it"
    ):
        redraws([], 0.6).next({"ball"}, Examined([], []))
    tries = redraws([], 0.6)
    assert [tries.next({"ball"}, examined).afresh for _ in range(2)] == [False, False]
    with pytest.raises(CannotRedrawError, match=r"^it does not begin with noise alone"):
        tries.next({"ball"}, examined)
