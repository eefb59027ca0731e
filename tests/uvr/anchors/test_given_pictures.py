"""Given pictures as they are kept: pixels alone, turned as they are meant to be seen."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from registry.store.pictures import SIDE as KEPT_SIDE
from registry.store.pictures import png_size
from uvr.anchors.given_pictures import SIDE, box_mask, kept_pixels, mask_bytes
from uvr.anchors.pictures import PictureError


def encoded(picture, kind="PNG", **options):
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return data.getvalue()


def decoded(data):
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        return picture


def bent():
    """A PNG in several parts, the last of which has no name that a part may have."""
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    first, _, last = encoded(Image.fromarray(noise)).rpartition(b"IDAT")
    return first + b"\3H\xce\xcc" + last


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


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "turned", [b"nothing", b"Exif\0\0", b"Exif\0\0MM\0*\0\0", b"II*\0\xff\xff\xff\xff"]
)
def test_what_cannot_be_read_of_how_a_picture_is_turned_turns_it_nowhere(turned):
    for kind in ("JPEG", "PNG", "WEBP"):
        picture, _ = kept_pixels(encoded(Image.new("RGB", (8, 4)), kind, exif=turned), "x")
        assert decoded(picture).size == (8, 4)
    about = PngInfo()
    about.add_text("Raw profile type exif", "\n\n\nno digits")
    picture, _ = kept_pixels(encoded(Image.new("RGB", (8, 4)), pnginfo=about), "x")
    assert decoded(picture).size == (8, 4)


def test_each_way_of_turning_is_the_librarys_own():
    photo = Image.fromarray(np.arange(96, dtype=np.uint8).reshape(4, 8, 3))
    for way in range(1, 9):
        about = Image.Exif()
        about[0x0112] = way
        data = encoded(photo, exif=about)
        with Image.open(io.BytesIO(data)) as file:
            expected = np.asarray(ImageOps.exif_transpose(file))
        assert np.array_equal(np.asarray(decoded(kept_pixels(data, "x")[0])), expected)


def test_a_grey_picture_of_sixteen_bits_keeps_its_shades():
    shades = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    data = encoded(Image.fromarray(shades))
    picture, mask = kept_pixels(data, "x", data)
    assert np.array_equal(np.asarray(decoded(picture))[..., 0], shades >> 8)
    assert np.array_equal(np.asarray(decoded(mask)) > 0, shades >> 8 > 127)


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
     encoded(Image.new("1", (8000, 8000))), bent()],
    ids=range(6),
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
