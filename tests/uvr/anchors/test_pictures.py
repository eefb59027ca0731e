import os
from pathlib import Path

import pytest
from PIL import Image

from concepts.errors import NotFoundError
from uvr.anchors.pictures import PictureError, read_picture, read_samples


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, colour in (("b", "red"), ("a", "blue")):
        Image.new("RGB", (8, 6), colour).save(tmp_path / f"{name}.png")
        Image.new("L", (8, 6), 255).save(tmp_path / f"{name}.mask.png")
    (tmp_path / "b.txt").write_text("a red wall\n")
    (tmp_path / "notes.md").write_text("not a picture")
    return tmp_path


def test_samples_come_in_order_with_masks_and_prompts(folder):
    first, second = read_samples(folder, ["a wall"], masked=True)
    assert (first.image.getpixel((0, 0)), first.prompt) == ((0, 0, 255), "a wall")
    assert (second.image.getpixel((0, 0)), second.prompt) == ((255, 0, 0), "a red wall")
    assert first.mask is not None


def test_pictures_in_a_folder_inside_are_of_the_kind_that_it_is_named(folder):
    for kind, name in (("small", "0"), ("cropped", "1")):
        (folder / kind).mkdir()
        Image.new("RGB", (8, 6)).save(folder / kind / f"{name}.png")
    found = read_samples(folder, [])
    assert [(Path(sample.name).name, sample.kind) for sample in found] == [
        ("a.png", ""), ("b.png", ""), ("1.png", "cropped"), ("0.png", "small"),
    ]  # fmt: skip


@pytest.mark.usefixtures("impatient")
def test_a_picture_that_is_a_pipe_is_refused(folder):
    os.mkfifo(folder / "c.png")
    with pytest.raises(PictureError, match="not a regular file"):
        read_samples(folder, [])


def test_prompts_are_used_in_turn(folder):
    Image.new("RGB", (8, 6)).save(folder / "c.jpg")
    (folder / "b.txt").unlink()
    samples = read_samples(folder, ["one", "two"])
    assert [sample.prompt for sample in samples] == ["one", "two", "one"]


def test_without_prompts_they_are_empty(folder):
    assert [sample.prompt for sample in read_samples(folder, [])] == ["", "a red wall"]


def test_the_picture_before_an_edit_lies_beside_it(folder):
    Image.new("RGB", (8, 6), "red").save(folder / "b.source.png")
    first, second = read_samples(folder, ["a wall"], masked=True)
    assert first.source is None
    assert second.source is not None
    assert second.source.getpixel((0, 0)) == (255, 0, 0)


def test_a_picture_without_its_mask_is_refused(folder):
    (folder / "a.mask.png").unlink()
    with pytest.raises(PictureError, match=r"a\.mask\.png"):
        read_samples(folder, [], masked=True)


def test_a_mask_of_another_size_is_refused(folder):
    Image.new("L", (9, 6)).save(folder / "a.mask.png")
    with pytest.raises(PictureError, match=r"has 9 x 6 pixels, its picture .* x .* pixels"):
        read_samples(folder, [])


@pytest.mark.parametrize("cut", [0, 5, 45])
def test_a_damaged_picture_is_refused_by_name(folder, cut):
    data = (folder / "a.png").read_bytes()
    (folder / "a.png").write_bytes(data[:cut])
    with pytest.raises(PictureError, match=r"a\.png"):
        read_picture(folder / "a.png")


def test_what_is_called_a_picture_and_is_postscript_is_not_run(folder):
    Image.new("RGB", (4, 4)).save(folder / "b.eps")
    (folder / "b.eps").rename(folder / "a.png")
    with pytest.raises(PictureError, match=r"a\.png' cannot be read as a picture"):
        read_picture(folder / "a.png")


def test_a_small_file_with_very_many_pixels_is_refused_before_it_is_decoded(folder, monkeypatch):
    monkeypatch.setattr("uvr.anchors.pictures.MAX_PIXELS", 99)
    Image.new("1", (10, 10)).save(folder / "a.png")
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(PictureError, match="has 10 x 10 pixels: at most 99 are read"):
        read_picture(folder / "a.png")


def test_missing_places_are_named(tmp_path):
    with pytest.raises(NotFoundError, match="nowhere"):
        read_samples(tmp_path / "nowhere", [])
    with pytest.raises(NotFoundError, match=r"no\.png"):
        read_picture(tmp_path / "no.png")
    with pytest.raises(PictureError, match="no picture"):
        read_samples(tmp_path, [])
