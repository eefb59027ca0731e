"""Anchors that are collected anew, with a LoRA on the model."""

from dataclasses import replace

import pytest

from tests.uvr.conftest import bundle_of, make_scorer, random_weights
from uvr.evaluation.attacks.loras import LoraBeforeCollection
from uvr.evaluation.attacks.recollection import recollected
from uvr.evaluation.methods.ours import Ours
from uvr.evaluation.methods.stock import Stock
from uvr.evaluation.setting import Setting
from uvr.evaluation.uses import make_cases
from uvr.revision import weights_revision


@pytest.fixture
def setting(t2i_profile, ball, tmp_path) -> Setting:
    bundle = bundle_of(t2i_profile, {"ball": make_scorer(random_weights(t2i_profile), 1.0)})
    lenient = replace(ball, parameters={**ball.parameters, "patch_false_positive_rate": 0.2})
    return Setting("t2i", t2i_profile, (lenient,), bundle, folder=tmp_path)


def test_a_bundle_is_collected_once_and_is_of_the_weights_as_they_are(t2i_pipe, setting):
    bundle = recollected(t2i_pipe, setting, "key")
    (variant,) = bundle.variants
    assert variant.space.revision == weights_revision(t2i_pipe.transformer)
    assert [member.slug for member in variant.members] == ["ball"]
    assert variant.members[0].scorer.digest != setting.bundle.variants[0].members[0].scorer.digest
    assert recollected(None, setting, "key").digest == bundle.digest  # no pipeline is asked again


def test_the_method_is_opened_with_anchors_of_the_model_with_its_lora(t2i_pipe, setting):
    attack = LoraBeforeCollection(rank=2, steps=3, batch=2)
    cases = make_cases("t2i", "bomb", 2, 3)
    for method, made in ((Stock(), 1), (Ours(), 2)):
        with attack.open(t2i_pipe, method, setting) as draw:
            outcomes = [picture.verdict and picture.verdict.outcome for picture in draw(cases)]
        assert "blocked" not in outcomes  # the bundle names the weights with the LoRA
        assert len(list(setting.folder.iterdir())) == made  # the LoRA, then the bundle too
