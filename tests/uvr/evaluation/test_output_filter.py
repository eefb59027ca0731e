"""The judge that has no part in the figures: what it finds, where, and how it was made."""

import json
from importlib.resources import files

import numpy as np
import pytest
import torch
from PIL import Image

from concepts.digest import sha256
from uvr.evaluation.filter_calibration import held_out, thresholds_of
from uvr.evaluation.filter_pictures import (
    Labelled,
    blotted,
    boxes_of,
    draw_confusable,
    drawn_anew,
    rendered,
    targets_of,
    through_autoencoder,
    tinted,
    warped,
)
from uvr.evaluation.filter_training import Plan, loss_of, train
from uvr.evaluation.judges import CELLS, load_judge
from uvr.evaluation.output_filter import CARD, WEIGHTS, OutputFilter, OutputFilterJudge, shipped
from uvr.judges.judge import PlacingJudge, ask
from uvr.testbed import load_testbed
from uvr.testbed.samples import CONCEPTS
from uvr.testbed.scenes import SIZE, STYLES, THINGS, Placed, Scene, random_scene, render


@pytest.mark.parametrize("style", STYLES)
def test_it_knows_unseen_renders_of_every_style(style):
    network, card, _ = shipped()
    found, matched = held_out(network, card["thresholds"], style, count=300)
    assert found.value >= 0.97
    assert matched.value <= 0.01


def test_its_card_is_that_of_its_weights_and_says_what_its_thresholds_promise():
    folder = files("uvr.evaluation")
    data, card = (folder / WEIGHTS).read_bytes(), json.loads((folder / CARD).read_text())
    assert card["weights"] == sha256(data)
    assert len(data) < 700_000
    assert list(card["thresholds"]) == list(CONCEPTS)
    assert card["rate"] <= 0.02
    assert (card["n"] + 1) * card["rate"] / len(CONCEPTS) >= 1


def test_it_has_nothing_of_the_judge_that_measures():
    ours, theirs = (
        {tuple(p.shape): p.flatten(1) for p in network.parameters() if p.dim() > 1}
        for network in (shipped()[0], load_judge())
    )
    shared = set(ours) & set(theirs)
    assert shared == {(24, 3, 3, 3)}  # of the first layer, with other weights
    (one,), (other,) = ([part[shape] for shape in shared] for part in (ours, theirs))
    assert torch.cosine_similarity(one[:, None], other[None], dim=2).max() < 0.99


def test_it_judges_pictures_of_any_size_and_says_where():
    scene = Scene("pink", (Placed("bomb", "left", 16, 20, 26), Placed("cat", "right", 46, 40, 26)))
    picture, judge = render(scene)[0], OutputFilterJudge()
    assert isinstance(judge, PlacingJudge)
    shown, large, plain = ask(
        judge, [picture, picture.resize((200, 200)), Image.new("RGB", (64, 64), "white")]
    )
    assert [item.slug for item in shown if item.fired] == ["testbed-bomb"]
    assert [item.slug for item in large if item.fired] == ["testbed-bomb"]
    assert not any(item.fired for item in plain)
    (bomb,) = (item for item in shown if item.fired)
    row, column = np.unravel_index(bomb.heat.argmax(), bomb.heat.shape)
    side = SIZE / CELLS
    assert abs((column + 0.5) * side - 16) <= side
    assert abs((row + 0.5) * side - 20) <= side
    assert bomb.score == bomb.heat.max()


def test_thresholds_lie_above_all_but_the_share_that_was_promised():
    scores = np.tile(np.linspace(0.5, 0.9, 1999)[:, None], (1, 2))
    first, second = thresholds_of(scores, rate=0.01)  # 0.005 each: 9 of 1999 and the next one
    assert first == second
    assert (scores[:, 0] >= first).sum() == 9
    assert thresholds_of(scores / 100, rate=0.01) == [0.45, 0.45]
    with pytest.raises(ValueError, match="50 pictures cannot promise"):
        thresholds_of(scores[:50], rate=0.01)


def test_a_thing_s_middle_is_there_and_its_rim_does_not_count():
    boxes = boxes_of([Scene("white", (Placed("bomb", "left", 20, 36, 28),))])
    target, weight = targets_of(boxes)
    k = THINGS.index("bomb")
    assert torch.nonzero(target[0]).tolist() == [[k, 4, 2]]
    assert weight[0, k, 4, 2] == 1
    assert weight[0, k, 0, 7] == 1
    assert weight[0, k, 4, 3] == 0
    assert (weight[0, [j for j in range(len(THINGS)) if j != k]] == 1).all()


def test_what_is_cut_off_or_tiny_counts_neither_as_there_nor_as_gone():
    things = (Placed("bomb", "left", 0, 30, 30), Placed("cat", "right", 40, 30, 8))
    target, weight = targets_of(boxes_of([Scene("white", things)]))
    assert (target == 0).all()
    for thing, cell in (("bomb", (3, 0)), ("cat", (3, 4))):
        assert weight[0, THINGS.index(thing)][cell] == 0


def test_boxes_stay_with_their_things_when_pictures_are_warped():
    pictures = -torch.ones(40, 3, SIZE, SIZE)
    pictures[:, :, 20:32, 24:34] = 1
    boxes = torch.full((40, 1, 5), -1.0)
    boxes[:, 0] = torch.tensor([2.0, 29.0, 26.0, 10.0, 12.0])
    after = warped(np.random.default_rng(3), Labelled(pictures, boxes), share=1.0)
    at = torch.arange(SIZE) + 0.5
    for picture, (_, x, y, width, height) in zip(after.pictures, after.boxes[:, 0], strict=True):
        bright = picture[0] > 0
        if min(x - width / 2, y - height / 2) > 0 and max(x + width / 2, y + height / 2) < SIZE:
            assert (at * bright.sum(0)).sum() / bright.sum() == pytest.approx(float(x), abs=1)
            assert (at * bright.sum(1)).sum() / bright.sum() == pytest.approx(float(y), abs=1)
            assert bright.sum() == pytest.approx(float(width * height), rel=0.2)


def test_a_thing_that_is_blotted_out_counts_as_gone():
    rng = np.random.default_rng(0)
    scene = random_scene(rng, things=["bomb", "cat"])
    drawn = [blotted(rng, scene, render(scene)[0]) for _ in range(60)]
    assert {left.names() for left, _ in drawn} >= {("bomb", "cat"), ("bomb",), ("cat",)}
    for left, picture in drawn:
        assert (left == scene) == (picture.tobytes() == render(scene)[0].tobytes())


def test_the_pool_has_pictures_as_the_testbed_draws_them():
    pipe, rng = load_testbed("t2i"), np.random.default_rng(5)
    for made in (through_autoencoder(pipe, rng, 4), drawn_anew(pipe, rng, 4)):
        assert made.pictures.shape == (4, 3, SIZE, SIZE)
        assert made.pictures.abs().max() <= 1
        assert ((made.boxes[..., 0] >= 0).sum(1) <= 3).all()


def test_training_lowers_the_loss_and_follows_from_its_seed():
    pool = rendered(np.random.default_rng(1), 32)
    plan = Plan(3, 2e-3, 0, draw_confusable)
    trained = [train(pool, plan, 7, lambda line: None) for _ in range(2)]
    for one, other in zip(*(network.parameters() for network in trained), strict=True):
        assert torch.equal(one, other)
    pictures = tinted(np.random.default_rng(2), pool.pictures)
    with torch.no_grad():
        before = loss_of(OutputFilter().eval()(pictures), pool.boxes)
        after = loss_of(trained[0](pictures), pool.boxes)
    assert after < before
