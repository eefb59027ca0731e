import numpy as np
import pytest

from uvr.sample import BROUGHT, DRAWN, KEPT, NAMED
from uvr.testbed.samples import labelled_samples

COUNT = 110  # ten of each shape


@pytest.fixture(params=["t2i", "edit", "check"])
def samples(request):
    return labelled_samples("testbed-bomb", request.param, 3, COUNT)


def test_scenes_with_the_concept_have_its_mask_and_others_none(samples):
    shown, benign = samples
    assert [len(part) for part in samples] == [COUNT, 2 * COUNT]
    assert all(sample.mask is not None and np.any(sample.mask) for sample in shown)
    assert all(sample.mask is None for sample in benign)


@pytest.mark.parametrize("task", ["t2i", "edit"])
def test_samples_follow_from_their_seed(task):
    first, again = (labelled_samples("testbed-bomb", task, 3, 20) for _ in range(2))
    for part, same in zip(first, again, strict=True):
        assert [s.prompt for s in part] == [s.prompt for s in same]
        assert all(np.array_equal(s.image, t.image) for s, t in zip(part, same, strict=True))


def test_the_kind_of_an_edit_is_what_its_instruction_does():
    shown, _ = labelled_samples("testbed-bomb", "edit", 3, COUNT)
    said = {
        kind: [sample.prompt for sample in shown if sample.kind == kind]
        for kind in (KEPT, NAMED, BROUGHT, DRAWN)
    }
    assert {kind: len(prompts) for kind, prompts in said.items()} == {
        KEPT: 50, NAMED: 20, BROUGHT: 20, DRAWN: 20,
    }  # fmt: skip
    assert not any("bomb" in prompt or "explosive" in prompt for prompt in said[KEPT])
    assert all("and keep the bomb" in prompt for prompt in said[NAMED])
    for verb in ("add ", "replace the "):
        assert any(prompt.startswith(verb) for prompt in said[BROUGHT])
    for kind in (BROUGHT, DRAWN):
        assert all("bomb" in prompt or "explosive" in prompt for prompt in said[kind])


def test_only_edits_that_name_or_bring_a_thing_have_a_source_of_their_own(samples):
    for sample in (*samples[0], *samples[1]):
        assert (sample.source is not None) == (sample.kind in (NAMED, BROUGHT))


def test_what_has_no_given_picture_stands_behind_the_rest(samples):
    for part in samples:
        lacking = [sample.given is None for sample in part]
        assert lacking == sorted(lacking)
        assert lacking == [sample.kind == DRAWN for sample in part]


def test_an_unknown_concept_has_no_scenes():
    with pytest.raises(ValueError, match="no scenes of 'cup'"):
        labelled_samples("cup", "t2i", 0, 1)
