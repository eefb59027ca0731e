import numpy as np
import pytest
from PIL import Image

from uvr.testbed import MAX_SEQUENCE_LENGTH, scenes
from uvr.testbed.model import EOS, PAD, UNKNOWN, build_tokenizer
from uvr.testbed.pools import tokenize, vocabulary

KINDS = {"background", "add", "remove", "replace"}


@pytest.fixture(scope="module")
def edits() -> list[scenes.Edit]:
    rng = np.random.default_rng(5)
    return [scenes.random_edit(rng) for _ in range(300)]


def names_for(thing: str) -> list[str]:
    return [thing, *scenes.SYNONYMS.get(thing, ())]


def layer(placed: scenes.Placed) -> np.ndarray:
    """How much of each pixel a thing covers, from 0 to 255."""
    icon = scenes.sprite(placed.thing, placed.style, placed.size)
    canvas = Image.new("L", (scenes.SIZE, scenes.SIZE))
    half = placed.size // 2
    canvas.paste(icon.getchannel("A"), (placed.x - half, placed.y - half))
    return np.asarray(canvas)


@pytest.mark.parametrize("style", scenes.STYLES)
@pytest.mark.parametrize("thing", scenes.THINGS)
def test_mask_covers_where_the_picture_differs_from_the_background(thing, style):
    # On two backgrounds: a thing may share the colour of one of them.
    rng = np.random.default_rng(0)
    scene = scenes.random_scene(rng, things=[thing], style=style)
    differs = np.zeros((scenes.SIZE, scenes.SIZE), dtype=bool)
    for colour in ("cyan", "brown"):
        image, masks = scenes.render(scenes.Scene(colour, scene.things))
        pixels = np.asarray(image)
        differs |= (pixels != scenes.BACKGROUNDS[colour]).any(axis=2)
    alpha = layer(scene.things[0])
    assert masks.shape == (1, scenes.SIZE, scenes.SIZE)
    assert masks[0].sum() > 50
    assert not (masks[0] & ~differs).any()
    assert not (differs & (alpha == 0)).any()
    assert np.array_equal(masks[0], alpha > 127)


def test_each_thing_has_a_mask_in_its_own_slot_in_the_order_of_the_scene():
    scene = scenes.random_scene(np.random.default_rng(1), things=["bomb", "apple", "fork"])
    _, masks = scenes.render(scene)
    centres = [np.nonzero(mask)[1].mean() for mask in masks]
    assert [placed.slot for placed in scene.things] == ["left", "middle", "right"]
    for placed, centre in zip(scene.things, centres, strict=True):
        assert abs(centre - placed.x) <= 2


def test_a_picture_without_its_things_is_plain_background():
    scene = scenes.random_scene(np.random.default_rng(2), count=3)
    image, _ = scenes.render(scene)
    bare = np.all([layer(placed) == 0 for placed in scene.things], axis=0)
    colours = np.unique(np.asarray(image)[bare], axis=0)
    assert colours.tolist() == [list(scenes.BACKGROUNDS[scene.background])]


def test_scenes_and_edits_are_the_same_for_the_same_seed():
    def draw(seed: int) -> tuple[list[scenes.Scene], list[scenes.Edit], list[str]]:
        rng = np.random.default_rng(seed)
        drawn = [scenes.random_scene(rng) for _ in range(20)]
        edits = [scenes.random_edit(rng) for _ in range(20)]
        return drawn, edits, [scenes.caption(scene, rng) for scene in drawn]

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)


def test_the_same_scene_renders_to_the_same_bytes():
    scene = scenes.random_scene(np.random.default_rng(6), count=2)
    first, second = scenes.render(scene), scenes.render(scene)
    assert first[0].tobytes() == second[0].tobytes()
    assert np.array_equal(first[1], second[1])


def test_caption_names_each_thing_with_its_place_and_the_background():
    things = ["pistol", "apple"]
    scene = scenes.random_scene(np.random.default_rng(0), things=things)
    assert scenes.caption(scene) == (
        f"a pistol on the left and an apple on the right on a {scene.background} background"
    )


