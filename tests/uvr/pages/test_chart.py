from itertools import pairwise

from uvr.pages.chart import Bar, Bars, Point, Scatter


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
