"""Example pictures drawn by a tiny pipeline, kept and read again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from concepts.anchors import AnchorSpace
from concepts.definition import ConceptDefinition
from concepts.errors import MismatchError
from concepts.scorer import Scorer
from tests.uvr.conftest import (
    HEAD_DIM,
    HEADS,
    STEPS,
    bundle_of,
    make_scorer,
    random_weights,
    space_of,
)
from uvr.anchors.capturing import capture_from_prompts
from uvr.anchors.extract import anchor_space, collect_from_prompts
from uvr.drawing import draw
from uvr.examples.drawing import draw_examples, score_map
from uvr.examples.examples import Examples
from uvr.examples.given import read_given
from uvr.examples.kept import Kept
from uvr.examples.learned import learned_of
from uvr.examples.wanted import UNSEEN_SEED, Origin, origin_of
from uvr.method.taps import at_both

DEFINITION = ConceptDefinition(
    slug="testbed-pistol", name="Ball", category="object", description="A red ball.",
    prompts=("a red ball", "a ball on the left"), near_misses=("a blue ball",),
    benign=("a cup", "a star", "a blue cup"),
)  # fmt: skip
PROVENANCE = {
    "method": "prompts", "prompts": ["a red ball"], "counter_prompts": ["a cup"],
    "seeds_per_prompt": 2, "seed": 0, "size": [32, 32], "steps": STEPS,
}  # fmt: skip


def read(folder: Path, found: Origin, scorer: Scorer, count: int) -> Examples | None:
    about = {"model": found.space.model, "task": found.space.task}
    about |= {"seed": found.seed, "seen": found.seen}
    return Kept(folder).examples(found.wanted(count), scorer, **about)


def origin(space: AnchorSpace, **changes: object) -> Origin:
    found = origin_of(DEFINITION, space, {**PROVENANCE, **changes}, scenes=["testbed-pistol"])
    assert found is not None
    return found


@pytest.fixture
def scorer(t2i_profile) -> Scorer:
    return make_scorer(random_weights(t2i_profile), 1.0, 0.5)


def passes(pipe, work) -> int:
    """How often a pipeline's transformer runs while something works."""
    count = []
    handle = pipe.transformer.register_forward_hook(lambda *_: count.append(1))
    work()
    handle.remove()
    return len(count)


def test_prompts_take_turns_from_seeds_that_no_anchor_came_from(t2i_pipe, t2i_profile):
    found = origin(anchor_space(t2i_pipe, t2i_profile))
    wanted = found.wanted(3)
    assert [(item.kind, item.prompt, item.number) for item in wanted] == [
        ("must-catch", "a red ball", 0), ("must-catch", "a ball on the left", 0),
        ("must-catch", "a red ball", 1),
        ("look-alike", "a blue ball", 0), ("look-alike", "a blue ball", 1),
        ("look-alike", "a blue ball", 2),
        ("benign", "a cup", 0), ("benign", "a star", 0), ("benign", "a blue cup", 0),
    ]  # fmt: skip
    assert (found.seed, found.seen) == (UNSEEN_SEED, False)
    space = anchor_space(t2i_pipe, t2i_profile)
    assert origin(space, seed=UNSEEN_SEED - 1).seed == 2 * UNSEEN_SEED
    again = origin_of(DEFINITION, space, PROVENANCE, seed=3)
    assert again is not None
    assert again.seen


def test_what_was_drawn_is_not_drawn_again_whatever_the_thresholds(
    t2i_pipe, t2i_profile, scorer, tmp_path
):
    wanted = origin(anchor_space(t2i_pipe, t2i_profile)).wanted(2)
    kept = Kept(tmp_path)
    told: list[tuple[int, int]] = []

    def work(scorer: Scorer = scorer) -> None:
        draw_examples(
            t2i_pipe, t2i_profile, wanted, [scorer], kept,
            progress=lambda done, total: told.append((done, total)),
        )  # fmt: skip

    assert passes(t2i_pipe, work) == STEPS  # one batch of six
    assert told == [(done, 6) for done in range(1, 7)]
    assert passes(t2i_pipe, work) == 0
    stricter = replace(scorer, seed_threshold=0.6)
    assert passes(t2i_pipe, lambda: work(stricter)) == 0
    next(tmp_path.rglob("*.png")).unlink()
    assert kept.lacking(wanted, [scorer]) != []
    assert passes(t2i_pipe, work) == STEPS
    assert kept.lacking(wanted, [scorer]) == []


def test_examples_are_read_as_they_were_drawn(t2i_pipe, t2i_profile, scorer, tmp_path):
    found = origin(anchor_space(t2i_pipe, t2i_profile))
    assert read(tmp_path, found, scorer, 2) is None
    draw_examples(t2i_pipe, t2i_profile, found.wanted(2), [scorer], Kept(tmp_path))
    examples = read(tmp_path, found, scorer, 2)
    assert examples is not None
    assert (examples.model, examples.task, examples.threshold, examples.grow) == (
        "tiny", "t2i", 1.0, 0.5,
    )  # fmt: skip
    assert [item.prompt for item in examples.all] == [item.prompt for item in found.wanted(2)]
    assert all(item.score == item.scores.max() for item in examples.all)
    next(tmp_path.rglob("*.json")).write_text("{")
    assert read(tmp_path, found, scorer, 2) is None


