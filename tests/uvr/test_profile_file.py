from __future__ import annotations

import contextlib
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concepts.errors import NotFoundError
from tests.uvr.conftest import bundle_of, make_scorer, random_weights
from uvr.engine.regulator import Regulator
from uvr.method.presets import ModulatePreset, RestrictPreset
from uvr.profile_fields import REGULATION
from uvr.profile_file import dump_profile, load_profile, parse_profile
from uvr.profiles import PROFILES, ModelProfile, ProfileError

TEXT = """\
name: mine
model: my-flux
task: t2i
taps: [single_transformer_blocks.4]
sigma: 0.8
stage_end: 0.5
restrict: {strength: 0.9}
call: {height: 512, width: 512, num_inference_steps: 20}
"""


def test_reads_every_field_and_fills_in_the_rest():
    assert parse_profile(TEXT) == ModelProfile(
        name="mine",
        model="my-flux",
        task="t2i",
        taps=("single_transformer_blocks.4",),
        sigma=0.8,
        stage_end=0.5,
        restrict=RestrictPreset(0.9, "surroundings"),
        call={"height": 512, "width": 512, "num_inference_steps": 20},
    )


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_written_and_read_back_the_same(name):
    text = dump_profile(PROFILES[name], ["measured on\n42 pictures"])
    assert parse_profile(text) == PROFILES[name]
    assert "\n# measured on\\n42 pictures\n" in text
    assert dump_profile(parse_profile(text), ["measured on\n42 pictures"]) == text


def test_what_a_profile_has_not_is_left_out():
    plain = replace(PROFILES["flux.1-dev"], restrict=None)
    assert "restrict" not in dump_profile(plain)
    assert parse_profile(dump_profile(plain)) == plain


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sigma: 0.8", "sigma: 8",
         "x.yaml:5: field 'sigma': found 8, allowed: a number from 0.0 to 1.0"),
        ("sigma: 0.8", "sigma: yes",
         "x.yaml:5: field 'sigma': found True, allowed: a number from 0.0 to 1.0"),
        ("sigma:", "sigm:",
         "x.yaml:5: field 'sigm': unknown; allowed: name, model, task, taps, sigma, stage_end, "
         "call, restrict, modulate, dilation, close_gaps, calibration. Did you mean 'sigma'?"),
        ("stage_end: 0.5\n", "", "x.yaml:1: document: missing: stage_end"),
        ("task: t2i", "task: t2v",
         "x.yaml:3: field 'task': found 't2v', allowed: t2i, edit, check. Did you mean 't2i'?"),
        ("[single_transformer_blocks.4]", "single_transformer_blocks.4",
         "x.yaml:4: field 'taps': found text, expected a list of attention layers"),
        ("[single_transformer_blocks.4]", "[a, b, a]",
         "x.yaml:4: field 'taps[3]': repeats 'a'"),
        ("{strength: 0.9}", "{strength: 0.9, fill: nois}",
         "x.yaml:7: field 'restrict.fill': found 'nois', allowed: surroundings, noise. "
         "Did you mean 'noise'?"),
        ("height: 512, ", "", "x.yaml:8: field 'call': missing: height"),
        ("height: 512", "height: 512.5",
         "x.yaml:8: field 'call.height': found 512.5, allowed: a whole number from 16 to 8192"),
        ("{height", "{prompt: a cat, height",
         "x.yaml:8: field 'call.prompt': is not an argument that a profile gives to every call"),
        ("{height", "{__class__: x, height",
         "x.yaml:8: field 'call.__class__': is not an argument that a profile gives to every call"),
        ("{height", "{sigmas: [], height",
         "x.yaml:8: field 'call.sigmas': found a list, expected a number, text or true/false"),
        ("sigma: 0.8", "sigma: 0.8\nsigma: 0.9", "x.yaml:6: field 'sigma': occurs twice"),
        ("sigma: 0.8", "calibration: {noise_draws: 2}\nsigma: 0.8",
         "x.yaml:5: field 'calibration.noise_draws': unknown; allowed: shrinkage, "
         "image_false_positive_rate, patch_false_positive_rate, within_share, margin, prototypes, "
         "rule."),
    ],
)  # fmt: skip
def test_errors_say_where_what_and_what_is_allowed(old, new, message):
    with pytest.raises(ProfileError) as caught:
        parse_profile(TEXT.replace(old, new, 1), "x.yaml")
    assert str(caught.value).removesuffix(" Did you mean 'prototypes'?") == message


@pytest.mark.parametrize(
    "text", ["", "- a", "text", "a: [", "name: !!python/object:x {}", "[" * 3000]
)
def test_other_texts_are_no_profile(text):
    with pytest.raises(ProfileError, match=r"^x\.yaml"):
        parse_profile(text, "x.yaml")


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40), st.integers(0, len(TEXT)))
def test_any_text_gives_a_profile_or_an_error(noise, position):
    with contextlib.suppress(ProfileError):
        parse_profile(TEXT[:position] + noise + TEXT[position:])


def test_every_number_of_a_preset_has_a_rule():
    for name, preset in (("restrict", RestrictPreset), ("modulate", ModulatePreset)):
        assert set(REGULATION[name]) == {item.name for item in fields(preset)}


def test_a_regulator_reads_a_profile_from_a_file(tmp_path, t2i_pipe, t2i_profile):
    bundle = bundle_of(t2i_profile, {"ball": make_scorer(random_weights(t2i_profile), 0)})
    path = tmp_path / "tiny.yaml"
    path.write_text(dump_profile(t2i_profile))
    with Regulator(bundle, profile=path).attach(t2i_pipe) as attachment:
        assert attachment.profile == t2i_profile
    path.write_bytes(b"\xff")
    with pytest.raises(ProfileError, match=r"tiny\.yaml: not UTF-8"):
        Regulator(bundle, profile=path)
    with pytest.raises(NotFoundError, match="No profile file at"):
        load_profile(tmp_path / "none.yaml")
