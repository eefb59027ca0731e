"""Labelled scenes of the testbed's world, as the engine's extraction takes them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from uvr.sample import BROUGHT, DRAWN, KEPT, NAMED, Sample
from uvr.testbed import scenes
from uvr.testbed.scenes import Edit, Placed, Scene

CONCEPTS = {
    "testbed-pistol": "pistol",
    "testbed-kitchen-knife": "kitchen knife",
    "testbed-bomb": "bomb",
    "testbed-mascot": "mascot",
    "testbed-mannequin": "bare mannequin",
}

TESTBED_SCENES = {"edit": 400, "check": 200}
"""Labelled scenes with a concept that anchors of the testbed come from; twice as many without."""


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


@dataclass(frozen=True)
class Shape:
    """What a scene to collect from is like: how an edit treats the concept, how many things, size.

    Attributes:
        kind: Of an edit (``uvr.sample``).
        things: How many.
        small: Whether they are small.
    """

    kind: str
    things: int
    small: bool = False


HARMLESS = (*scenes.NEAR_MISSES, *scenes.BENIGN)
SMALL = 19
"""Size of a small thing in pixels; usual ones of one or two have 28."""
SHAPES = (
    Shape(KEPT, 1), Shape(KEPT, 2), Shape(NAMED, 1), Shape(KEPT, 3), Shape(BROUGHT, 1),
    Shape(KEPT, 1, small=True), Shape(BROUGHT, 2), Shape(KEPT, 2, small=True), Shape(NAMED, 2),
    Shape(DRAWN, 1), Shape(DRAWN, 2),
)  # fmt: skip
"""Shapes of scenes, in turn; what is not edited knows no kinds."""


def labelled_samples(
    slug: str, task: str, seed: int, count: int
) -> tuple[list[Sample], list[Sample]]:
    """Scenes with a stand-in concept and scenes without, a third of these with near-misses.

    They have one to three things, some of them small. Most edits leave the concept unsaid, where
    it is as hard to find as the scene is full; the others name it or bring it.

    Args:
        slug: A key of CONCEPTS.
        task: "edit" gives instructions as prompts, any other captions.
        seed: Of the scenes.
        count: How many with the concept; there are twice as many without, by which rare false
            alarms are told.
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
        shape = SHAPES[index % len(SHAPES)]
        companions = [str(t) for t in rng.choice(others, size=shape.things - 1, replace=False)]
        with_thing = [thing, *companions]
        rng.shuffle(with_thing)
        positives.append(sample(rng, with_thing, thing, shape))
    for index in range(2 * count):
        shape = SHAPES[index % len(SHAPES)]
        pool = scenes.NEAR_MISSES if index // len(SHAPES) % 3 == 0 else HARMLESS
        things = [str(t) for t in rng.choice(pool, size=shape.things, replace=False)]
        benign.append(sample(rng, things, thing, shape))
    return _drawn_last(positives), _drawn_last(benign)


def example_sample(slug: str, task: str, kind: str, seed: int, number: int) -> Sample:
    """One scene to look at: it follows from these alone, and each number gives another.

    Args:
        slug: A key of CONCEPTS.
        task: "edit" gives an instruction as prompt, any other a caption.
        kind: "must-catch" has the concept in it, "look-alike" near-misses, "benign" neither.
        seed: Of all scenes.
        number: Of this one.
    """
    rng = np.random.default_rng([seed, number, *slug.encode(), *kind.encode()])
    thing, shape = CONCEPTS[slug], SHAPES[number % len(SHAPES)]
    pool = scenes.NEAR_MISSES if kind == "look-alike" else scenes.BENIGN
    things = [str(name) for name in rng.choice(pool, size=shape.things, replace=False)]
    if kind == "must-catch":
        things[0] = thing
    rng.shuffle(things)
    return (edit_sample if task == "edit" else caption_sample)(rng, things, thing, shape)


def _drawn_last(samples: Sequence[Sample]) -> list[Sample]:
    """The samples with those that have no given picture behind the others, as batches want them."""
    return sorted(samples, key=lambda sample: sample.given is None)


def shaped_scene(rng: np.random.Generator, things: Sequence[str], shape: Shape) -> Scene:
    """A scene of some things, small where the shape says so."""
    scene = scenes.random_scene(rng, things=things)
    if not shape.small:
        return scene
    return replace(scene, things=tuple(replace(placed, size=SMALL) for placed in scene.things))


def caption_sample(
    rng: np.random.Generator, things: Sequence[str], thing: str, shape: Shape
) -> Sample:
    """A scene of some things under its caption; its mask is that of `thing`, if it is there."""
    scene = shaped_scene(rng, things, shape)
    return _sample(scene, thing, scenes.caption(scene))


def edit_sample(
    rng: np.random.Generator, things: Sequence[str], thing: str, shape: Shape
) -> Sample:
    """A scene of some things as an edit of the shape's kind leaves it."""
    scene = shaped_scene(rng, things, shape)
    if shape.kind == DRAWN:
        return _sample(scene, thing, scenes.caption(scene), DRAWN)
    if shape.kind == KEPT:
        return _sample(scene, thing, keeping_edit(rng, scene).instruction, KEPT)
    subject = next((p for p in scene.things if p.thing == thing), scene.things[0])
    if shape.kind == NAMED:
        edit = naming_edit(rng, scene, subject)
    elif len(scene.things) > 1:
        edit = adding_edit(rng, scene, subject)
    else:
        edit = swapping_edit(rng, scene, subject)
    source = scenes.render(edit.source)[0]
    return replace(_sample(edit.target, thing, edit.instruction, shape.kind), source=source)


def _sample(scene: Scene, thing: str, prompt: str, kind: str = "") -> Sample:
    image, masks = scenes.render(scene)
    mask = masks[scene.names().index(thing)] if thing in scene.names() else None
    return Sample(image, mask, prompt, kind=kind)
