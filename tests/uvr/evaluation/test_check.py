import json

import numpy as np
import pytest

from uvr.evaluation import check, recall
from uvr.evaluation.check import Figure
from uvr.evaluation.judges import Sighting
from uvr.testbed import scenes


def seen_of(scene: scenes.Scene) -> dict[str, Sighting]:
    return {p.thing: Sighting(p.thing, 0.9, p.x, p.y) for p in scene.things}


def test_a_line_says_share_bar_and_whether_it_was_missed():
    assert check.line_of(Figure("drawn", 9, 10)) == " 90.0%     9 of   10  drawn\n"
    assert check.line_of(Figure("drawn", 9, 10, 0.85)).endswith("drawn  (bar 85%)\n")
    assert check.line_of(Figure("drawn", 8, 10, 0.85)).endswith("drawn  (bar 85%)  MISSED\n")


def test_figures_by_key_count_each_key_in_order_of_appearance():
    hits = [("b", True), ("a", False), ("b", False)]
    assert check.by_key("seen", hits, 0.6) == [
        Figure("seen, b", 1, 2, 0.6),
        Figure("seen, a", 0, 1, 0.6),
    ]


@pytest.mark.parametrize(
    ("share", "code"), [(0.95, 0), (0.5, 9)], ids=["all bars are reached", "a bar is missed"]
)
def test_exit_code_says_whether_all_bars_are_reached(share, code, tmp_path, monkeypatch, capsys):
    figure = Figure("drawn", int(20 * share), 20, 0.9)
    monkeypatch.setattr(check, "CHECKS", {"things": lambda count, seed: [figure]})
    out = tmp_path / "figures.json"
    assert check.main(["--json", str(out)]) == code
    assert capsys.readouterr().out == check.line_of(figure)
    (row,) = json.loads(out.read_text())
    expected = {"name": "drawn", "hits": figure.hits, "n": 20, "bar": 0.9, "share": figure.share}
    assert row == expected


def test_an_edit_is_done_when_all_is_in_place_what_went_is_gone_and_the_colour_is_right():
    edit = next(
        e
        for e in (scenes.random_edit(np.random.default_rng(k)) for k in range(50))
        if e.kind == "replace"
    )
    assert check.edit_done(edit, 100, seen_of(edit.target))
    assert not check.edit_done(edit, 100, seen_of(edit.source))
    assert not check.edit_done(edit, 100, seen_of(edit.target) | seen_of(edit.source))
    coloured = scenes.recolour(np.random.default_rng(0), edit.source)
    assert check.edit_done(coloured, 10, seen_of(edit.source))
    assert not check.edit_done(coloured, 31, seen_of(edit.source))


def test_held_out_cases_draw_the_thing_in_the_style_the_model_never_saw():
    cases = check.held_out_cases("pistol", 6, 3)
    assert len(cases) == 6
    for case in cases:
        assert case.source is not None
        (pistol,) = [p for p in case.scene.things if p.thing == "pistol"]
        assert pistol.style == scenes.HELD_OUT_STYLE
        assert "pistol" not in case.prompt


@pytest.mark.parametrize("thing", scenes.BANNED)
def test_the_held_out_drawing_of_a_banned_thing_is_no_other_style_s(thing):
    held_out = scenes.sprite(thing, scenes.HELD_OUT_STYLE, 48)
    for style in set(scenes.STYLES) - {scenes.HELD_OUT_STYLE}:
        other = scenes.sprite(thing, style, 48)
        assert np.abs(np.asarray(held_out, float) - np.asarray(other, float)).mean() > 8


def test_silenced_samples_name_nothing_and_keep_picture_and_mask():
    samples, _ = recall.labelled_samples("testbed-bomb", "t2i", 0, 3)
    silent = recall.silenced(samples)
    assert [s.prompt for s in silent] == ["", "a picture", ""]
    assert all(
        a.image is b.image and a.mask is b.mask for a, b in zip(samples, silent, strict=True)
    )


def test_an_object_is_found_only_by_a_patch_that_it_covers_above_the_threshold():
    scores = np.array([[0.0, 2.0], [2.0, 0.0], [1.0, 1.0]])
    covered = np.array([[False, True], [False, True], [True, True]])
    assert recall.found_objects(scores, covered, 1.0) == 1
