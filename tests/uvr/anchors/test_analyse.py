"""A model explains itself: on the testbed a profile as good as the shipped one, else none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from concepts.definition import load_shipped
from concepts.errors import GateError, UVRError
from tests.uvr.test_end_to_end import scenes
from uvr.anchors.analyse import Analysis, Stages, analyse
from uvr.anchors.capture import picture_grid
from uvr.anchors.exemplars import Exemplars
from uvr.anchors.heat_map import heat_map
from uvr.anchors.labelled import drawn_pictures
from uvr.anchors.separation import Separation, area_under_curve, label_noised
from uvr.method.taps import output_taps
from uvr.profiles import PROFILES
from uvr.testbed import load_testbed
from uvr.testbed.samples import labelled_samples


def analysis(recalls, wheres, layers=("early", "late")):
    """An analysis whose last layer is the one that tells, by level."""
    sigmas = tuple(1 - 0.1 * place for place in range(len(recalls)))
    single = tuple(
        (Separation(layers[:1], sigma, 0.5, 0.5, 0.0),
         Separation(layers[1:], sigma, where, where, recall))
        for sigma, recall, where in zip(sigmas, recalls, wheres, strict=True)
    )  # fmt: skip
    return Analysis(
        "ball", "tiny", "t2i", 40, 50, layers, sigmas, single, tuple(row[1] for row in single)
    )


def test_the_area_under_the_curve_is_the_share_of_pairs_in_order():
    random = np.random.default_rng(0)
    above, below = random.integers(0, 9, 40).astype(float), random.integers(0, 7, 60).astype(float)
    pairs = (above[:, None] > below).mean() + (above[:, None] == below).mean() / 2
    assert area_under_curve(above, below) == pytest.approx(pairs)


def test_the_look_is_the_first_level_at_which_it_is_known_that_and_where(t2i_profile):
    found = analysis([0.3, 0.95, 0.97, 0.98, 0.98], [0.6, 0.8, 0.97, 0.98, 0.982])
    assert found.stages == Stages(known=0.9, placed=0.8, settled=0.7)
    assert found.chosen == found.joined[2]
    proposed = found.proposal(t2i_profile)
    assert proposed == replace(t2i_profile, taps=("late",), sigma=0.8, stage_end=0.3)
    later = found.proposal(replace(t2i_profile, stage_end=0.85))
    assert later.stage_end == 0.7


def test_where_nothing_is_found_there_is_no_profile(t2i_profile):
    found = analysis([0.1, 0.2], [0.6, 0.7])
    assert not found.separates
    assert found.to_dict()["chosen"] is None
    message = r"^Nothing separates: at best 20% of 40 pictures of 'ball', at 1% of 50 benign ones"
    with pytest.raises(GateError, match=message):
        found.proposal(t2i_profile)


def test_the_heat_map_has_a_square_for_each_layer_and_level():
    found, nothing = analysis([0.1, 0.9, 1.0], [0.6, 0.9, 0.9]), analysis([0.1] * 3, [0.6] * 3)
    framed, plain = map(heat_map, (found, nothing))
    red = [(np.asarray(image) == (214, 39, 40)).all(axis=2).any() for image in (framed, plain)]
    assert (framed.size, red) == (plain.size, [True, False])
    longer = heat_map(analysis([0.1] * 5, [0.6] * 5))
    assert longer.width > framed.width
    assert longer.height == framed.height


def test_too_few_pictures_are_refused(t2i_pipe, t2i_profile):
    with pytest.raises(UVRError, match=r"^9 pictures of the concept; at least 10"):
        analyse(t2i_pipe, t2i_profile, "square", scenes(9, concept=True, seed=0), [])


def test_noise_separates_nothing_on_a_random_model(t2i_pipe, t2i_profile):
    """The masks of one half of pure noise are of nothing."""
    shown = scenes(24, concept=False, seed=0)
    mask = np.zeros((32, 32), dtype=bool)
    mask[:16, :16] = True
    masked = [replace(sample, mask=mask) for sample in shown]
    told = []
    found = analyse(
        t2i_pipe, t2i_profile, "square", masked, scenes(24, concept=False, seed=1),
        levels=2, progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert not found.separates
    assert found.sigmas == (1.0, pytest.approx(0.2))
    assert found.layers == (
        "transformer_blocks.0", "single_transformer_blocks.0", "single_transformer_blocks.1",
    )  # fmt: skip
    assert told[-1] == (96, 96)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_drawn_pictures_are_labelled_where_the_thing_is():
    definition = load_shipped("testbed-bomb")
    few = replace(
        definition,
        prompts=definition.prompts[1:3],  # on the left, on the right
        near_misses=definition.near_misses[:4],
        benign=definition.benign[:4],
        parameters={"seeds_per_prompt": 4},
    )
    shown, others = drawn_pictures(
        load_testbed("t2i"), PROFILES["testbed-t2i"], few, Exemplars(seed=1)
    )
    middles = [np.nonzero(sample.mask)[1].mean() for sample in shown]
    assert [sample.prompt.split()[4] for sample in shown] == ["left"] * 4 + ["right"] * 4
    assert max(middles[:4]) < 3.5 < min(middles[4:])
    assert [sample.mask for sample in others] == [None] * 32


def test_the_testbed_proposes_taps_as_good_as_the_shipped_ones():
    pipe, profile = load_testbed("edit"), PROFILES["testbed-edit"]
    blank = replace(profile, taps=("transformer_blocks.0",), sigma=0.2, stage_end=0.9)
    found = analyse(
        pipe, blank, "testbed-bomb", *labelled_samples("testbed-bomb", "edit", 3, 40), levels=2
    )
    proposed = found.proposal(blank)
    columns = {tap: slice(128 * place, 128 * (place + 1)) for place, tap in enumerate(found.layers)}
    patches = label_noised(
        pipe, profile, columns, *labelled_samples("testbed-bomb", "edit", 4, 50), proposed.sigma,
        grid=picture_grid(pipe, profile),
    )  # fmt: skip
    shipped, ours = (
        patches.separation(taps) for taps in (output_taps(profile.taps), output_taps(proposed.taps))
    )
    assert ours.recall >= shipped.recall - 0.05
    assert ours.recall > 0.7
