"""Variants of reference pictures, on a white picture with a red concept."""

import numpy as np
import pytest
from PIL import Image

from concepts.words import VARIANTS
from uvr.anchors.variants import KINDS, make_variants
from uvr.sample import Sample

SIDE = 64
CONCEPT = (slice(20, 44), slice(24, 40))
RED, WHITE = (220, 30, 30), (250, 250, 250)
WHOLE = 24 * 16


def sample(**changes) -> Sample:
    pixels = np.full((SIDE, SIDE, 3), WHITE, dtype=np.uint8)
    pixels[CONCEPT] = RED
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[CONCEPT] = True
    given = {"image": Image.fromarray(pixels), "mask": mask, "prompt": "a box", "name": "box.png"}
    return Sample(**{**given, **changes})


def made(kind: str, count: int = 12, **changes) -> list[Sample]:
    return [v.sample for v in make_variants([sample(**changes)] * count, [kind], seed=1)]


def covered(one: Sample) -> int:
    return int((np.asarray(one.mask) > 0).sum())


def is_red(image: Image.Image) -> np.ndarray:
    red, green, _ = np.moveaxis(np.asarray(image).astype(int), -1, 0)
    return red - green > 95


@pytest.mark.parametrize("kind", ["smaller", "moved", "cropped", "flipped"])
def test_picture_and_mask_and_the_picture_before_change_together(kind):
    shapes = set()
    for one in made(kind, source=sample().image):
        assert one.image.size == (SIDE, SIDE)
        shown = np.asarray(one.mask) > 0
        assert (is_red(one.image) ^ shown).sum() <= 0.2 * shown.sum()  # soft edges
        assert np.array_equal(np.asarray(one.image), np.asarray(one.source))
        shapes.add(shown.tobytes())
    assert len(shapes) > 1 or kind == "flipped"


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [("smaller", 0.15, 0.65), ("moved", 1, 1), ("cropped", 0.4, 0.8), ("flipped", 1, 1)],
)
def test_each_kind_shows_as_much_of_the_concept_as_it_says(kind, least, most):
    for one in made(kind):
        assert least * WHOLE <= covered(one) <= most * WHOLE


def test_what_was_cut_off_lies_at_an_edge():
    for one in made("cropped"):
        shown = np.asarray(one.mask) > 0
        assert sum(edge.any() for edge in (shown[0], shown[-1], shown[:, 0], shown[:, -1])) == 1


def test_other_colours_leave_the_mask_as_it_is():
    for one in made("recoloured"):
        assert np.array_equal(np.asarray(one.mask) > 0, sample().mask)
        assert np.abs(np.asarray(one.image)[CONCEPT].astype(int) - RED).max() > 60


def test_a_concept_at_the_edge_is_not_repeated_beyond_it():
    pixels = np.full((SIDE, SIDE, 3), WHITE, dtype=np.uint8)
    pixels[:, :30] = RED
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[:, :30] = True
    for one in made("smaller", image=Image.fromarray(pixels), mask=mask):
        shown = np.asarray(one.mask) > 0
        assert (is_red(one.image) & ~shown).sum() <= 0.1 * shown.sum()


def test_variants_follow_from_the_seed_and_not_from_each_other():
    pictures = [sample(), sample()]

    def pixels(kinds, seed):
        found = make_variants(pictures, kinds, seed)
        return {(v.kind, v.of): (v.sample.image.tobytes(), v.sample.mask.tobytes()) for v in found}

    usual, every = pixels(("smaller", "cropped"), 3), pixels(tuple(KINDS), 3)
    assert usual == {place: every[place] for place in usual}
    assert usual != pixels(("smaller", "cropped"), 4)
    assert every["moved", 0] != every["moved", 1]
    assert set(every) == {(kind, place) for kind in KINDS for place in (0, 1)}


def test_a_mask_of_another_size_changes_with_the_picture():
    small = np.zeros((16, 16), dtype=bool)
    small[5:11, 6:10] = True
    for one in made("cropped", mask=Image.fromarray(small)):
        assert one.mask.size == (16, 16)
        assert 0.3 * small.sum() <= covered(one) <= 0.85 * small.sum()


def test_a_mask_that_covers_nothing_gives_no_variants():
    blank = sample(mask=np.zeros((SIDE, SIDE), dtype=bool))
    found = list(make_variants([blank, sample()], ["flipped"], seed=0))
    assert [(variant.of, variant.sample.name) for variant in found] == [(1, "")]


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="'larger'; there are smaller, cropped"):
        list(make_variants([sample()], ["larger"], seed=0))


def test_the_words_and_the_kinds_are_the_same():
    assert tuple(KINDS) == VARIANTS
