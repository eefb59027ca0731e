"""A pipeline takes the variant of its model, task and weights, or draws nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from concepts.bundle import (
    Bundle,
)
from concepts.errors import MismatchError, UVRError
from tests.uvr.conftest import bundle_of, call_pipe, make_pipe, make_scorer, random_weights
from tests.uvr.engine.conftest import firing
from uvr.engine.regulator import Regulator
from uvr.profiles import ModelProfile
from uvr.revision import weights_revision


def for_revision(profile: ModelProfile, revision: str) -> Bundle:
    bundle = firing(profile)
    (variant,) = bundle.variants
    space = replace(variant.space, revision=revision)
    return replace(bundle, variants=(replace(variant, space=space),), digest="")


def test_a_bundle_for_other_taps_or_models_is_refused_before_any_picture(t2i_pipe, t2i_profile):
    bundle = bundle_of(t2i_profile, {"ball": make_scorer(random_weights(t2i_profile), 0)})
    (variant,) = bundle.variants
    deep = replace(variant.space, taps=("single_transformer_blocks.9",))
    narrow = replace(variant.space, taps=t2i_profile.taps[:1])
    for space, message in ((deep, "no attention layer"), (narrow, "dimensions")):
        wrong = replace(bundle, variants=(replace(variant, space=space),), digest="")
        with (
            pytest.raises(MismatchError, match=message),
            Regulator(wrong, profile=t2i_profile).attach(t2i_pipe),
        ):
            pass
    with pytest.raises(MismatchError), Regulator(bundle).attach(t2i_pipe):
        pass


def test_a_bundle_for_other_weights_is_refused_before_any_picture(t2i_pipe, t2i_profile):
    other = for_revision(t2i_profile, weights_revision(make_pipe(seed=4).transformer))
    processors = t2i_pipe.transformer.attn_processors
    with (
        pytest.raises(MismatchError, match="revision"),
        Regulator(other, profile=t2i_profile).attach(t2i_pipe),
    ):
        pytest.fail("a picture could have been drawn")
    assert t2i_pipe.transformer.attn_processors == processors
    same = for_revision(t2i_profile, weights_revision(t2i_pipe.transformer))
    with Regulator(same, profile=t2i_profile).attach(t2i_pipe) as attachment:
        call_pipe(t2i_pipe, "a cup", [1])
    assert attachment.last.fired


def test_weights_changed_while_attached_are_refused_before_any_picture(t2i_pipe, t2i_profile):
    bundle = for_revision(t2i_profile, weights_revision(t2i_pipe.transformer))
    weight = t2i_pipe.transformer.single_transformer_blocks[0].attn.to_v.weight
    original, drawn = weight.detach().clone(), []

    def count(*args: Any) -> dict[str, Any]:
        drawn.append(args)
        return {}

    with Regulator(bundle, profile=t2i_profile).attach(t2i_pipe) as attachment:
        before = call_pipe(t2i_pipe, "a cup", [1])
        with torch.no_grad():
            weight.mul_(1.5)
        with pytest.raises(MismatchError, match="revision"):
            call_pipe(t2i_pipe, "a cup", [1], callback_on_step_end=count)
        with torch.no_grad():
            weight.copy_(original)
        assert torch.equal(before, call_pipe(t2i_pipe, "a cup", [1]))
    assert drawn == []
    assert len(attachment.reports) == 2


def test_each_call_takes_the_variant_of_the_weights_of_its_time(t2i_pipe, t2i_profile):
    weight = t2i_pipe.transformer.single_transformer_blocks[0].attn.to_v.weight
    revisions = []
    for _ in range(2):
        revisions.append(weights_revision(t2i_pipe.transformer))
        with torch.no_grad():
            weight.mul_(1.5)
    with torch.no_grad():
        weight.mul_(1.5**-2)
    assert weights_revision(t2i_pipe.transformer) == revisions[0]
    variants = tuple(for_revision(t2i_profile, each).variants[0] for each in revisions)
    bundle = replace(firing(t2i_profile), variants=variants, digest="")
    with Regulator(bundle, profile=t2i_profile).attach(t2i_pipe) as attachment:
        call_pipe(t2i_pipe, "a cup", [1])
        with torch.no_grad():
            weight.mul_(1.5)
        call_pipe(t2i_pipe, "a cup", [1])
    spaces = [report.space for report in attachment.reports]
    assert spaces == [variant.space.digest for variant in variants]


def test_another_transformer_put_into_an_attached_pipeline_is_refused(
    t2i_pipe, t2i_profile, silent
):
    with Regulator(silent(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        t2i_pipe.transformer = make_pipe(seed=4).transformer
        with pytest.raises(MismatchError, match="transformer was replaced"):
            call_pipe(t2i_pipe, "a cup", [1])


def test_weights_that_cannot_be_read_match_only_a_bundle_for_any_weights(t2i_pipe, t2i_profile):
    bundle = for_revision(t2i_profile, weights_revision(t2i_pipe.transformer))
    t2i_pipe.transformer.to("meta")
    with (
        pytest.raises(UVRError, match="sequential offload"),
        Regulator(bundle, profile=t2i_profile).attach(t2i_pipe),
    ):
        pytest.fail("a picture could have been drawn")
    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        pass


def test_concepts_without_anchors_for_this_model_are_noted(t2i_pipe, t2i_profile, edit_profile):
    scorer = make_scorer(random_weights(t2i_profile), 1e9)
    more = bundle_of(edit_profile, dict.fromkeys(("star", "ball", "cup"), scorer))
    bundle = firing(t2i_profile)
    bundle = replace(bundle, variants=(*bundle.variants, *more.variants), digest="")
    with Regulator(bundle, profile=t2i_profile).attach(t2i_pipe) as attachment:
        call_pipe(t2i_pipe, "a cup", [1])
    assert attachment.last.notes == ["no anchors for this model and task: cup, star"]
