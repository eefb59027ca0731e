"""Attacks by the call's arguments, by image to image, and in several turns, on tiny pipelines."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise

import pytest
from PIL import Image

from concepts.yaml_text import FieldError
from tests.uvr.conftest import bundle_of, make_scorer, random_weights
from uvr.evaluation.attacks.calls import (
    OtherSigmas,
    OtherSizes,
    OtherSteps,
    TrueCfg,
    own_schedules,
)
from uvr.evaluation.attacks.img2img import ImageToImage, ImageToImageUnnamed
from uvr.evaluation.attacks.multi_turn import MultiTurn
from uvr.evaluation.attacks.references import BenignEdit
from uvr.evaluation.attacks.typography import TextInPicture
from uvr.evaluation.cases import Case, batches_of, picture_digest
from uvr.evaluation.drawing import Picture
from uvr.evaluation.methods.ours import Ours
from uvr.evaluation.methods.stock import Stock
from uvr.evaluation.setting import Setting
from uvr.evaluation.uses import make_cases

CASES = [replace(case, seed=seed) for seed, case in enumerate(make_cases("t2i", "bomb", 8, 3))]


@pytest.fixture
def setting(t2i_profile) -> Setting:
    bundle = bundle_of(t2i_profile, {"ball": make_scorer(random_weights(t2i_profile), -1e9)})
    return Setting("t2i", t2i_profile, (), bundle)


def drawn(attack, pipe, method, setting, cases: Sequence[Case]) -> dict[str, list[Picture]]:
    """Pictures by use, as a run draws them."""
    made: dict[str, list[Picture]] = {}
    for batch in batches_of(attack.cases(cases, setting), 2):
        with attack.open(pipe, method, setting) as draw:
            for case, picture in zip(batch, draw(batch), strict=True):
                made.setdefault(case.use, []).append(picture)
    return made


@pytest.mark.parametrize(
    ("attack", "ways"),
    [
        (OtherSteps((2, 7)), ["2 steps", "7 steps"]),
        (OtherSigmas(), list(own_schedules(0.7, 5))),
        (OtherSizes(), ["24 x 32", "32 x 40", "48 x 48"]),
        (TrueCfg((2.0, 3.0)), ["CFG 2", "CFG 3"]),
    ],
    ids=lambda item: getattr(item, "name", ""),
)
@pytest.mark.parametrize("method", [Stock(), Ours()], ids=["stock", "ours"])
def test_every_way_to_call_is_drawn_and_is_a_row(t2i_pipe, setting, attack, ways, method):
    cases = CASES[: len(ways)]
    made = drawn(attack, t2i_pipe, method, setting, cases)
    assert sorted(made) == sorted(f"asked for, {way}" for way in ways)
    for (picture,) in made.values():
        assert picture.fired == (() if method.name == "stock" else ("ball",))


def test_sizes_reach_the_picture_and_wrong_ones_are_refused(t2i_pipe, setting):
    (picture,) = drawn(OtherSizes(("40x24",)), t2i_pipe, Stock(), setting, CASES[:1])[
        "asked for, 40 x 24"
    ]
    assert picture.image.size == (24, 40)
    with pytest.raises(FieldError, match="HEIGHTxWIDTH"):
        OtherSizes(("40*24",))


@pytest.mark.parametrize("look", [0.3, 0.7, 0.95])
def test_own_schedules_fall_and_do_without_the_usual_look(look):
    schedules = own_schedules(look, 16)
    for levels in schedules.values():
        assert len(levels) == 16
        assert all(high > low > 0 for high, low in pairwise(levels))
    leap = next(level for level in schedules["a leap over the look"] if level <= look)
    assert leap < 0.4 * look
    assert schedules["from below the look"][0] < look
    assert sum(level > look for level in schedules["most above the look"]) == 14


@pytest.mark.parametrize("method", [Stock(), Ours()], ids=["stock", "ours"])
def test_image_to_image_begins_from_a_picture_of_the_thing(t2i_pipe, setting, method):
    attack = ImageToImage((0.4, 0.9))
    scheduler, sigmas = t2i_pipe.scheduler, t2i_pipe.scheduler.sigmas
    made = drawn(attack, t2i_pipe, method, setting, CASES[:2])
    assert sorted(made) == ["asked for, strength 0.4", "asked for, strength 0.9"]
    assert t2i_pipe.scheduler is scheduler
    assert t2i_pipe.scheduler.sigmas is sigmas
    for (picture,) in made.values():
        assert picture.image.size == (32, 32)
        assert picture.fired == (() if method.name == "stock" else ("ball",))


def test_image_to_image_may_say_nothing_of_the_thing(setting):
    for case, old in zip(ImageToImageUnnamed().cases(CASES, setting), CASES, strict=True):
        assert case.prompt == "a picture"
        assert case.banned == old.banned
        assert case.source is not None


class Greys:
    """Draws greys that say which turn it is, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked = []

    def open(self, pipe, setting):
        return nullcontext(self.draw)

    def draw(self, cases):
        self.asked.append([(c.prompt, c.source.getpixel((0, 0)), c.seed) for c in cases])
        return [Picture(Image.new("RGB", (8, 8), (len(self.asked),) * 3)) for _ in cases]


def test_each_turn_edits_what_the_turn_before_drew():
    method = Greys()
    case = Case("edit", "added", "add it", 5, source=Image.new("RGB", (8, 8), "white"))
    with MultiTurn(("paint it", "{prompt}")).open(None, method, None) as draw:
        (picture,) = draw([case])
    assert method.asked == [
        [("add it", (255, 255, 255), 5)],
        [("paint it", (1, 1, 1), 6)],
        [("add it", (2, 2, 2), 7)],
    ]
    assert picture.image.getpixel((0, 0)) == (3, 3, 3)


def test_turns_are_drawn_by_the_regulated_pipeline(edit_pipe, edit_profile):
    bundle = bundle_of(edit_profile, {"ball": make_scorer(random_weights(edit_profile), -1e9)})
    case = Case("edit", "added", "make it red", 5, source=Image.new("RGB", (32, 32), "white"))
    setting = Setting("edit", edit_profile, (), bundle)
    with MultiTurn(("keep it",)).open(edit_pipe, Ours(), setting) as draw:
        (picture,) = draw([case])
    with Ours().open(edit_pipe, setting) as draw:
        (first,) = draw([case])
        (second,) = draw([replace(case, prompt="keep it", source=first.image, seed=6)])
    assert picture_digest(picture.image) == picture_digest(second.image)
    assert picture.fired == ("ball",)


def test_a_word_is_written_over_the_thing():
    cases = make_cases("edit", "pistol", 4, 7)
    plain, written = (attack.cases(cases, None) for attack in (BenignEdit(), TextInPicture()))
    for one, other in zip(plain, written, strict=True):
        assert one.source.size == other.source.size
        assert picture_digest(one.source) != picture_digest(other.source)
        assert other.prompt == one.prompt
