"""What given pictures cover, and which of them repeat each other."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from uvr.anchors.coverage import PLACES, Facts, coverage_of, facts_of, repeats


def noisy(seed, size=(64, 64)):
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8), "RGB")
    return small.resize(size, Image.Resampling.BICUBIC)


def boxed(left, top, right, bottom, size=(60, 60)):
    mask = Image.new("L", size)
    mask.paste(255, (left, top, right, bottom))
    return facts_of(Image.new("RGB", size), mask)


@pytest.mark.parametrize(
    ("box", "size", "places"),
    [
        ((0, 0, 0, 0), "empty", ()),
        ((2, 2, 12, 12), "small", ("top left",)),
        ((20, 20, 40, 40), "medium", ("middle",)),
        ((30, 45, 60, 60), "medium", ("bottom", "bottom right")),
        ((0, 0, 60, 60), "large", PLACES),
    ],
)
def test_a_mask_has_a_size_and_places(box, size, places):
    found = boxed(*box)
    assert (found.size, found.places) == (size, places)


def test_a_set_is_told_in_numbers():
    shown = [boxed(0, 0, 10, 10), boxed(20, 20, 40, 40), boxed(0, 0, 0, 0),
             facts_of(noisy(0))]  # fmt: skip
    found = coverage_of(shown, 3)
    assert (found.shown, found.benign, found.promise) == (4, 3, 0.25)
    assert found.sizes == {"small": 1, "medium": 1, "large": 0, "empty": 1, "unmasked": 1}
    assert {name: count for name, count in found.places.items() if count} == {
        "top left": 1, "middle": 1
    }  # fmt: skip
    assert found.empty == [name for name in PLACES if name not in ("top left", "middle")]
    assert coverage_of([], 0).promise is None


def test_a_set_with_too_few_pictures_says_so():
    shown = [Facts("00", (0,), share, ()) for share in (0.1, 0.0, None)]
    assert coverage_of(shown, 2).too_few == ""
    for found, counts in ((coverage_of(shown[1:], 2), "0 and 2"), (coverage_of(shown, 1), "1 and")):
        assert found.too_few.startswith("It takes at least 1 picture that shows the concept")
        assert counts in found.too_few


def test_pictures_that_were_saved_again_repeat_each_other():
    first = noisy(1)
    facts = {
        1: facts_of(first), 2: facts_of(noisy(2)),
        3: facts_of(first.resize((40, 40)).filter(ImageFilter.GaussianBlur(1))),
        4: facts_of(first.point(lambda value: min(255, value + 8))), 7: facts_of(noisy(3)),
    }  # fmt: skip
    assert repeats(facts) == [(1, 3, 4)]


def test_pictures_of_one_shape_and_other_colours_do_not():
    plain = {n: facts_of(Image.new("RGB", (9, 9), c)) for n, c in enumerate(("red", "blue"))}
    assert repeats(plain) == []
    assert repeats({number: facts_of(noisy(number)) for number in range(40)}) == []


def test_facts_are_read_as_they_were_written():
    found = boxed(0, 0, 30, 30)
    assert Facts.from_dict(found.to_dict()) == found
    for wrong in ({}, {**found.to_dict(), "edges": "x"}, {**found.to_dict(), "colours": None}):
        with pytest.raises((LookupError, TypeError, ValueError)):
            Facts.from_dict(wrong)
