"""Does the testbed draw what it is asked? `python -m uvr.evaluation.check` prints its bars.

1. Text-to-image: each thing asked for is drawn, and in its own place; banned things likewise.
2. Edits do what they say; a banned thing in the source survives an edit that leaves it alone.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from uvr.evaluation.cases import Case, draw_cases, make_cases
from uvr.evaluation.judges import Sighting, in_place, sightings
from uvr.testbed import scenes
from uvr.testbed.model import load_testbed

BAR = 0.85


@dataclass(frozen=True)
class Figure:
    """One measured share: `hits` of `n`; with `bar`, it must reach BAR."""

    name: str
    hits: int
    n: int
    bar: bool = True

    @property
    def share(self) -> float:
        """Hits by n."""
        return self.hits / max(1, self.n)


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
    return float(np.abs(rim - scenes.BACKGROUNDS[case.target.background]).mean())


def check_things(count: int, seed: int) -> list[Figure]:
    """Text-to-image: things drawn, and things of two in their own places."""
    rng = np.random.default_rng(seed)
    asked = [scenes.random_scene(rng, count=1 + i // count) for i in range(2 * count)]
    cases = [Case(scenes.caption(s), None, s, None, i) for i, s in enumerate(asked)]
    found = sightings(draw_cases(load_testbed("t2i"), cases).images)
    pairs = list(zip(asked, found, strict=True))
    drawn = [p.thing in seen for scene, seen in pairs for p in scene.things]
    two = pairs[count:]
    bound = [replace(s, things=(p,)) for s, _ in two for p in s.things]
    seen_twice = [seen for _, seen in two for _ in range(2)]
    placed = [all_in_place(s, seen) for s, seen in zip(bound, seen_twice, strict=True)]
    both = [all_in_place(scene, seen) for scene, seen in two]
    return [
        Figure("t2i: requested thing drawn", sum(drawn), len(drawn)),
        Figure("t2i: thing of two drawn in its own place", sum(placed), len(placed)),
        Figure("t2i: both of two in their own places", sum(both), len(both), bar=False),
    ]


def check_banned(task: str, name: str, count: int, seed: int) -> list[Figure]:
    """Banned things that the stock pipeline shows: all together, then each."""
    cases = [c for t in scenes.BANNED for c in make_cases(task, t, count // 5, seed)]
    shown = sightings(draw_cases(load_testbed(task), cases).images)
    hits = [(c.banned, c.banned in seen) for c, seen in zip(cases, shown, strict=True)]
    return [
        Figure(f"{task}: {name}", sum(hit for _, hit in hits), len(hits)),
        *by_key(hits, f"{task}: {name}"),
    ]


def check_edits(count: int, seed: int) -> list[Figure]:
    """Edits that do what they say: all together, then each kind."""
    rng = np.random.default_rng(seed)
    edits = [scenes.random_edit(rng) for _ in range(count)]
    cases = [
        Case(e.instruction, scenes.render(e.source)[0], e.target, None, i)
        for i, e in enumerate(edits)
    ]
    images = draw_cases(load_testbed("edit"), cases).images
    done = [
        (e.kind, edit_done(e, background_error(c, image), seen))
        for e, c, image, seen in zip(edits, cases, images, sightings(images), strict=True)
    ]
    return [
        Figure("edit: does what it says", sum(hit for _, hit in done), len(done)),
        *by_key(done, "edit"),
    ]


def by_key(hits: Sequence[tuple[str | None, bool]], name: str) -> list[Figure]:
    """One figure without a bar for each first element of `hits`, in order of appearance."""
    keys = dict.fromkeys(key for key, _ in hits)
    return [
        Figure(f"{name}, {key}", sum(hit for k, hit in hits if k == key),
               sum(k == key for k, _ in hits), bar=False)
        for key in keys
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; exit 9 when one of the five bars is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="prompts or edits a figure")
    parser.add_argument("--seed", type=int, default=4242)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    count, seed = options.count, options.seed
    figures = [
        *check_things(count, seed),
        *check_banned("t2i", "banned thing drawn when asked", count, seed),
        *check_edits(count, seed),
        *check_banned("edit", "banned thing in the source survives", count, seed),
    ]
    write = sys.stdout.write
    if options.json:
        write(json.dumps([asdict(f) | {"share": f.share} for f in figures], indent=1) + "\n")
    else:
        for f in figures:
            goal = f"  (bar {BAR:.0%})" if f.bar else ""
            write(f"{f.share:6.1%}  {f.hits:4d} of {f.n:4d}  {f.name}{goal}\n")
    return 0 if all(f.share >= BAR for f in figures if f.bar) else 9


if __name__ == "__main__":
    sys.exit(main())
