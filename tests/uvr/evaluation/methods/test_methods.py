"""Methods on tiny pipelines, and the manual's examples of a method and of attacks."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.uvr.conftest import bundle_of, call_pipe, make_scorer, random_weights
from uvr.evaluation.cases import Case, picture_digest
from uvr.evaluation.catalogue import identity_of
from uvr.evaluation.drawing import Picture, refused
from uvr.evaluation.methods.judged import OursJudged
from uvr.evaluation.methods.known import METHODS
from uvr.evaluation.methods.ours import Ours
from uvr.evaluation.methods.stock import Stock
from uvr.evaluation.setting import Setting

ROOT = Path(__file__).parents[4]
CASES = [Case("t2i", "any", prompt, seed) for seed, prompt in enumerate(["a red cup", "a ball"])]


def digests(pictures: Sequence[Picture]) -> list[str]:
    return [picture_digest(picture.image) for picture in pictures]


@pytest.fixture
def stock(t2i_pipe) -> list[str]:
    prompts, seeds = [case.prompt for case in CASES], [case.seed for case in CASES]
    return [picture_digest(image)
            for image in call_pipe(t2i_pipe, prompts, seeds, output_type="pil")]  # fmt: skip


def test_stock_draws_what_the_pipeline_draws_and_a_silent_regulator_the_same(
    t2i_pipe, t2i_profile, silent, stock
):
    setting = Setting("t2i", t2i_profile, (), silent(t2i_profile))
    for method in (Stock(), Ours()):
        with method.open(t2i_pipe, setting) as draw:
            assert digests(draw(CASES)) == stock


def test_a_regulated_picture_says_what_fired_and_where(t2i_pipe, t2i_profile, stock):
    bundle = bundle_of(t2i_profile, {"ball": make_scorer(random_weights(t2i_profile), -1e9)})
    with Ours().open(t2i_pipe, Setting("t2i", t2i_profile, (), bundle)) as draw:
        pictures = draw(CASES)
    assert digests(pictures) != stock
    for picture in pictures:
        assert picture.fired == ("ball",)
        assert picture.mask.all()
        assert picture.scores["ball"].shape == picture.mask.shape
        assert picture.verdict.outcome == "regulated"


class WhiteJudge:
    """Sees a ball in every picture."""

    name, version, thresholds = "white", "1", {"ball": 0.5}

    def scores(self, pictures: Sequence[Image.Image]) -> list[dict[str, float]]:
        return [{"ball": 1.0} for _ in pictures]


def test_both_checks_look_at_finished_pictures_and_what_is_drawn_depends_on_the_judge(
    t2i_pipe, t2i_profile, silent
):
    late = replace(t2i_profile, task="check", sigma=0.15)
    scorer = make_scorer(random_weights(late, 5), 1e9)
    (check,) = bundle_of(late, {"ball": scorer}).variants
    usual = bundle_of(t2i_profile, {"ball": make_scorer(random_weights(t2i_profile), 1e9)})
    bundle = replace(usual, variants=(*usual.variants, check), digest="")
    setting = Setting("t2i", t2i_profile, (), bundle, (WhiteJudge(),))
    method = OursJudged(on_residual="block", judge="white")
    assert [judge.name for judge in method.judges(setting)] == ["white"]
    assert method.regulator(setting).checks.features
    with method.open(t2i_pipe, setting) as draw:
        verdicts = [picture.verdict for picture in draw(CASES)]
    assert [(v.outcome, v.evidence[-1].stage) for v in verdicts] == [("blocked", "judge")] * 2


def test_a_case_s_tensors_and_arguments_reach_the_call(t2i_pipe, t2i_profile):
    setting = Setting("t2i", t2i_profile, ())
    with Stock().open(t2i_pipe, setting) as draw:
        noise = torch.randn(1, 64, 16, generator=torch.Generator().manual_seed(9))
        given = [replace(case, tensors={"latents": noise}) for case in CASES]
        other_seeds = [replace(case, seed=case.seed + 5) for case in given]
        assert digests(draw(given)) == digests(draw(other_seeds)) != digests(draw(CASES))
        few = [replace(case, call={"num_inference_steps": 2}) for case in CASES]
        assert digests(draw(few)) != digests(draw(CASES))


def test_a_picture_that_is_refused_is_grey_and_says_why(t2i_profile):
    picture = refused(CASES[0], t2i_profile, "The prompt says ball.")
    assert (np.asarray(picture.image) == 128).all()
    assert picture.image.size == (32, 32)
    assert (picture.verdict.outcome, picture.verdict.reason) == ("blocked", "The prompt says ball.")


def test_a_method_s_identity_changes_with_its_parameters_and_its_code(monkeypatch):
    assert identity_of(Ours()) == identity_of(Ours())
    assert identity_of(Ours()) != identity_of(Ours(strength=0.5))
    assert "uvr.engine" in identity_of(Ours())["code"]
    assert list(identity_of(Stock())["code"]) == ["uvr.evaluation.methods.stock"]


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_says_what_it_is_and_how_it_was_tuned(name):
    method = METHODS.make(name)
    for text in (method.about, method.tuned):
        assert text.endswith(".")


def test_the_manual_s_table_has_every_method():
    text = (ROOT / "docs" / "evaluation.md").read_text()
    part = text.split("\n## The methods\n")[1].split("\n## ")[0]
    assert sorted(re.findall(r"^\| `([a-z-]+)` \|", part, re.MULTILINE)) == sorted(METHODS.names())


# What the manual's examples leave out.
IMPORTS = """
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uvr.evaluation.attacks.attack import Attack
from uvr.evaluation.cases import Case
from uvr.evaluation.drawing import Drawer, Picture, call_arguments
from uvr.evaluation.methods.method import Method
from uvr.evaluation.methods.texts import name_of
from uvr.evaluation.setting import Setting
"""


def examples() -> dict[str, Any]:
    """The manual's examples of methods and attacks, as it prints them."""
    text = (ROOT / "docs" / "evaluation.md").read_text()
    own = r"^```python\n(# needs: (?:its place|a class).*?)^```$"
    method, few, turns = re.findall(own, text, re.MULTILINE | re.DOTALL)
    found: dict[str, Any] = {}
    exec(IMPORTS, found)
    for block in (method, few, f"class TwoTurns(Attack):\n    name = 'two turns'\n{turns}"):
        exec(compile(block, "evaluation.md", "exec"), found)
    return found


def test_the_manual_s_examples_of_a_method_and_attacks_draw(t2i_pipe, t2i_profile, stock):
    found = examples()
    setting = Setting("t2i", t2i_profile, ())
    with found["NegativePrompt"]().open(t2i_pipe, setting) as draw:
        assert digests(draw(CASES)) != stock
    few = found["FewerSteps"](steps=2).cases(CASES, setting)
    assert [case.call for case in few] == [{"num_inference_steps": 2}] * 2


def test_the_manual_s_attack_of_two_turns_edits_what_was_drawn(edit_pipe, edit_profile):
    cases = [replace(case, task="edit", source=Image.new("RGB", (32, 32), "red")) for case in CASES]
    with examples()["TwoTurns"]().open(
        edit_pipe, Stock(), Setting("edit", edit_profile, ())
    ) as draw:
        pictures = draw(cases)
    assert len(pictures) == 2
