"""What the testbed's model learns from: the plain world of `scenes`, and a freer one around it.

1. Half of all examples are plain: a default scene or edit in its default words.
2. The others vary: a second drawing style (said in words), free places and sizes, paraphrases.
3. Some captions say nothing of the things, so that guidance has an empty prompt to compare with
   and the features of a picture do not depend on its caption alone.
4. Some sources hold things in strange colours, so that edits learn to copy what they do not know.
"""

from dataclasses import replace

import numpy as np
from numpy.random import Generator

from uvr.testbed import MAX_SEQUENCE_LENGTH, scenes
from uvr.testbed.scenes import Edit, Placed, Scene

PLAIN = 0.5  # share of examples that are plain scenes and edits in their default words
SILENT = 0.13  # share of captions that name nothing
SILENT_EDITS = 0.05
KEPT = 0.03  # share of edits that change nothing
SECOND_STYLE = "noto-v1"
SECOND_STYLE_SHARE, LOOSE_SHARE, PARAPHRASED_SHARE, STRANGE_SHARE = 0.45, 0.6, 0.6, 0.3
BANNED_WEIGHT = 1.6  # banned things are drawn so much more often than others
SYNONYM_SHARE = 0.3

STYLE_WORDS = "in the old style"
SILENT_CAPTIONS = (
    "",
    "",
    "",
    "a picture",
    "a picture",
    "a picture {on}",
    "something",
    "things {on}",
)
PLACES = {
    "left": ("on the left", "on the left side", "at the left", "to the left"),
    "middle": ("in the middle", "in the centre", "at the centre"),
    "right": ("on the right", "on the right side", "at the right", "to the right"),
}
HIGH, LOW = "near the top", "near the bottom"
SMALL, LARGE = "small", "large"
GROUNDS = ("on a {c} background", "against a {c} background", "with a {c} background")
CAPTIONS = (
    "{all} {on}", "there is {all} {on}", "a picture of {all} {on}", "{on} , {all}",
    "{all} , the background is {c}", "a {c} picture of {all}",
)  # fmt: skip
RECOLOURED = (
    "change the background to {c}", "paint the background {c}", "turn the background {c}",
    "make the background {c} and keep the rest", "put it {on}",
)  # fmt: skip
ADDED = ("put {new} {where}", "place {new} {where}", "there is also {new} {where}")
REMOVED = ("take away {old} {where}", "delete {old} {where}", "erase {old} {where}")
REPLACED = (
    "turn {old} {where} into {new}", "swap {old} {where} for {new}",
    "change {old} {where} into {new}", "put {new} {where} in place of {old}",
)  # fmt: skip
KEEPING = ("keep the picture as is", "change nothing")


def vocabulary() -> list[str]:
    """The words of the freer world, with repetitions."""
    texts = [STYLE_WORDS, *SILENT_CAPTIONS, HIGH, LOW, SMALL, LARGE, *GROUNDS, *CAPTIONS,
             *RECOLOURED, *ADDED, *REMOVED, *REPLACED, *KEEPING, "something"]  # fmt: skip
    texts += [place for places in PLACES.values() for place in places]
    words = " ".join(texts).split()
    return [word for word in words if not word.startswith("{")]


def pick(rng: Generator, texts: tuple[str, ...]) -> str:
    """One of `texts`."""
    return texts[int(rng.integers(len(texts)))]


def some_things(rng: Generator, count: int) -> list[str]:
    """`count` different things, banned ones more often than others."""
    weights = np.array([BANNED_WEIGHT if t in scenes.BANNED else 1.0 for t in scenes.THINGS])
    chosen = rng.choice(scenes.THINGS, size=count, replace=False, p=weights / weights.sum())
    return [str(thing) for thing in chosen]


def style_of(rng: Generator) -> str:
    """One of the two styles that the model learns."""
    second = rng.random() < SECOND_STYLE_SHARE
    return SECOND_STYLE if second else scenes.GENERATOR_STYLE


def loosened(rng: Generator, scene: Scene) -> Scene:
    """A scene of one or two things with these anywhere that its slots' words allow, at any size."""
    spans = {1: {"left": (11, 26), "middle": (27, 37), "right": (38, 53)},
             2: {"left": (11, 24), "right": (40, 53)}}.get(len(scene.things))  # fmt: skip
    if spans is None:
        return scene
    largest = 40 if len(scene.things) == 1 else 30
    things = []
    for placed in scene.things:
        size = int(rng.integers(18, largest + 1))
        rim = size // 2 - 3
        first, last = spans[placed.slot]
        x = int(np.clip(rng.integers(first, last + 1), rim, scenes.SIZE - rim))
        y = int(np.clip(rng.integers(17, 48), rim, scenes.SIZE - rim))
        things.append(replace(placed, x=x, y=y, size=size))
    return replace(scene, things=tuple(things))


def free_scene(rng: Generator, count: int | None = None, style: str | None = None) -> Scene:
    """A scene of either style, its things often anywhere and of any size."""
    count = count or int(rng.choice([1, 2, 3], p=[0.4, 0.5, 0.1]))
    scene = scenes.random_scene(
        rng, things=some_things(rng, count), style=style or style_of(rng), jitter=2
    )
    return loosened(rng, scene) if rng.random() < LOOSE_SHARE else scene