def test_captions_with_synonyms_still_name_each_thing_and_place():
    rng = np.random.default_rng(8)
    for _ in range(200):
        scene = scenes.random_scene(rng)
        said = scenes.caption(scene, rng)
        for placed in scene.things:
            where = scenes.WHERE[placed.slot]
            assert any(f"{name} {where}" in said for name in names_for(placed.thing))
        assert said.endswith(f"on a {scene.background} background")


def test_edits_are_of_every_kind(edits):
    assert {edit.kind for edit in edits} == KINDS


def test_background_edit_changes_the_background_and_nothing_else(edits):
    for edit in (e for e in edits if e.kind == "background"):
        assert edit.target.background != edit.source.background
        assert edit.target.things == edit.source.things
        assert edit.instruction == f"make the background {edit.target.background}"


def test_add_edit_adds_the_thing_it_names_where_it_says(edits):
    for edit in (e for e in edits if e.kind == "add"):
        (new,) = set(edit.target.things) - set(edit.source.things)
        assert set(edit.source.things) < set(edit.target.things)
        assert edit.target.background == edit.source.background
        said = [f"add {scenes.noun(n)} {scenes.WHERE[new.slot]}" for n in names_for(new.thing)]
        assert edit.instruction in said


def test_remove_edit_removes_the_thing_it_names(edits):
    for edit in (e for e in edits if e.kind == "remove"):
        (gone,) = set(edit.source.things) - set(edit.target.things)
        assert set(edit.target.things) < set(edit.source.things)
        assert edit.target.background == edit.source.background
        said = [f"remove the {name} {scenes.WHERE[gone.slot]}" for name in names_for(gone.thing)]
        assert edit.instruction in said


def test_replace_edit_puts_the_new_thing_into_the_old_one_s_place(edits):
    for edit in (e for e in edits if e.kind == "replace"):
        (old,) = set(edit.source.things) - set(edit.target.things)
        (new,) = set(edit.target.things) - set(edit.source.things)
        assert new.thing not in edit.source.names()
        assert (new.slot, new.x, new.y, new.size) == (old.slot, old.x, old.y, old.size)
        assert edit.target.background == edit.source.background
        said = [
            f"replace the {name} {scenes.WHERE[old.slot]} with {scenes.noun(other)}"
            for name in names_for(old.thing)
            for other in names_for(new.thing)
        ]
        assert edit.instruction in said


def test_replace_edit_is_rendered_outside_both_things_as_before(edits):
    for edit in [e for e in edits if e.kind == "replace"][:10]:
        before, after = (np.asarray(scenes.render(s)[0]) for s in (edit.source, edit.target))
        changed = set(edit.source.things) ^ set(edit.target.things)
        outside = np.all([layer(placed) == 0 for placed in changed], axis=0)
        assert np.array_equal(before[outside], after[outside])


def test_every_text_fits_and_holds_known_words_only(edits):
    rng = np.random.default_rng(9)
    texts = [scenes.caption(scenes.random_scene(rng), rng) for _ in range(300)]
    texts += [scenes.caption(scenes.random_scene(rng, count=3), rng) for _ in range(100)]
    texts += [edit.instruction for edit in edits]
    texts += [scenes.noun(name) for thing in scenes.THINGS for name in names_for(thing)]
    tokenizer = build_tokenizer(vocabulary())
    ids = tokenize(tokenizer, texts)
    unknown, end, pad = tokenizer.convert_tokens_to_ids([UNKNOWN, EOS, PAD])
    assert ids.shape == (len(texts), MAX_SEQUENCE_LENGTH)
    assert not (ids == unknown).any()
    assert ((ids == end).sum(dim=1) == 1).all()
    assert ((ids != pad).sum(dim=1) <= MAX_SEQUENCE_LENGTH).all()


def test_a_text_that_does_not_fit_is_refused():
    tokenizer = build_tokenizer(["star"])
    with pytest.raises(ValueError, match=f"{MAX_SEQUENCE_LENGTH} fit"):
        tokenize(tokenizer, ["star " * (MAX_SEQUENCE_LENGTH + 1)])
