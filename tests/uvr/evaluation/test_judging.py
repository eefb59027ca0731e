import numpy as np
import pytest
from PIL import Image

from concepts.errors import UVRError
from uvr.evaluation.judging import JUDGES, SuiteJudge, WorldDetector
from uvr.testbed.scenes import random_scene, render

PICTURE = render(random_scene(np.random.default_rng(2), things=["bomb", "star"]))[0]


class Broken(SuiteJudge):
    name = "broken"
    about = "Gives what it is made with."

    def __init__(self, *rows):
        self.rows, self.threshold = rows, 0.5
        self.version, self.thresholds = "1", {"bomb": 0.5}

    def open(self):
        return self

    def scores(self, pictures):
        return self.rows

    digest = "0"


def test_the_detector_scores_concepts_and_other_things_place_by_place():
    (scores,) = WorldDetector().raw_scores([PICTURE])
    seen = {name for name, found in scores.items() if found[0] >= 0.5}
    assert seen == {"testbed-bomb", "star"}
    assert all(list(found) == sorted(found, reverse=True) for found in scores.values())


def test_a_threshold_is_no_part_of_what_decides_scores():
    low, high = WorldDetector(0.1), WorldDetector({"star": 0.9})
    assert low.digest == high.digest
    assert (low.threshold_of("star"), high.threshold_of("star")) == (0.1, 0.9)
    assert (high.threshold_of("testbed-bomb"), high.threshold_of("unicorn")) == (0.5, None)


@pytest.mark.parametrize("rows", [[], [{}], [{"bomb": float("nan")}]])
def test_a_judge_that_leaves_something_out_is_refused(rows):
    with pytest.raises(UVRError, match="left out a picture or a class"):
        Broken(*rows).raw_scores([Image.new("RGB", (8, 8))])


def test_every_judge_of_the_catalogue_says_what_it_is():
    assert JUDGES.names() == [
        "testbed-detector", "testbed-output-filter", "testbed-imagenet", "classifier", "clip",
    ]  # fmt: skip
