import numpy as np
import pytest

from uvr.evaluation.kid import block_estimates, discrepancy, features_of, has_network
from uvr.evaluation.run.work import Cost, WorkFolder


def kernel(one, other):
    return (one @ other / len(one) + 1) ** 3


def test_the_discrepancy_is_the_mean_over_pairs():
    random = np.random.default_rng(0)
    one, other = random.normal(size=(5, 3)), random.normal(size=(4, 3)) + 1
    within = [
        np.mean([kernel(a[i], a[j]) for i in range(len(a)) for j in range(len(a)) if i != j])
        for a in (one, other)
    ]
    across = np.mean([kernel(x, y) for x in one for y in other])
    assert discrepancy(one, other) == pytest.approx(sum(within) - 2 * across)


def test_the_same_pictures_are_at_no_distance_and_others_are():
    random = np.random.default_rng(1)
    base = random.normal(size=(200, 8))
    same = block_estimates(base, base)
    assert (same["difference"], same["spread"], same["size"]) == (0.0, 0.0, 100)
    assert abs(same["value"]) < 0.05
    moved = block_estimates(base, base + 1)
    assert moved["difference"] > 3 * moved["spread"] > 0


def test_features_are_computed_once_a_picture(tmp_path, monkeypatch):
    if not has_network():
        pytest.skip("the testbed extra is not installed")
    from PIL import Image  # noqa: PLC0415

    from uvr.evaluation import kid  # noqa: PLC0415
    from uvr.evaluation.drawing import Picture  # noqa: PLC0415

    work = WorkFolder(tmp_path)
    images = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    work.keep("call", [Picture(image) for image in images], Cost(0.1, 1))
    red, blue = (kept.digest for kept in work.kept("call"))
    found = features_of([red, blue, red], work)
    assert found.shape == (3, 1280)
    assert (found[0] == found[2]).all()
    assert (found[0] != found[1]).any()
    monkeypatch.setattr(kid, "imagenet_features", None)
    assert (features_of([blue, red], work) == found[[1, 0]]).all()