def test_a_picture_is_scored_as_an_engine_scores_it(t2i_pipe, t2i_profile, scorer, tmp_path):
    found = origin(anchor_space(t2i_pipe, t2i_profile))
    draw_examples(t2i_pipe, t2i_profile, found.wanted(1), [scorer], Kept(tmp_path))
    examples = read(tmp_path, found, scorer, 1)
    assert examples is not None
    (example,) = examples.must_catch
    silent = bundle_of(t2i_profile, {"ball": replace(scorer, seed_threshold=1e6)})
    request = {"prompt": "a red ball"}
    image, report = draw(t2i_pipe, t2i_profile, request, seed=found.seed, bundle=silent)
    ((finding,),) = report.images
    np.testing.assert_allclose(example.scores, finding.scores, rtol=1e-4, atol=1e-4)
    assert example.score == pytest.approx(finding.score, abs=1e-4)
    with Image.open(example.picture) as picture:
        difference = np.abs(np.asarray(picture, dtype=int) - np.asarray(image, dtype=int))
    assert difference.max() <= 1  # drawn in a batch of three


def test_scenes_are_looked_at_with_what_the_edit_began_with(edit_pipe, edit_profile, tmp_path):
    profile = replace(edit_profile, taps=at_both(edit_profile.taps))
    width = 2 * len(edit_profile.taps) * HEADS * HEAD_DIM
    weights = np.zeros((1, width))
    weights[0, width // 2 :] = 1.0  # of the given picture alone
    scorer = make_scorer(weights, 1.0)
    found = origin(anchor_space(edit_pipe, profile), method="images")
    assert found.source == "scenes"
    draw_examples(edit_pipe, profile, found.wanted(2), [scorer], Kept(tmp_path))
    examples = read(tmp_path, found, scorer, 2)
    assert examples is not None
    assert [example.shown is not None for example in examples.all] == [True] * 2 + [False] * 4
    assert all(example.source is not None for example in examples.all)
    assert len({example.score for example in examples.all}) == 6


def test_given_pictures_are_scored_and_named_and_look_alikes_told_apart(
    t2i_pipe, t2i_profile, scorer, tmp_path
):
    art, other = tmp_path / "art", tmp_path / "other"
    for place in (art / "1.png", other / "2.png", other / "near-miss" / "3.png"):
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 32), (40 * int(place.stem), 90, 120)).save(place)
    given = read_given(art, other, DEFINITION, anchor_space(t2i_pipe, t2i_profile), (32, 32))
    wanted, kept = [item for item, _ in given], Kept(tmp_path / "cache")
    draw_examples(t2i_pipe, t2i_profile, wanted, [scorer], kept, given=dict(given))
    examples = kept.examples(wanted, scorer, model="tiny", task="t2i")
    assert examples is not None
    assert [(item.kind, Path(item.name).name) for item in examples.all] == [
        ("must-catch", "1.png"), ("look-alike", "3.png"), ("benign", "2.png"),
    ]  # fmt: skip


def test_pictures_of_other_weights_are_refused(t2i_pipe, t2i_profile, scorer, tmp_path):
    wanted = origin(anchor_space(t2i_pipe, t2i_profile)).wanted(1)
    with torch.no_grad():
        t2i_pipe.transformer.proj_out.weight.mul_(2)
    with pytest.raises(MismatchError, match="The examples are of other weights, taps or noise"):
        draw_examples(t2i_pipe, t2i_profile, wanted, [scorer], Kept(tmp_path))


def test_what_was_stopped_goes_on_where_it_was(t2i_pipe, t2i_profile, scorer, tmp_path):
    wanted = origin(anchor_space(t2i_pipe, t2i_profile)).wanted(2)

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_examples(t2i_pipe, t2i_profile, wanted, [scorer], Kept(tmp_path), stop)
    assert draw_examples(t2i_pipe, t2i_profile, wanted, [scorer], Kept(tmp_path)) == 2


def test_what_a_version_learned_from_is_drawn_again_from_the_same_noise(
    t2i_pipe, t2i_profile, scorer, tmp_path
):
    definition = replace(DEFINITION, parameters={"seeds_per_prompt": 2})
    anchors = collect_from_prompts(t2i_pipe, t2i_profile, definition, seed=5)
    prompts = [p for p in (*definition.prompts, *definition.near_misses, *definition.benign)
               for _ in range(2)]  # fmt: skip
    look, _ = capture_from_prompts(t2i_pipe, t2i_profile, prompts, seed=5)
    learned = learned_of("ball", anchors.space, anchors.provenance)
    assert learned is not None
    wanted = learned.wanted(2)
    assert [(item.kind, item.prompt, item.number) for item in wanted] == [
        ("must-catch", "a red ball", 0), ("must-catch", "a ball on the left", 2),
        ("look-alike", "a blue ball", 4), ("look-alike", "a blue ball", 5),
        ("benign", "a cup", 6), ("benign", "a star", 9),
    ]  # fmt: skip
    draw_examples(t2i_pipe, t2i_profile, wanted, [scorer], Kept(tmp_path))
    for item in wanted:
        collected = score_map(look[item.number], scorer, t2i_profile, (8, 8), given=False)
        kept = Kept(tmp_path).example(item, scorer)
        np.testing.assert_allclose(kept.scores, collected, rtol=1e-4, atol=1e-4)


def test_scenes_that_were_collected_are_told_from_given_pictures_by_their_number(edit_profile):
    space = space_of(edit_profile)
    about = {**PROVENANCE, "method": "images", "positives": 400, "benign": 800}
    learned = learned_of("testbed-pistol", space, about, ["testbed-pistol"])
    assert learned is not None
    assert [(item.kind, item.number) for item in learned.wanted(2)] == [
        ("must-catch", 0), ("must-catch", 200), ("benign", 400), ("benign", 800),
    ]  # fmt: skip
    assert learned_of("testbed-pistol", space, {**about, "benign": 7}, ["testbed-pistol"]) is None