def fits(text: str) -> bool:
    """Whether a text and its end mark fit the model's sequence of tokens."""
    return len(text.replace(",", " , ").split()) < MAX_SEQUENCE_LENGTH


def where(rng: Generator, placed: Placed) -> str:
    """A thing's place in other words; often high or low too, where it is."""
    words = [pick(rng, PLACES[placed.slot])]
    height = HIGH if placed.y < 25 else LOW if placed.y > 39 else ""
    if height and rng.random() < 0.5:
        words.insert(0, height)
    return " ".join(words)


def described(rng: Generator, placed: Placed) -> str:
    """A thing with its article, and sometimes its size."""
    said = scenes.noun(placed.thing, rng, SYNONYM_SHARE)
    size = SMALL if placed.size <= 21 else LARGE if placed.size >= 34 else ""
    return f"a {size} {said.split(' ', 1)[1]}" if size and rng.random() < 0.5 else said


def free_caption(rng: Generator, scene: Scene) -> str:
    """A scene in other words; the default caption where those are too long."""
    parts = [
        f"{described(rng, p)} {where(rng, p)}" if rng.random() < 0.8
        else f"{where(rng, p)} {described(rng, p)}"
        for p in scene.things
    ]  # fmt: skip
    everything = parts[0] if len(parts) == 1 else " , ".join(parts[:-1]) + " and " + parts[-1]
    on = pick(rng, GROUNDS).format(c=scene.background)
    said = pick(rng, CAPTIONS).format(all=everything, on=on, c=scene.background)
    return said if fits(said) else scenes.caption(scene)


def silent_caption(rng: Generator, scene: Scene) -> str:
    """A caption that names no thing: empty, of a picture, or of something somewhere."""
    on = f"on a {scene.background} background"
    if rng.random() < 0.25:
        return " and ".join(f"something {scenes.WHERE[p.slot]}" for p in scene.things) + f" {on}"
    return pick(rng, SILENT_CAPTIONS).format(on=on)


def draw_example(rng: Generator) -> tuple[Scene, str]:
    """A scene and its caption."""
    draw = rng.random()
    if draw < PLAIN:
        scene = scenes.random_scene(rng)
        return scene, scenes.caption(scene, rng)
    scene = free_scene(rng)
    if draw < PLAIN + SILENT:
        return scene, silent_caption(rng, scene)
    other_words = rng.random() < PARAPHRASED_SHARE
    said = free_caption(rng, scene) if other_words else scenes.caption(scene, rng)
    if scene.things[0].style == SECOND_STYLE and fits(f"{said} {STYLE_WORDS}"):
        said = f"{said} {STYLE_WORDS}"
    return scene, said


def free_words(rng: Generator, edit: Edit) -> str:
    """An edit's instruction in other words."""
    gone = [p for p in edit.source.things if p.thing not in edit.target.names()]
    new = [p for p in edit.target.things if p.thing not in edit.source.names()]
    old = "the " + described(rng, gone[0]).split(" ", 1)[1] if gone else ""
    colour = edit.target.background
    forms = {"background": RECOLOURED, "add": ADDED, "remove": REMOVED, "replace": REPLACED}
    return pick(rng, forms[edit.kind]).format(
        old=old,
        new=described(rng, new[0]) if new else "",
        where=where(rng, (gone or new)[0]) if gone or new else "",
        c=colour,
        on=f"on a {colour} background",
    )


def strange(rng: Generator, edit: Edit) -> Edit:
    """The edit of a source whose things are mirrored or in other colours; what stays, stays so."""
    styles = {p.thing: f"{p.style}~{rng.integers(1, scenes.VARIANTS)}" for p in edit.source.things}

    def changed(scene: Scene) -> Scene:
        things = tuple(replace(p, style=styles.get(p.thing, p.style)) for p in scene.things)
        return replace(scene, things=things)

    return replace(edit, source=changed(edit.source), target=changed(edit.target))


def draw_edit(rng: Generator) -> Edit:
    """An edit triple."""
    if rng.random() < PLAIN:
        return scenes.random_edit(rng)
    kind = str(rng.choice(["background", "add", "remove", "replace"], p=[0.4, 0.3, 0.1, 0.2]))
    count = int(rng.choice([1, 2])) if kind in ("background", "replace") else 2
    scene = free_scene(rng, count)
    make = {"background": scenes.recolour, "add": scenes.add, "remove": scenes.remove,
            "replace": scenes.swap}[kind]  # fmt: skip
    edit = make(rng, scene)
    if rng.random() < KEPT / (1 - PLAIN):
        edit = Edit(scene, pick(rng, KEEPING), scene, "keep")
    elif rng.random() < SILENT_EDITS / (1 - PLAIN):
        edit = replace(edit, instruction="")
    elif rng.random() < PARAPHRASED_SHARE:
        edit = replace(edit, instruction=free_words(rng, edit))
    return strange(rng, edit) if rng.random() < STRANGE_SHARE else edit
