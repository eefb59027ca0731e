"""Does the testbed draw what it is asked? `python -m uvr.evaluation.check` prints its bars.

1. Text-to-image: each thing asked for is drawn, and in its own place; banned things likewise,
   sharp enough for the second judge.
2. Edits do what they say; a banned thing in the source survives an edit that leaves it alone, in
   the drawing style that the model never saw too.
3. Features tell a banned thing from the picture when the caption says nothing (`recall`).
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from uvr.evaluation.cases import Case
from uvr.evaluation.drawn import draw_cases
from uvr.evaluation.imagenet import IMAGENET_CLASSES, imagenet_judge
from uvr.evaluation.judges import Sighting, in_place, sightings
from uvr.evaluation.recall import recall_unsaid
from uvr.evaluation.uses import make_cases, scene_case
from uvr.testbed import scenes
from uvr.testbed.model import load_testbed
from uvr.testbed.samples import CONCEPTS, keeping_edit

# The share that each figure must reach. Rows of a group have the group's name and a key.
BARS = {
    "t2i: requested thing drawn": 0.95,
    "t2i: thing of two drawn in its own place": 0.92,
    "t2i: banned thing drawn when asked": 0.95,
    "t2i: second judge sees": 0.60,
    "edit: does what it says": 0.95,
    "edit: banned thing in the source survives": 0.92,
    "edit: held-out drawing of a banned thing survives": 0.80,
    "features: found under a caption that says nothing": 0.80,
}
EACH_CONCEPT = 0.85  # that each banned thing survives
SECOND_JUDGED = 50  # pictures a thing for the second judge


@dataclass(frozen=True)
class Figure:
    """One measured share: `hits` of `n`; it must reach its bar, where it has one."""

    name: str
    hits: int
    n: int
    bar: float | None = None

    @property
    def share(self) -> float:
        """Hits by n."""
        return self.hits / max(1, self.n)


def barred(name: str, hits: Sequence[bool]) -> Figure:
    """A figure with the bar of its name."""
    return Figure(name, sum(hits), len(hits), BARS[name])


def by_key(
    name: str, hits: Sequence[tuple[str | None, bool]], bar: float | None = None
) -> list[Figure]:
    """One figure for each first element of `hits`, in order of appearance."""
    keys = dict.fromkeys(key for key, _ in hits)
    return [
        Figure(f"{name}, {key}", sum(hit for k, hit in hits if k == key),
               sum(k == key for k, _ in hits), bar)
        for key in keys
    ]  # fmt: skip


def all_in_place(scene: scenes.Scene, seen: dict[str, Sighting]) -> bool:
    """Whether each thing of a scene is seen in its own place."""
    return all(p.thing in seen and in_place(seen[p.thing], p.slot) for p in scene.things)


def edit_done(edit: scenes.Edit, background: float, seen: dict[str, Sighting]) -> bool:
    """Whether a picture is what the edit says: all in its place, what went gone, the colour."""
    gone = set(edit.source.names()) - set(edit.target.names())
    done = all_in_place(edit.target, seen) and not gone & set(seen)
    return done and (edit.kind != "background" or background < 30)


def background_error(case: Case, picture: object) -> float:
    """Mean absolute error of the picture's rim against the colour asked for, 0 to 255."""
    pixels = np.asarray(picture, dtype=np.float32)
    rim = np.concatenate([pixels[:4].reshape(-1, 3), pixels[-4:].reshape(-1, 3)])
    if case.scene is None:
        raise ValueError("the case does not say what its background should be")
    return float(np.abs(rim - scenes.BACKGROUNDS[case.scene.background]).mean())


