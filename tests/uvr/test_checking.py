"""A picture from anywhere is checked as an engine checks its own; see also the command's tests."""

from dataclasses import replace

import pytest
from PIL import Image

from concepts.bundle import Bundle
from concepts.errors import MismatchError
from tests.uvr.engine.conftest import firing, picture
from uvr import FeatureCheck, Regulator
from uvr.checked_picture import CheckedPicture
from uvr.checking import check_picture


@pytest.fixture
def bundle(t2i_pipe, t2i_profile) -> Bundle:
    """One that fires at every check and at no look."""
    late = firing(replace(t2i_profile, task="check", sigma=0.15), -1e9)
    look = firing(t2i_profile, 1e9)
    return replace(look, variants=(*look.variants, *late.variants), digest="")


def test_it_finds_what_the_check_of_a_call_finds(t2i_pipe, t2i_profile, bundle):
    with Regulator(bundle, profile=t2i_profile, check=FeatureCheck()).attach(t2i_pipe) as regulated:
        image = regulated("a red ball", **t2i_profile.call).images[0]
    before = dict(t2i_pipe.transformer.attn_processors)
    checked = check_picture(t2i_pipe, t2i_profile, bundle, image)
    (expected,) = regulated.last.checks[0]
    (found,) = checked.findings
    assert (found.score, found.mask.tolist()) == (expected.score, expected.mask.tolist())
    assert (checked.verdict.outcome, checked.verdict.reason) == (
        "flagged", "Ball was found by the check.",
    )  # fmt: skip
    assert checked.space == bundle.variant_for("tiny", "check").space.digest
    assert t2i_pipe.transformer.attn_processors == before
    assert CheckedPicture.from_dict(checked.to_dict()).to_dict() == checked.to_dict()


@pytest.mark.parametrize("size", [(37, 21), (400, 300), (3, 3)])
def test_a_picture_may_have_any_size(t2i_pipe, t2i_profile, bundle, size):
    assert check_picture(t2i_pipe, t2i_profile, bundle, picture(0, size)).findings


def test_what_is_only_reported_flags_nothing(t2i_pipe, t2i_profile):
    late = firing(replace(t2i_profile, task="check", sigma=0.15))
    (variant,) = late.variants
    shadow = replace(variant, members=(replace(variant.members[0], mode="shadow"),))
    late = replace(late, variants=(shadow,), digest="")
    verdict = check_picture(t2i_pipe, t2i_profile, late, picture()).verdict
    assert (verdict.outcome, verdict.reason) == (
        "untouched", "Ball was found by the check, which is only reported.",
    )  # fmt: skip


def test_a_bundle_without_anchors_for_checking_is_refused(t2i_pipe, t2i_profile):
    with pytest.raises(MismatchError, match="task 'check'"):
        check_picture(t2i_pipe, t2i_profile, firing(t2i_profile), Image.new("RGB", (32, 32)))
