import numpy as np
import pytest

from uvr.testbed.samples import labelled_samples

COUNT = 40


@pytest.fixture(params=["t2i", "edit"])
def samples(request):
    return labelled_samples("testbed-bomb", request.param, 3, COUNT)


def test_scenes_with_the_concept_have_its_mask_and_others_none(samples):
    shown, benign = samples
    assert [len(part) for part in samples] == [COUNT, COUNT]
    assert all(sample.mask is not None and np.any(sample.mask) for sample in shown)
    assert all(sample.mask is None for sample in benign)


def test_samples_follow_from_their_seed(samples):
    again = labelled_samples(
        "testbed-bomb", "edit" if samples[0][0].source is not None else "t2i", 3, COUNT
    )
    for part, same in zip(samples, again, strict=True):
        assert [s.prompt for s in part] == [s.prompt for s in same]
        assert all(np.array_equal(s.image, t.image) for s, t in zip(part, same, strict=True))


def test_edits_keep_the_concept_name_it_and_bring_it():
    shown, _ = labelled_samples("testbed-bomb", "edit", 3, COUNT)
    said = [sample.prompt for sample in shown]
    kinds = {
        "add": [s for s in said if s.startswith("add ") and ("bomb" in s or "explosive" in s)],
        "swap": [s for s in said if s.startswith("replace the ")],
        "name": [s for s in said if "and keep the bomb" in s],
        "keep": [s for s in said if "bomb" not in s and "explosive" not in s],
    }
    assert all(len(sentences) >= COUNT // 10 for sentences in kinds.values()), kinds


def test_small_and_crowded_scenes_are_among_edits():
    shown, benign = labelled_samples("testbed-bomb", "edit", 3, COUNT)
    areas = np.array([np.mean(sample.mask) for sample in shown])
    assert areas.min() < 0.6 * np.median(areas)
    assert len(benign) == COUNT


def test_an_unknown_concept_has_no_scenes():
    with pytest.raises(ValueError, match="no scenes of 'cup'"):
        labelled_samples("cup", "t2i", 0, 1)
