import base64
import io

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image

from uvr.pages.page import percent, render_page, span
from uvr.pages.picture import mask_uri, picture_uri


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


def test_a_name_that_a_template_is_not_given_is_an_error():
    with pytest.raises(UndefinedError, match="report"):
        render_page("evaluation.html")


def test_shares_are_written_as_percentages():
    assert (percent(0.125), percent(None)) == ("12%", "-")
    assert (span((0.041, 0.5)), span(None)) == ("4% - 50%", "")
