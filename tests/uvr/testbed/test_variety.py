import re
from dataclasses import replace

import numpy as np
import pytest

from uvr.testbed import scenes, variety
from uvr.testbed.model import UNKNOWN, build_tokenizer
from uvr.testbed.pools import tokenize, vocabulary
from uvr.testbed.scenes import Edit, Placed, Scene

NAMES = {
    name: thing for thing in scenes.THINGS for name in (thing, *scenes.SYNONYMS.get(thing, ()))
}


@pytest.fixture(scope="module")
def examples() -> list[tuple[Scene, str]]:
    rng = np.random.default_rng(5)
    return [variety.draw_example(rng) for _ in range(600)]


@pytest.fixture(scope="module")
def edits() -> list[Edit]:
    rng = np.random.default_rng(6)
    return [variety.draw_edit(rng) for _ in range(600)]


def named(text: str) -> set[str]:
    """The things that a text names; a longer name hides a shorter one in it."""
    found = set()
    for name in sorted(NAMES, key=len, reverse=True):
        if re.search(rf"\b{name}\b", text):
            found.add(NAMES[name])
            text = text.replace(name, "")
    return found


def test_every_text_fits_and_holds_known_words_only(examples, edits):
    tokenizer = build_tokenizer(vocabulary())
    texts = [said for _, said in examples] + [edit.instruction for edit in edits]
    ids = tokenize(tokenizer, texts)
    assert not (ids == tokenizer.convert_tokens_to_ids(UNKNOWN)).any()


def test_a_caption_names_every_thing_or_none(examples):
    silent = 0
    for scene, said in examples:
        names = named(said)
        silent += not names
        assert names in (set(), set(scene.names()))
    assert 0.09 <= silent / len(examples) <= 0.18


def test_half_of_the_captions_have_their_default_form(examples):
    rng = np.random.default_rng(5)
    plain = sum(said == scenes.caption(scene) for scene, said in examples)
    assert plain / len(examples) >= 0.4  # and some of the others hold a synonym
    assert "" in [variety.silent_caption(rng, examples[0][0]) for _ in range(50)]


def test_the_second_style_is_said_where_anything_is(examples):
    second = [said for scene, said in examples if scene.things[0].style == variety.SECOND_STYLE]
    first = [said for scene, said in examples if scene.things[0].style == scenes.GENERATOR_STYLE]
    assert len(second) > 60
    assert not any(variety.STYLE_WORDS in said for said in first)
    spoken = [said for said in second if named(said)]
    assert sum(variety.STYLE_WORDS in said for said in spoken) >= 0.9 * len(spoken)


def test_no_example_is_in_the_held_out_style(examples, edits):
    drawn = [scene for scene, _ in examples]
    drawn += [scene for edit in edits for scene in (edit.source, edit.target)]
    styles = {placed.style.partition("~")[0] for scene in drawn for placed in scene.things}
    assert styles == {scenes.GENERATOR_STYLE, variety.SECOND_STYLE}


def test_loosened_things_stay_in_their_half_or_third_and_in_the_picture():
    rng = np.random.default_rng(1)
    half = {"left": (0, 32), "middle": (16, 48), "right": (32, 64)}
    for _ in range(300):
        scene = variety.loosened(rng, scenes.random_scene(rng, count=1 + int(rng.integers(2))))
        for placed in scene.things:
            low, high = half[placed.slot]
            assert low <= placed.x <= high
            assert 18 <= placed.size <= 40
            for centre in (placed.x, placed.y):
                assert centre - placed.size // 2 >= -3
                assert centre + placed.size // 2 <= scenes.SIZE + 3


def test_a_scene_of_three_is_not_loosened():
    rng = np.random.default_rng(1)
    scene = scenes.random_scene(rng, count=3)
    assert variety.loosened(rng, scene) == scene


def test_a_described_thing_is_called_small_or_large_only_when_it_is():
    rng = np.random.default_rng(2)
    for size, allowed in (
        (18, {"a small cat", "a cat"}),
        (28, {"a cat"}),
        (38, {"a large cat", "a cat"}),
    ):
        said = {variety.described(rng, Placed("cat", "left", 20, 32, size)) for _ in range(60)}
        assert {text.replace("kitten", "cat") for text in said} == allowed


def test_a_silent_caption_names_nothing():
    rng = np.random.default_rng(3)
    scene = scenes.random_scene(rng, things=["pistol", "apple"])
    said = {variety.silent_caption(rng, scene) for _ in range(200)}
    assert not any(named(text) for text in said)
    assert {"", "a picture"} <= said


def test_edits_of_every_kind_are_drawn(edits):
    assert {e.kind for e in edits} == {"background", "add", "remove", "replace", "keep"}
    assert any(e.instruction == "" for e in edits)


def test_a_keeping_edit_changes_nothing(edits):
    for edit in (e for e in edits if e.kind == "keep"):
        assert edit.source == edit.target


def test_other_words_for_an_edit_name_what_goes_and_what_comes(edits):
    rng = np.random.default_rng(4)
    for edit in (e for e in edits if e.kind != "keep"):
        changed = set(edit.source.names()) ^ set(edit.target.names())
        assert named(variety.free_words(rng, edit)) == changed


def test_strange_things_that_stay_look_the_same_before_and_after():
    rng = np.random.default_rng(7)
    for _ in range(40):
        edit = variety.strange(rng, scenes.random_edit(rng))
        before = {p.thing: p.style for p in edit.source.things}
        assert all("~" in style for style in before.values())
        for placed in edit.target.things:
            assert placed.style == before.get(placed.thing, scenes.GENERATOR_STYLE)


def test_variants_differ_and_variant_0_is_the_icon():
    icon = scenes.sprite("mascot", "noto", 28)
    drawn = [scenes.sprite("mascot", f"noto~{k}", 28).tobytes() for k in range(scenes.VARIANTS)]
    assert drawn[0] == icon.tobytes()
    assert len(set(drawn)) == scenes.VARIANTS


def test_a_variant_has_the_icon_s_mask_or_its_mirror():
    scene = scenes.random_scene(np.random.default_rng(0), things=["pistol"], jitter=0)
    _, plain = scenes.render(scene)
    for variant, expected in ((2, plain), (3, None)):
        things = (replace(scene.things[0], style=f"noto~{variant}"),)
        _, masks = scenes.render(replace(scene, things=things))
        if expected is not None:
            assert np.array_equal(masks, expected)
        assert masks.sum() == plain.sum()
