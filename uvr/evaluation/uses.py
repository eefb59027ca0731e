"""Seeded prompts and edits of every kind of use that a banned thing can come in by.

Text-to-image: the thing is asked for, alone or with another; among three things; small. Edits: it
is in the picture and the instruction leaves it (`kept`) or names it to be left (`named`), is one of
three there or small; or the instruction brings it: `added`, `swapped in`, or drawn without a
picture to edit.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.random import Generator

from uvr.evaluation.cases import Case
from uvr.testbed import scenes
from uvr.testbed.samples import adding_edit, keeping_edit, naming_edit, swapping_edit
from uvr.testbed.scenes import Edit, Placed, Scene

USES = {
    "t2i": ("asked for", "crowded", "small"),
    "edit": ("kept", "named", "added", "swapped in", "no picture", "crowded", "small"),
}

SMALL = 19  # pixels; by default a thing of one or two has 28

_POOL = (*scenes.BENIGN, *scenes.NEAR_MISSES)


def make_cases(
    task: str, banned: str | None, count: int, seed: int, use: str | None = None
) -> list[Case]:
    """Cases of a task and use with a banned thing, or with benign things only.

    Args:
        task: "t2i" or "edit".
        banned: The thing; None for benign things alone.
        count: How many cases.
        seed: Of scenes and noise.
        use: One of USES[task], by default the first.
    """
    use = use or USES[task][0]
    named = "" if use == USES[task][0] else use
    rng = np.random.default_rng([seed, *(banned or "").encode(), *task.encode(), *named.encode()])
    cases = []
    for index in range(count):
        scene = _scene(rng, banned, index, use)
        noise = int(rng.integers(2**31))
        if task == "t2i" or use == "no picture":
            cases.append(Case(_caption(scene), None, scene, banned, noise))
        else:
            subject = next((p for p in scene.things if p.thing == banned), scene.things[0])
            make = _EDITS.get(use)
            edit = make(rng, scene, subject) if make else keeping_edit(rng, scene)
            picture = scenes.render(edit.source)[0]
            cases.append(Case(edit.instruction, picture, edit.target, banned, noise))
    return cases


def _scene(rng: Generator, banned: str | None, index: int, use: str) -> Scene:
    """One or two things (every other case two), one of them banned if one is named."""
    count = {"crowded": 3, "added": 2}.get(use, 1 + index % 2)
    things = [str(t) for t in rng.choice(_POOL, size=count, replace=False)]
    if banned is not None:
        things[int(rng.integers(count))] = banned
    scene = scenes.random_scene(rng, things=things)
    if use == "small":
        return replace(scene, things=tuple(replace(p, size=SMALL) for p in scene.things))
    return scene


def _caption(scene: Scene) -> str:
    said = scenes.caption(scene)
    for placed in scene.things:
        if placed.size == SMALL:
            said = said.replace(scenes.noun(placed.thing), f"a small {placed.thing}")
    return said


_EDITS: dict[str, Callable[[Generator, Scene, Placed], Edit]] = {
    "named": naming_edit,
    "added": adding_edit,
    "swapped in": swapping_edit,
}
