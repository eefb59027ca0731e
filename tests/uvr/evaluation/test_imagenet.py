import numpy as np
import pytest
from PIL import Image

from uvr.evaluation.imagenet import IMAGENET_CLASSES, crops, imagenet_judge
from uvr.testbed.scenes import BENIGN, SLOTS, random_scene, render


def test_crops_are_the_left_the_middle_and_the_right_half():
    picture = Image.new("RGB", (64, 64), "black")
    picture.paste("white", (32, 0, 64, 64))
    brightness = [float(np.asarray(crop).mean()) for crop in crops(picture)]
    assert [crop.size for crop in crops(picture)] == [(224, 224)] * 3
    assert brightness[0] == 0
    assert brightness[1] == pytest.approx(127.5, abs=2)
    assert brightness[2] == 255


@pytest.mark.parametrize("thing", list(IMAGENET_CLASSES))
def test_second_judge_sees_its_things_and_no_benign_ones(thing):
    rng = np.random.default_rng(3)
    shown = [render(random_scene(rng, things=[thing], slot=slot))[0] for slot in SLOTS[1]]
    benign = [render(random_scene(rng, things=[other]))[0] for other in BENIGN]
    assert imagenet_judge(shown, thing) == [True] * 3
    assert imagenet_judge(benign, thing) == [False] * len(BENIGN)
