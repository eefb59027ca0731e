import base64
import io

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image

from uvr.pages.page import percent, render_page, span
from uvr.pages.picture import mask_uri, outline_uri, picture_uri
from uvr.pages.words import mode_words, moment


def opened(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_a_small_picture_is_kept_to_the_bit_and_a_large_one_made_smaller():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    small = picture_uri(Image.fromarray(pixels))
    assert small.startswith("data:image/png;base64,")
    assert (np.asarray(opened(small)) == pixels).all()
    large = picture_uri(Image.new("RGB", (1024, 512)))
    assert large.startswith("data:image/webp;base64,")
    assert opened(large).size == (256, 128)


def test_a_mask_has_a_pixel_for_each_patch():
    mask = np.array([[True, False, False], [False, False, True]])
    assert (np.asarray(opened(mask_uri(mask)))[..., 3] > 0).tolist() == mask.tolist()


def test_an_outline_goes_around_what_it_encloses_and_along_the_border_of_the_picture():
    mask = np.array([[True, True, False], [False, False, False]])
    alpha = np.asarray(opened(outline_uri(mask)))[..., 3]
    assert alpha.shape == (16, 24)
    assert (alpha[0, :16] == 255).all()
    assert (alpha[1:7, 8] < 255).all()  # no line between two patches of one region
    assert not alpha[:, 16:].any()


def test_a_name_that_a_template_is_not_given_is_an_error():
    with pytest.raises(UndefinedError, match="report"):
        render_page("evaluation.html")


def test_shares_are_written_as_percentages():
    assert (percent(0.125), percent(None)) == ("12%", "-")
    assert (span((0.041, 0.5)), span(None)) == ("4% - 50%", "")


def test_modes_are_told_in_words_for_people():
    at, later = "2026-12-01T00:00:00.000000Z", "2026-12-03T10:20:00.000000Z"
    assert mode_words("enforce", None, at) == "regulated"
    assert mode_words("enforce", later, at) == "switched off until 3 December 2026"
    assert mode_words("enforce", at, later) == "regulated"
    assert mode_words("shadow", later, at) == "tried silently"
    assert (moment(later), moment(None)) == ("3 December 2026, 10:20 UTC", "-")
