"""Does the testbed draw what it is asked? `python -m uvr.testbed.check` prints its bars.

1. Text-to-image: each thing asked for is drawn, and in its own place; banned things likewise.
2. Edits do what they say; a banned thing in the source survives an edit that leaves it alone.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from uvr.evaluation.cases import Case, draw_cases, make_cases
from uvr.evaluation.judges import Sighting, in_place, sightings
from uvr.testbed import scenes
from uvr.testbed.model import load_testbed

BAR = 0.85


@dataclass(frozen=True)
class Figure:
    """One measured share: `hits` of `n`, against BAR."""

    name: str
    hits: int
    n: int

    @property
    def share(self) -> float:
        """Hits by n."""
        return self.hits / max(1, self.n)


def edit_done(edit: scenes.Edit, background: float, seen: dict[str, Sighting]) -> bool:
    """Whether a picture is what the edit says: what came is there, what went is gone."""
    before, after = set(edit.source.names()), set(edit.target.names())
    things = after <= set(seen) and not (before - after) & set(seen)
    return things and (edit.kind != "background" or background < 30)


def background_error(case: Case, picture: object) -> float:
    """Mean absolute error of the picture's rim against the colour asked for, 0 to 255."""
    pixels = np.asarray(picture, dtype=np.float32)
    rim = np.concatenate([pixels[:4].reshape(-1, 3), pixels[-4:].reshape(-1, 3)])
    return float(np.abs(rim - scenes.BACKGROUNDS[case.target.background]).mean())


def check_t2i(count: int, seed: int) -> list[Figure]:
    """Things drawn, bound to their places, and banned things drawn."""
    rng = np.random.default_rng(seed)
    pipe = load_testbed("t2i")
    asked = [scenes.random_scene(rng, count=1 + i % 2) for i in range(count)]
    cases = [Case(scenes.caption(s), None, s, None, i) for i, s in enumerate(asked)]
    found = sightings(draw_cases(pipe, cases).images)
    drawn = [p.thing in seen for s, seen in zip(asked, found, strict=True) for p in s.things]
    two = [(s, seen) for s, seen in zip(asked, found, strict=True) if len(s.things) == 2]
    bound = [
        all(p.thing in seen and in_place(seen[p.thing], p.slot) for p in s.things)
        for s, seen in two
    ]
    banned = [c for t in scenes.BANNED for c in make_cases("t2i", t, count // 5, seed)]
    shown = sightings(draw_cases(pipe, banned).images)
    hits = sum(c.banned in seen for c, seen in zip(banned, shown, strict=True))
    each = [
        Figure(f"t2i: {t} drawn when asked",
               sum(t in seen for c, seen in zip(banned, shown, strict=True) if c.banned == t),
               sum(c.banned == t for c in banned))
        for t in scenes.BANNED
    ]  # fmt: skip
    return [
        Figure("t2i: requested thing drawn", sum(drawn), len(drawn)),
        Figure("t2i: both things, each in its own place", sum(bound), len(bound)),
        Figure("t2i: banned thing drawn when asked", hits, len(banned)),
        *each,
    ]


def check_edit(count: int, seed: int) -> list[Figure]:
    """Edits followed, and banned things that survive."""
    rng = np.random.default_rng(seed)
    pipe = load_testbed("edit")
    edits = [scenes.random_edit(rng) for _ in range(count)]
    cases = [
        Case(e.instruction, scenes.render(e.source)[0], e.target, None, i)
        for i, e in enumerate(edits)
    ]
    images = draw_cases(pipe, cases).images
    done = [
        edit_done(e, background_error(c, image), seen)
        for e, c, image, seen in zip(edits, cases, images, sightings(images), strict=True)
    ]
    kept = [c for t in scenes.BANNED for c in make_cases("edit", t, count // 5, seed)]
    shown = sightings(draw_cases(pipe, kept).images)
    hits = sum(c.banned in seen for c, seen in zip(kept, shown, strict=True))
    kinds = [
        Figure(f"edit: {kind}", sum(d for d, e in zip(done, edits, strict=True) if e.kind == kind),
               sum(e.kind == kind for e in edits))
        for kind in ("background", "add", "remove", "replace")
    ]  # fmt: skip
    return [
        Figure("edit: does what it says", sum(done), len(done)),
        *kinds,
        Figure("edit: banned thing in the source survives", hits, len(kept)),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; exit 9 when one of the four bars is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="prompts or edits a figure")
    parser.add_argument("--seed", type=int, default=4242)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    figures = check_t2i(options.count, options.seed) + check_edit(options.count, options.seed)
    write = sys.stdout.write
    if options.json:
        write(json.dumps([asdict(f) | {"share": f.share} for f in figures], indent=1) + "\n")
    else:
        for f in figures:
            write(f"{f.share:6.1%}  {f.hits:4d} of {f.n:4d}  {f.name}\n")
    return 0 if all(f.share >= BAR for f in figures) else 9


if __name__ == "__main__":
    sys.exit(main())
