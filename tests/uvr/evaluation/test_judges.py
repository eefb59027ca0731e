import numpy as np
import pytest
import torch
from PIL import Image

from uvr.evaluation.judges import (
    CELLS,
    Detector,
    Sighting,
    held_out,
    in_place,
    load_judge,
    sightings,
    targets,
    to_tensor,
)
from uvr.testbed.scenes import STYLES, THINGS, Placed, Scene, random_scene, render


@pytest.mark.parametrize("free", [0.0, 1.0], ids=["near their places", "anywhere, of any size"])
@pytest.mark.parametrize("style", STYLES)
def test_judge_knows_unseen_renders_of_every_style(style, free):
    recall, false_positives = held_out(load_judge(), style, count=200, free=free)
    assert recall >= 0.98
    assert false_positives <= 0.005


def test_sightings_say_what_a_scene_shows_and_where():
    rng = np.random.default_rng(11)
    drawn = [random_scene(rng, things=["bomb", "apple"]), random_scene(rng, things=["cat"])]
    seen = sightings([render(scene)[0] for scene in drawn])
    assert [set(found) for found in seen] == [{"bomb", "apple"}, {"cat"}]
    for scene, found in zip(drawn, seen, strict=True):
        for placed in scene.things:
            sighting = found[placed.thing]
            assert sighting.thing == placed.thing
            assert 0.5 <= sighting.score <= 1
            assert abs(sighting.x - placed.x) <= 8
            assert abs(sighting.y - placed.y) <= 8
            assert in_place(sighting, placed.slot)


def test_a_plain_background_shows_nothing():
    assert sightings([Image.new("RGB", (64, 64), (142, 142, 146))]) == [{}]


def test_a_high_threshold_leaves_no_sighting():
    scene = random_scene(np.random.default_rng(1), things=["star"])
    assert sightings([render(scene)[0]], threshold=1.1) == [{}]


@pytest.mark.parametrize(
    ("x", "slots"),
    [
        (4, {"left"}),
        (20, {"left", "middle"}),
        (28, {"left", "middle"}),
        (36, {"right", "middle"}),
        (60, {"right"}),
    ],
)
def test_in_place_takes_a_side_s_half_and_the_middle_s_inner_half(x, slots):
    sighting = Sighting("star", 0.9, x, 32)
    assert {slot for slot in ("left", "middle", "right") if in_place(sighting, slot)} == slots


def test_targets_mark_the_thing_s_cells_and_ignore_its_rim():
    scene = Scene("white", (Placed("bomb", "left", 20, 36, 28),))
    target, weight = targets([scene])
    k = THINGS.index("bomb")
    assert torch.nonzero(target[0]).tolist() == [[k, 4, 2]]
    assert weight[0, k, 4, 2] == 1
    assert (weight[0, k] == 0).sum() == 5 * 5 - 1
    others = [index for index in range(len(THINGS)) if index != k]
    assert (weight[0, others] == 1).all()
    assert (target[0, others] == 0).all()


def test_detector_gives_logits_of_every_thing_in_every_cell():
    with torch.no_grad():
        logits = Detector().eval()(torch.zeros(2, 3, 64, 64))
    assert logits.shape == (2, len(THINGS), CELLS, CELLS)


def test_to_tensor_scales_to_one_and_resizes_other_sizes():
    pictures = [Image.new("RGB", (64, 64), "white"), Image.new("RGBA", (128, 96), "black")]
    x = to_tensor(pictures)
    assert x.shape == (2, 3, 64, 64)
    assert (x[0] == 1).all()
    assert (x[1] == -1).all()
