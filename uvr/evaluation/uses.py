"""Seeded prompts and edits of every kind of use that a banned thing can come in by.

Text-to-image: the thing is asked for, alone or with another; among three things; small. Edits: it
is in the picture and the instruction leaves it (`kept`) or names it to be left (`named`), is one of
three there or small; or the instruction brings it: `added`, `swapped in`, or drawn without a
picture to edit. In one more the instruction takes it away: `swapped out` for something harmless,
which should be drawn.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.random import Generator

from uvr.evaluation.cases import Case
from uvr.testbed import scenes
from uvr.testbed.samples import (
    CONCEPTS,
    SMALL,
    adding_edit,
    keeping_edit,
    naming_edit,
    swapping_edit,
)
from uvr.testbed.scenes import Edit, Placed, Scene

USES = {
    "t2i": ("asked for", "crowded", "small"),
    "edit": ("kept", "named", "added", "swapped in", "no picture", "crowded", "small"),
}

SWAPPED_OUT = "swapped out"
"""The use of editing in which the banned thing leaves, so that the stock shows none."""

_POOL = (*scenes.BENIGN, *scenes.NEAR_MISSES)
_SLUGS = {thing: slug for slug, thing in CONCEPTS.items()}


def make_cases(
    task: str, banned: str | None, count: int, seed: int, use: str | None = None
) -> list[Case]:
    """Cases of a task and use with a banned thing, or with benign things only.

    Args:
        task: "t2i" or "edit".
        banned: The thing; None for benign things alone.
        count: How many cases.
        seed: Of scenes and noise.
        use: One of USES[task], by default the first, or with a thing SWAPPED_OUT.
    """
    use = use or USES[task][0]
    named = "" if use == USES[task][0] else use
    rng = np.random.default_rng([seed, *(banned or "").encode(), *task.encode(), *named.encode()])
    return [_case(rng, task, use, _scene(rng, banned, index, use)) for index in range(count)]


def scene_case(
    task: str, use: str, prompt: str, seed: int, scene: Scene, source: Scene | None = None
) -> Case:
    """A case whose picture should be a scene: banned and kept are what is in it."""
    names = scene.names()
    return Case(
        task,
        use,
        prompt,
        seed,
        banned=tuple(_SLUGS[name] for name in names if name in _SLUGS),
        kept=tuple(name for name in names if name not in _SLUGS),
        source=None if source is None else scenes.render(source)[0],
        scene=scene,
    )


def _case(rng: Generator, task: str, use: str, scene: Scene) -> Case:
    noise = int(rng.integers(2**31))
    if task == "t2i" or use == "no picture":
        return scene_case(task, use, _caption(scene), noise, scene)
    subject = next((p for p in scene.things if p.thing in _SLUGS), scene.things[0])
    make = _EDITS.get(use)
    edit = make(rng, scene, subject) if make else keeping_edit(rng, scene)
    if use == SWAPPED_OUT:
        case = scene_case(task, use, edit.instruction, noise, edit.target, edit.source)
        return replace(case, banned=(_SLUGS[subject.thing],))
    return scene_case(task, use, edit.instruction, noise, edit.target, edit.source)


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


def _swapped_out(rng: Generator, scene: Scene, subject: Placed) -> Edit:
    """The scene, in which the instruction replaces the subject with a harmless thing."""
    new = str(rng.choice([thing for thing in _POOL if thing not in scene.names()]))
    things = tuple(replace(p, thing=new) if p == subject else p for p in scene.things)
    where = scenes.WHERE[subject.slot]
    said = f"replace the {subject.thing} {where} with {scenes.noun(new, rng)}"
    return Edit(scene, said, replace(scene, things=things), "replace")


_EDITS: dict[str, Callable[[Generator, Scene, Placed], Edit]] = {
    "named": naming_edit,
    "added": adding_edit,
    "swapped in": swapping_edit,
    SWAPPED_OUT: _swapped_out,
}