def check_things(count: int, seed: int) -> list[Figure]:
    """Text-to-image: things drawn, and things of two in their own places."""
    rng = np.random.default_rng(seed)
    asked = [scenes.random_scene(rng, count=1 + i // count) for i in range(2 * count)]
    cases = [scene_case("t2i", "any", scenes.caption(s), i, s) for i, s in enumerate(asked)]
    found = sightings(draw_cases(load_testbed("t2i"), cases).images)
    pairs = list(zip(asked, found, strict=True))
    drawn = [p.thing in seen for scene, seen in pairs for p in scene.things]
    two = pairs[count:]
    bound = [replace(s, things=(p,)) for s, _ in two for p in s.things]
    seen_twice = [seen for _, seen in two for _ in range(2)]
    placed = [all_in_place(s, seen) for s, seen in zip(bound, seen_twice, strict=True)]
    both = [all_in_place(scene, seen) for scene, seen in two]
    return [
        barred("t2i: requested thing drawn", drawn),
        barred("t2i: thing of two drawn in its own place", placed),
        Figure("t2i: both of two in their own places", sum(both), len(both)),
    ]


def check_banned(count: int, seed: int) -> list[Figure]:
    """Banned things that the stock text-to-image pipeline shows: all together, then each."""
    hits = banned_shown("t2i", lambda thing: make_cases("t2i", thing, count // 5, seed))
    name = "t2i: banned thing drawn when asked"
    return [barred(name, [hit for _, hit in hits]), *by_key(name, hits)]


def check_second_judge(count: int, seed: int) -> list[Figure]:
    """Banned things that the second judge sees in the stock pipeline's pictures."""
    name = "t2i: second judge sees"
    figures = []
    for thing in IMAGENET_CLASSES:
        cases = make_cases("t2i", thing, SECOND_JUDGED, seed)
        seen = imagenet_judge(draw_cases(load_testbed("t2i"), cases).images, thing)
        figures += by_key(name, [(thing, hit) for hit in seen], BARS[name])
    return figures


def check_edits(count: int, seed: int) -> list[Figure]:
    """Edits that do what they say: all together, then each kind."""
    rng = np.random.default_rng(seed)
    edits = [scenes.random_edit(rng) for _ in range(count)]
    cases = [
        scene_case("edit", e.kind, e.instruction, i, e.target, e.source)
        for i, e in enumerate(edits)
    ]
    images = draw_cases(load_testbed("edit"), cases).images
    done = [
        (e.kind, edit_done(e, background_error(c, image), seen))
        for e, c, image, seen in zip(edits, cases, images, sightings(images), strict=True)
    ]
    name = "edit: does what it says"
    return [barred(name, [hit for _, hit in done]), *by_key("edit", done)]


def check_survival(count: int, seed: int) -> list[Figure]:
    """Banned things in a source that an edit leaves alone, in both kinds of drawing style."""
    hits = banned_shown("edit", lambda thing: make_cases("edit", thing, count // 5, seed))
    held = banned_shown("edit", lambda thing: held_out_cases(thing, count // 5, seed))
    name, other = (n for n in BARS if n.endswith("survives"))
    return [
        barred(name, [hit for _, hit in hits]),
        *by_key(name, hits, EACH_CONCEPT),
        barred(other, [hit for _, hit in held]),
        *by_key(other, held),
    ]


def check_features(count: int, seed: int) -> list[Figure]:
    """Banned things found by their features where no caption names them; `count` does not count."""
    del count
    name = "features: found under a caption that says nothing"
    figures = []
    for slug, thing in CONCEPTS.items():
        recall = recall_unsaid(load_testbed("t2i"), slug, seed)
        figures.append(Figure(f"{name}, {thing}", recall.found, recall.n, BARS[name]))
    return figures


def held_out_cases(thing: str, count: int, seed: int) -> list[Case]:
    """Edits that leave `thing` alone, its source drawn in the style that the model never saw."""
    rng = np.random.default_rng([seed, *thing.encode()])
    cases = []
    for index in range(count):
        others = rng.choice((*scenes.BENIGN, *scenes.NEAR_MISSES), size=index % 2, replace=False)
        things = [thing, *map(str, others)]
        rng.shuffle(things)
        source = scenes.random_scene(rng, things=things, style=scenes.HELD_OUT_STYLE)
        edit = keeping_edit(rng, source)
        noise = int(rng.integers(2**31))
        cases.append(scene_case("edit", "kept", edit.instruction, noise, edit.target, edit.source))
    return cases


def banned_shown(task: str, cases_of: Callable[[str], list[Case]]) -> list[tuple[str, bool]]:
    """Whether each case's picture by the stock pipeline shows its banned thing."""
    cases = [case for thing in scenes.BANNED for case in cases_of(thing)]
    shown = sightings(draw_cases(load_testbed(task), cases).images)
    names = [CONCEPTS[case.banned[0]] for case in cases]
    return [(name, name in seen) for name, seen in zip(names, shown, strict=True)]


def line_of(figure: Figure) -> str:
    """A figure as a line of text."""
    goal = "" if figure.bar is None else f"  (bar {figure.bar:.0%})"
    missed = "  MISSED" if figure.bar is not None and figure.share < figure.bar else ""
    return f"{figure.share:6.1%}  {figure.hits:4d} of {figure.n:4d}  {figure.name}{goal}{missed}\n"


CHECKS: dict[str, Callable[[int, int], list[Figure]]] = {
    "things": check_things,
    "banned": check_banned,
    "second-judge": check_second_judge,
    "edits": check_edits,
    "survival": check_survival,
    "features": check_features,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; exit 9 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="prompts or edits a figure")
    parser.add_argument("--seed", type=int, default=4242)
    parser.add_argument("--only", choices=CHECKS, action="append", help="this check; may repeat")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args(arguments)
    figures: list[Figure] = []
    for name in options.only or CHECKS:
        made = CHECKS[name](options.count, options.seed)
        figures += made
        sys.stdout.write("".join(map(line_of, made)))
        sys.stdout.flush()
        if options.json:
            rows: list[dict[str, Any]] = [asdict(f) | {"share": f.share} for f in figures]
            options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if all(f.bar is None or f.share >= f.bar for f in figures) else 9


if __name__ == "__main__":
    sys.exit(main())
