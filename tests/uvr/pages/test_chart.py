from itertools import pairwise

import pytest

from uvr.pages.chart import Bar, Bars, Histogram, Point, Scatter


def plot(*points):
    return Scatter("t", "x", "y", points)


def test_axes_begin_below_the_lowest_point_and_end_at_one():
    seen = plot(Point("a", 0.83, 0.52), Point("b", 1.0, 0.97))
    assert seen.lowest == (0.7, 0.4)
    assert seen.ticks == ([0.7, 0.8, 0.9, 1.0], [0.4, 0.6, 0.8, 1.0])
    assert (seen.x(0.7), seen.x(1.0), seen.y(1.0)) == (46, 426, 14)


def test_labels_of_points_in_one_place_keep_apart_and_whiskers_stay_on_the_axes():
    marks = plot(
        Point("a", 0.9, 0.9, x_interval=(0.2, 1.3)), Point("b", 0.9, 0.9), Point("c", 0.9, 0.9)
    ).marks
    assert [mark.point.label for mark in marks] == ["a", "b", "c"]
    tops = [mark.label_y for mark in marks]
    assert all(after - before >= 14 for before, after in pairwise(tops))
    assert marks[0].x_ends == (46, 426)


def test_bars_lie_below_each_other_in_their_groups():
    bars = Bars("t", [("one", [Bar("a", 1, 4), Bar("b", 0, 0)]), ("two", [Bar("a", 2, 2)])])
    tops = [(name, top, [y for _, y in placed]) for name, top, placed in bars.placed]
    assert tops == [("one", 0, [18, 33]), ("two", 60, [78])]
    assert bars.height == 123
    assert [bar.share for _, group in bars.groups for bar in group] == [0.25, 0.0, 1.0]


@pytest.mark.parametrize("threshold", [-3.0, 0.1, 0.7, 2.0, 9.0])
def test_columns_of_a_histogram_hold_every_score_on_its_side_of_the_threshold(threshold):
    shown, alike, ordinary = [0.7, 0.7, 2.0, 5.5], [0.69999, 0.1], [-1.0, 0.1]
    plot = Histogram("t", shown, [("alike", alike), ("ordinary", ordinary)], threshold)
    line = plot.x(threshold)
    for style, scores in (("strong", shown), ("alike", alike), ("faint", ordinary)):
        columns = [one for one in plot.columns if one.style == style]
        assert sum(one.count for one in columns) == len(scores)
        caught = sum(one.count for one in columns if one.x >= line)
        assert caught == sum(score >= threshold for score in scores)
    assert all(one.x >= 0 and one.x + one.width <= plot.width for one in plot.columns)
    assert all(one.y + one.height <= plot.middle + 1e-6 for one in plot.columns
               if one.style == "strong")  # fmt: skip


def test_a_histogram_of_equal_scores_has_a_width():
    plot = Histogram("t", [1.0], [("alike", []), ("ordinary", [])], 1.0)
    assert [one.count for one in plot.columns] == [1]


def test_columns_leave_room_for_the_words_above_and_below_them():
    plot = Histogram("t", [1.0] * 9, [("alike", [1.0] * 9), ("ordinary", [2.0])], 5.0)
    assert min(one.y for one in plot.columns) >= 40  # The words end at 34.
    assert max(one.y + one.height for one in plot.columns) <= plot.height - 40  # They begin there.
