import numpy as np
import pytest
from PIL import Image

from uvr.evaluation.likeness import pixels_outside, psnr, ssim

NOISE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
PICTURE = Image.fromarray(NOISE)
EVERYWHERE = pixels_outside(None, (32, 32))


def test_equal_pictures_have_no_noise_and_are_wholly_alike():
    assert psnr(PICTURE, PICTURE, EVERYWHERE) is None
    assert ssim(PICTURE, PICTURE, EVERYWHERE) == pytest.approx(1)


def test_an_error_of_one_step_everywhere_is_48_decibels():
    flat = Image.new("RGB", (32, 32), (100, 100, 100))
    assert psnr(flat, Image.new("RGB", (32, 32), (101, 101, 101)), EVERYWHERE) == pytest.approx(
        48.13, abs=0.01
    )


def test_changes_under_the_mask_do_not_count():
    mask = np.zeros((4, 4), dtype=bool)
    mask[0, 0] = True
    changed = NOISE.copy()
    changed[:8, :8] = 0
    where = pixels_outside(mask, (32, 32))
    assert psnr(PICTURE, Image.fromarray(changed), where) is None
    assert psnr(PICTURE, Image.fromarray(changed), EVERYWHERE) < 20
    assert where.sum() == 32 * 32 - 64


def test_ssim_is_that_of_the_formula_for_a_picture_of_one_window():
    one, other = (np.random.default_rng(n).integers(0, 256, (7, 7), dtype=np.uint8) for n in (1, 2))
    a, b = one.astype(float).ravel(), other.astype(float).ravel()
    c1, c2 = 6.5025, 58.5225
    expected = (
        (2 * a.mean() * b.mean() + c1)
        * (2 * np.cov(a, b)[0, 1] + c2)
        / ((a.mean() ** 2 + b.mean() ** 2 + c1) * (a.var(ddof=1) + b.var(ddof=1) + c2))
    )
    pictures = [Image.fromarray(plane)
                for plane in (one, other)]  # fmt: skip
    assert ssim(*pictures, np.ones((7, 7), dtype=bool)) == pytest.approx(expected)
