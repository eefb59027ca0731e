import numpy as np
import pytest

from uvr.anchors.extract import MIN_COVERAGE, patch_coverage
from uvr.evaluation.comparison import Pair, Place
from uvr.evaluation.located import Line, lines_of, located
from uvr.evaluation.run.work import Cost, Kept
from uvr.evaluation.uses import make_cases
from uvr.testbed import scenes

SLUG = "testbed-bomb"
PLACE = Place("none", "t2i", "asked for", SLUG, "ours")
CASES = make_cases("t2i", "bomb", 4, 5)


class AllSeen:
    """Reads a judge that sees the thing in every picture but those of one digest."""

    judges = (None,)

    def times(self, judge, name, kept):
        return int(kept.digest != "blind")


def coverage(case):
    _, masks = scenes.render(case.scene)
    return patch_coverage(masks[case.scene.names().index("bomb")], (8, 8)).reshape(8, 8)


def kept(scores=None, mask=None, digest="seen"):
    found = {} if scores is None else {SLUG: scores.astype(np.float32)}
    return Kept(digest, Cost(0.1, 1), None, (), mask, found)


def test_scores_that_are_the_truth_find_everything():
    pairs = [Pair(case, kept(), kept(coverage(case), coverage(case) >= MIN_COVERAGE))
             for case in CASES]  # fmt: skip
    found = located(PLACE, pairs, AllSeen(), {("t2i", "ours", SLUG): Line(0.3, 50)})
    assert (found["n"], found["auc"], found["iou"], found["masked"]) == (4, 1.0, 1.0, 4)
    assert (found["recall"]["hits"], found["recall"]["n"], found["benign"]) == (4, 4, 50)


def test_things_that_stock_does_not_draw_and_methods_without_scores_do_not_count():
    case = CASES[0]
    assert located(PLACE, [Pair(case, kept(), kept())], AllSeen(), {}) is None
    blind = Pair(case, kept(digest="blind"), kept(coverage(case)))
    assert located(PLACE, [blind], AllSeen(), {}) is None


def test_wrong_places_are_told_by_all_three_figures():
    case = CASES[0]
    wrong = Pair(case, kept(), kept(-coverage(case), coverage(case) == 0))
    found = located(PLACE, [wrong], AllSeen(), {("t2i", "ours", SLUG): Line(0.3, 9)})
    assert (found["auc"], found["iou"], found["recall"]["hits"]) == (0.0, 0.0, 0)


def test_a_line_is_what_one_in_a_hundred_benign_pictures_reaches():
    scores = np.zeros((200, 2, 2))
    scores[:, 0, 1] = np.arange(200)
    benign = [Pair(CASES[0], kept(), kept(row)) for row in scores]
    near = {Place("none", "t2i", "near-miss", "", "ours"): [benign[-1]] * 50}
    lines = lines_of({Place("none", "t2i", "asked for", "", "ours"): benign, **near})
    assert lines == {("t2i", "ours", SLUG): Line(pytest.approx(198), 200)}
