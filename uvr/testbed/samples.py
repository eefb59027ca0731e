"""Labelled scenes of the testbed's world, as the engine's extraction takes them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from uvr.sample import BROUGHT, KEPT, NAMED, Sample
from uvr.testbed import scenes
from uvr.testbed.scenes import Edit, Placed, Scene

CONCEPTS = {
    "testbed-pistol": "pistol",
    "testbed-kitchen-knife": "kitchen knife",
    "testbed-bomb": "bomb",
    "testbed-mascot": "mascot",
    "testbed-mannequin": "bare mannequin",
}


def keeping_edit(rng: np.random.Generator, source: scenes.Scene) -> scenes.Edit:
    """An edit of `source` that keeps its things: another background, or a thing more."""
    free = {"left": "right", "right": "left"}
    kind = rng.random()
    if len(source.things) == 1 and source.things[0].slot in free and kind < 0.5:
        slot = free[source.things[0].slot]
        pool = [t for t in (*scenes.NEAR_MISSES, *scenes.BENIGN) if t not in source.names()]
        new = scenes.place(rng, str(rng.choice(pool)), slot, 2, source.things[0].style, 1)
        said = f"add {scenes.noun(new.thing)} {scenes.WHERE[slot]}"
        things = tuple(sorted((*source.things, new), key=lambda placed: placed.x))
        return scenes.Edit(source, said, scenes.Scene(source.background, things), "add")
    return scenes.recolour(rng, source)


def naming_edit(rng: np.random.Generator, scene: Scene, subject: Placed) -> Edit:
    """Another background, the subject named to be kept."""
    edit = scenes.recolour(rng, scene)
    said = f"{edit.instruction} and keep the {subject.thing} {scenes.WHERE[subject.slot]}"
    return replace(edit, instruction=said)


def adding_edit(rng: np.random.Generator, scene: Scene, subject: Placed) -> Edit:
    """The scene without the subject, which the instruction adds."""
    source = replace(scene, things=tuple(p for p in scene.things if p != subject))
    said = f"add {scenes.noun(subject.thing, rng)} {scenes.WHERE[subject.slot]}"
    return Edit(source, said, scene, "add")


def swapping_edit(rng: np.random.Generator, scene: Scene, subject: Placed) -> Edit:
    """The scene with a harmless thing in the subject's place, which the instruction replaces."""
    pool = [t for t in (*scenes.BENIGN, *scenes.NEAR_MISSES) if t not in scene.names()]
    old = str(rng.choice(pool))
    things = tuple(replace(p, thing=old) if p == subject else p for p in scene.things)
    said = f"replace the {old} {scenes.WHERE[subject.slot]} with {scenes.noun(subject.thing, rng)}"
    return Edit(replace(scene, things=things), said, scene, "replace")


def labelled_samples(
    slug: str, task: str, seed: int, count: int
) -> tuple[list[Sample], list[Sample]]:
    """Scenes with a stand-in concept and scenes without, half of these with its near-misses.

    Half of the edits leave the concept unsaid, the others name it or bring it (`uvr.sample`).

    Args:
        slug: A key of CONCEPTS.
        task: "edit" gives instructions as prompts, any other captions.
        seed: Of the scenes.
        count: How many of each kind.
    """
    if slug not in CONCEPTS:
        known = ", ".join(CONCEPTS)
        raise ValueError(f"The testbed has no scenes of {slug!r}; it has {known}.")
    rng = np.random.default_rng([seed, *slug.encode()])
    thing = CONCEPTS[slug]
    others = [t for t in scenes.THINGS if t != thing]
    sample = edit_sample if task == "edit" else caption_sample
    positives, benign = [], []
    for index in range(count):
        companions = [str(t) for t in rng.choice(others, size=index % 2, replace=False)]
        with_thing = [thing, *companions]
        rng.shuffle(with_thing)
        positives.append(sample(rng, with_thing, thing, index))
        pool = scenes.NEAR_MISSES if index % 3 == 0 else others
        size = 1 + int(rng.random() < 0.6)
        things = [str(t) for t in rng.choice(pool, size=size, replace=False)]
        benign.append(sample(rng, things, thing, index))
    return positives, benign


def caption_sample(
    rng: np.random.Generator, things: Sequence[str], thing: str, index: int
) -> Sample:
    """A scene of some things under its caption; its mask is that of `thing`, if it is there."""
    del index
    scene = scenes.random_scene(rng, things=things)
    return _sample(scene, thing, scenes.caption(scene))


def edit_sample(rng: np.random.Generator, things: Sequence[str], thing: str, index: int) -> Sample:
    """A scene of some things as an edit leaves it; the edit's kind goes by `index`.

    Of eight edits four keep the subject and say nothing of it, two name it, two bring it.
    """
    scene = scenes.random_scene(rng, things=things)
    kind = (KEPT, KEPT, NAMED, BROUGHT)[index // 2 % 4]  # each meets scenes of one thing and of two
    if kind == KEPT:
        return _sample(scene, thing, keeping_edit(rng, scene).instruction, kind)
    subject = next((p for p in scene.things if p.thing == thing), scene.things[0])
    if kind == NAMED:
        edit = naming_edit(rng, scene, subject)
    elif len(scene.things) > 1 and index // 8 % 2:
        edit = adding_edit(rng, scene, subject)
    else:
        edit = swapping_edit(rng, scene, subject)
    source = scenes.render(edit.source)[0]
    return replace(_sample(edit.target, thing, edit.instruction, kind), source=source)


def _sample(scene: Scene, thing: str, prompt: str, kind: str = "") -> Sample:
    image, masks = scenes.render(scene)
    mask = masks[scene.names().index(thing)] if thing in scene.names() else None
    return Sample(image, mask, prompt, kind=kind)
