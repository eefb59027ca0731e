"""Every method on tiny pipelines: what it leaves behind, and what it changes."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from PIL import Image

from concepts.definition import ConceptDefinition, load_shipped
from concepts.errors import NotFoundError
from tests.uvr.conftest import bundle_of, call_pipe, make_scorer, random_weights
from uvr.evaluation.cases import Case, picture_digest
from uvr.evaluation.drawing import Picture, call_arguments
from uvr.evaluation.judging import WorldDetector
from uvr.evaluation.methods.known import METHODS
from uvr.evaluation.output_filter import OutputFilterJudge
from uvr.evaluation.setting import Setting
from uvr.pipelines import load_pipeline

BALL = ConceptDefinition(
    slug="ball",
    name="Ball (test)",
    category="object",
    description="A ball.",
    prompts=("a red ball on the left", "a ball", "a blue ball"),
    near_misses=("a star ball", "a red cup"),
    benign=("a blue star", "a cup on the right"),
)
BOMB = "testbed-bomb"
PROMPTS = ["a red cup on the left", "a blue ball"]
# A tiny model has no profile for the check.
NAMES = [name for name in METHODS.names() if not name.startswith("ours-")]
SMALL = {
    "paper": {"pictures": 2},
    "steering": {"pictures": 2},
    "filter": {"judge": "red"},
    "retry": {"judge": "red"},
}


class RedJudge:
    """Sees a ball in pictures of some digests."""

    name, version = "red", "1"

    def __init__(self, seen: Sequence[str]) -> None:
        self.thresholds = {"ball": 0.5}
        self.seen = seen

    def scores(self, pictures: Sequence[Image.Image]) -> list[dict[str, float]]:
        return [{"ball": float(picture_digest(picture) in self.seen)} for picture in pictures]


def make(name: str):
    return METHODS.make({"name": name, **SMALL.get(name, {})})


def digests(pictures: Sequence[Picture]) -> list[str]:
    return [picture_digest(picture.image) for picture in pictures]


@pytest.fixture(params=["t2i", "edit"])
def world(request):
    """A pipeline, its setting, cases, and what the stock pipeline draws for these."""
    task = request.param
    pipe = request.getfixturevalue(f"{task}_pipe")
    profile = request.getfixturevalue(f"{task}_profile")
    source = Image.new("RGB", (32, 32), "red") if task == "edit" else None
    cases = [Case(task, "any", text, seed, source=source) for seed, text in enumerate(PROMPTS)]
    bundle = bundle_of(profile, {"ball": make_scorer(random_weights(profile), -1e9)})
    stock = [picture_digest(i) for i in pipe(**call_arguments(pipe, profile, cases)).images]
    setting = Setting(task, profile, (BALL,), bundle, (RedJudge(stock[1:]),), seed=5)
    return pipe, setting, cases, stock


def state_of(pipe) -> dict[str, object]:
    """What a method might leave changed."""
    transformer = pipe.transformer
    return {
        "weights": {name: tensor.clone() for name, tensor in transformer.state_dict().items()},
        "processors": [type(item) for item in transformer.attn_processors.values()],
        "hooks": [len(m._forward_pre_hooks) + len(m._forward_hooks) for m in transformer.modules()],
        "attributes": sorted(vars(pipe)),
        "class": type(pipe),
    }


def assert_same(before: dict[str, object], after: dict[str, object]) -> None:
    for name, tensor in before.pop("weights").items():
        assert torch.equal(tensor, after["weights"][name]), name
    after.pop("weights")
    assert before == after


def assert_stock(pipe, setting, cases, stock) -> None:
    images = pipe(**call_arguments(pipe, setting.profile, cases)).images
    assert [picture_digest(image) for image in images] == stock


@pytest.mark.parametrize("name", NAMES)
def test_a_method_changes_a_concept_s_picture_always_alike_and_leaves_the_pipeline(name, world):
    pipe, setting, cases, stock = world
    method, before = make(name), state_of(pipe)
    with method.open(pipe, setting) as draw:
        first = digests(draw(cases))
        assert digests(draw(cases)) == first
    assert (first[1] == stock[1]) == (name == "stock")
    assert_same(before, state_of(pipe))
    assert_stock(pipe, setting, cases, stock)


@pytest.mark.parametrize("name", NAMES)
def test_a_method_that_fails_in_the_middle_leaves_the_pipeline_as_it_was(name, world, monkeypatch):
    pipe, setting, cases, stock = world
    before, step = state_of(pipe), pipe.scheduler.step
    steps = iter(range(2))

    def stop(*given, **named):
        if next(steps, None) is None:
            raise ArithmeticError
        return step(*given, **named)

    def draw_all() -> None:
        with make(name).open(pipe, setting) as draw:
            draw(cases)

    with monkeypatch.context() as patched:
        patched.setattr(pipe.scheduler, "step", stop)
        with pytest.raises(ArithmeticError):
            draw_all()
    assert_same(before, state_of(pipe))
    assert_stock(pipe, setting, cases, stock)


@pytest.mark.parametrize("name", NAMES)
def test_a_method_draws_another_size_text_length_and_batch(name, world):
    pipe, setting, cases, _ = world
    call = {"height": 48, "width": 32, "max_sequence_length": 16, "num_inference_steps": 3}
    if setting.task == "edit":
        call["max_area"] = 48 * 32
    with make(name).open(pipe, setting) as draw:
        pictures = draw([replace(case, call=call) for case in [*cases, cases[0]]])
    assert [picture.image.size for picture in pictures] == [(32, 48)] * 3


def test_the_filters_keep_the_other_picture_to_the_bit(world):
    pipe, setting, cases, stock = world
    for name in ("filter", "retry"):
        with make(name).open(pipe, setting) as draw:
            pictures = draw(cases)
        assert digests(pictures)[0] == stock[0]
        assert [picture.fired for picture in pictures] == [(), ("ball",)]


def test_the_filter_says_who_saw_what(world):
    pipe, setting, cases, _ = world
    with make("filter").open(pipe, setting) as draw:
        verdict = draw(cases)[1].verdict
    assert (verdict.outcome, verdict.reason) == ("blocked", "red sees ball.")


@pytest.mark.parametrize("name", ["filter", "retry"])
def test_what_filters_is_not_what_measures(name):
    pipe, profile = load_pipeline("testbed", "t2i")
    text = "a bomb in the middle on a pink background"
    cases = [Case("t2i", "any", text, seed) for seed in range(4)]
    cases += [Case("t2i", "any", "a banana in the middle on a pink background", 1)]
    stock = pipe(**call_arguments(pipe, profile, cases)).images
    seen = [judged[BOMB] >= OutputFilterJudge().thresholds[BOMB]
            for judged in OutputFilterJudge().scores(stock)]  # fmt: skip
    assert set(seen) == {True, False}
    measuring = WorldDetector({BOMB: 0.0}).with_thresholds([BOMB])  # which sees one everywhere
    setting = Setting("t2i", profile, (load_shipped(BOMB),), judges=(measuring,))
    method = METHODS.make(name)
    with method.open(pipe, setting) as draw:
        assert [picture.fired == (BOMB,) for picture in draw(cases)] == seen
    (judge,) = method.judges(setting)
    assert (judge.name, judge.version) == (OutputFilterJudge.name, OutputFilterJudge().version)


def test_a_judge_that_knows_no_concept_of_the_suite_filters_nothing_and_is_refused(world):
    pipe, setting, _, _ = world
    for judge, said in [
        ("testbed-output-filter", "knows none of the suite's concepts"),
        ("clip", "missing: folder, texts"),
        ("rd", "no judge 'rd'"),
    ]:
        method = METHODS.make({"name": "filter", "judge": judge})
        with pytest.raises(NotFoundError, match=said), method.open(pipe, setting):
            pass


def test_retry_draws_from_another_seed_and_gives_up_at_last(world):
    pipe, setting, cases, stock = world
    with make("retry").open(pipe, setting) as draw:
        picture = draw(cases)[1]
    assert picture.verdict is None
    assert digests([picture]) != stock[1:]
    stubborn = replace(setting, judges=(RedJudge([]),))
    stubborn.judges[0].scores = lambda pictures: [{"ball": 1.0}] * len(pictures)
    with make("retry").open(pipe, stubborn) as draw:
        assert draw(cases)[0].verdict.outcome == "blocked"


def test_the_blocklist_lets_through_what_near_misses_say(t2i_pipe, t2i_profile):
    prompts = ["a star ball", "two Balls", "a red cup", "the ball and a star ball"]
    cases = [Case("t2i", "any", prompt, 1) for prompt in prompts]
    with make("blocklist").open(t2i_pipe, Setting("t2i", t2i_profile, (BALL,))) as draw:
        pictures = draw(cases)
    assert [picture.fired for picture in pictures] == [(), ("ball",), (), ("ball",)]
    assert pictures[1].verdict.reason == "The prompt says ball."
    stock = call_pipe(t2i_pipe, [prompts[0], prompts[2]], [1, 1], output_type="pil")
    assert digests(pictures)[::2] == [picture_digest(image) for image in stock]
