"""Labelled scenes of the testbed's world, as the engine's extraction takes them."""

import numpy as np

from uvr.sample import Sample
from uvr.testbed import scenes

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


def labelled_samples(
    slug: str, task: str, seed: int, count: int
) -> tuple[list[Sample], list[Sample]]:
    """Scenes with a stand-in concept and scenes without, half of these with its near-misses.

    Args:
        slug: A key of CONCEPTS.
        task: "t2i" gives captions as prompts, "edit" gives instructions.
        seed: Of the scenes.
        count: How many of each kind.
    """
    if slug not in CONCEPTS:
        known = ", ".join(CONCEPTS)
        raise ValueError(f"The testbed has no scenes of {slug!r}; it has {known}.")
    rng = np.random.default_rng([seed, *slug.encode()])
    thing = CONCEPTS[slug]
    others = [t for t in scenes.THINGS if t != thing]

    def sample(things: list[str]) -> Sample:
        scene = scenes.random_scene(rng, things=things)
        image, masks = scenes.render(scene)
        mask = None
        if thing in things:
            mask = masks[things.index(thing)]
        prompt = scenes.caption(scene)
        if task == "edit":
            prompt = keeping_edit(rng, scene).instruction
        return Sample(image, mask, prompt)

    positives, benign = [], []
    for index in range(count):
        companions = [str(t) for t in rng.choice(others, size=index % 2, replace=False)]
        with_thing = [thing, *companions]
        rng.shuffle(with_thing)
        positives.append(sample(with_thing))
        pool = scenes.NEAR_MISSES if index % 3 == 0 else others
        size = 1 + int(rng.random() < 0.6)
        benign.append(sample([str(t) for t in rng.choice(pool, size=size, replace=False)]))
    return positives, benign
