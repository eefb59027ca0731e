"""Given pictures as they are kept: pixels alone, turned as they are meant to be seen."""

import io

import numpy as np
import pytest
from PIL import Image

from registry.store.pictures import SIDE as KEPT_SIDE
from registry.store.pictures import png_size
from uvr.anchors.given import SIDE, box_mask, kept_pixels, mask_bytes
from uvr.anchors.pictures import PictureError


def encoded(picture, kind="PNG", **options):
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return data.getvalue()


def decoded(data):
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        return picture


def test_the_registry_and_the_engine_know_the_same_size():
    assert SIDE == KEPT_SIDE


def test_what_a_file_tells_beside_its_pixels_is_not_kept():
    about = Image.Exif()
    about[0x013B], about[0x8825] = "the artist", {1: "N"}
    for kind in ("JPEG", "PNG", "WEBP"):
        data = encoded(Image.new("RGB", (8, 6), (200, 0, 0)), kind, exif=about)
        picture, mask = kept_pixels(data, "x")
        assert (png_size(picture, "x"), mask) == ((8, 6), None)
        assert (decoded(picture).info, b"artist" in picture) == ({}, False)


def test_a_photograph_is_turned_as_it_is_seen():
    about = Image.Exif()
    about[0x0112] = 6  # Its top is at the right.
    photo = Image.new("RGB", (8, 4), (0, 0, 200))
    photo.paste((200, 0, 0), (0, 0, 4, 4))
    picture, mask = kept_pixels(encoded(photo, exif=about), "x", encoded(Image.new("L", (4, 8))))
    assert (decoded(picture).size, decoded(mask).size) == ((4, 8), (4, 8))
    assert decoded(picture).getpixel((1, 1)) == (200, 0, 0)


def test_a_large_picture_is_made_smaller_with_its_mask():
    mask = Image.new("L", (4096, 1024))
    mask.paste(255, (0, 0, 2048, 1024))
    picture, shown = kept_pixels(encoded(Image.new("RGB", (4096, 1024))), "x", encoded(mask))
    assert (decoded(picture).size, decoded(shown).size) == ((2048, 512), (2048, 512))
    assert set(decoded(shown).tobytes()) == {0, 255}
    assert np.asarray(decoded(shown)).mean() == 127.5


@pytest.mark.parametrize(
    "data",
    [b"", b"no picture", b"GIF89a", encoded(Image.new("RGB", (8, 8)))[:40],
     encoded(Image.new("1", (8000, 8000)))],
    ids=range(5),
)  # fmt: skip
def test_what_is_no_picture_or_too_large_is_refused(data):
    with pytest.raises(PictureError, match=r"x (cannot be read as a picture|has 8000 x 8000)"):
        kept_pixels(data, "x")


def test_a_mask_of_another_size_is_refused():
    data = encoded(Image.new("RGB", (8, 6)))
    with pytest.raises(PictureError, match="The mask of x has 6 x 8 pixels, its picture 8 x 6"):
        kept_pixels(data, "x", encoded(Image.new("L", (6, 8))))


def test_a_box_is_white_where_it_lies():
    mask = np.asarray(box_mask((10, 4), (0.5, 0.25, 0.3, 0.5)))
    assert mask.shape == (4, 10)
    assert [*zip(*np.nonzero(mask), strict=True)] == [(r, c) for r in (1, 2) for c in (5, 6, 7)]


def test_a_mask_is_kept_black_or_white():
    grey = Image.fromarray(np.array([[0, 127, 128, 255]], dtype=np.uint8), "L")
    assert [*decoded(mask_bytes(grey)).tobytes()] == [0, 0, 255, 255]
