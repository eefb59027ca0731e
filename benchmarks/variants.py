"""What variants of reference pictures help to find: `python benchmarks/variants.py`.

1. Forty pictures of a concept, of one or two things, and 120 without it stand for what a policy
   team brings. Anchors come from them and from variants of some kinds.
2. Other pictures are scored: like those, and small, cut off, mirrored and in other colours, of two
   other drawing styles, and of three things. A picture is found where a patch of the concept
   scores above what 1% of pictures without it, of all these together, reach.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from concepts.anchors import AnchorSet
from concepts.definition import load_shipped
from concepts.words import TASKS
from uvr.anchors.calibration import fit_options, fit_scorer
from uvr.anchors.capture import picture_grid
from uvr.anchors.capturing import capture_from_images
from uvr.anchors.directions import Direction, highest_scores
from uvr.anchors.extract import MIN_COVERAGE, collect_from_images, patch_coverage
from uvr.anchors.kinds import VARIANTS, variants_by_kind
from uvr.anchors.variants import KINDS
from uvr.profiles import CHECK, PROFILES, UNSAID, ModelProfile
from uvr.sample import Sample
from uvr.testbed import load_testbed, scenes
from uvr.testbed.samples import CONCEPTS, HARMLESS, SMALL, keeping_edit
from uvr.testbed.scenes import Scene

RATE = 0.01
REFERENCES, WITHOUT = 40, 120
LOOKS = ("as is", "small", "cropped", "recoloured", "style 2", "style 3", "three things")
STYLES = {"style 2": scenes.STYLES[1], "style 3": scenes.STYLES[2]}
ARMS: tuple[tuple[str, ...], ...] = (
    (), *((kind,) for kind in KINDS), ("smaller", "cropped"), ("smaller", "cropped", "recoloured"),
    tuple(KINDS),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Held:
    """Held-out features of a look, with the concept and without, and which patches it covers."""

    shown: NDArray[np.float32]
    covered: NDArray[np.bool_]
    benign: NDArray[np.float32]


def scene_of(rng: Generator, things: Sequence[str], look: str) -> Scene:
    """A scene of some things, the first of which may be cut off."""
    order = list(things)
    rng.shuffle(order)
    style = STYLES.get(look, scenes.GENERATOR_STYLE)
    if look == "recoloured":
        style = f"{style}~{rng.integers(1, scenes.VARIANTS)}"
    scene = scenes.random_scene(rng, things=order, style=style)
    if look == "small":
        return replace(scene, things=tuple(replace(placed, size=SMALL) for placed in scene.things))
    if look != "cropped":
        return scene
    placed = scene.things[order.index(things[0])]
    inside = placed.size // 2 - int(rng.integers(placed.size // 4, placed.size // 2 + 1))
    moved = replace(placed, x=inside if placed.x < scenes.SIZE // 2 else scenes.SIZE - inside)
    return replace(scene, things=tuple(moved if one == placed else one for one in scene.things))


def pictures(rng: Generator, task: str, thing: str, look: str, count: int) -> list[Sample]:
    """Pictures with a thing, or of near-misses and other harmless ones where it is none."""
    samples = []
    for index in range(count):
        things = 3 if look == "three things" else 1 + index % 2
        pool = scenes.NEAR_MISSES if index % 3 == 0 and not thing else HARMLESS
        chosen = [str(one) for one in rng.choice(pool, size=things, replace=False)]
        scene = scene_of(rng, [thing, *chosen[1:]] if thing else chosen, look)
        image, masks = scenes.render(scene)
        mask = masks[scene.names().index(thing)] if thing else None
        samples.append(Sample(image, mask, _said(rng, task, scene)))
    return samples


def _said(rng: Generator, task: str, scene: Scene) -> str:
    if task == CHECK:
        return UNSAID
    return keeping_edit(rng, scene).instruction if task == "edit" else scenes.caption(scene)


def held_out(
    pipe: Any, profile: ModelProfile, thing: str, look: str, count: int, seed: int
) -> Held:
    """Features of pictures that no anchor comes from."""
    rng = np.random.default_rng([seed, 1, LOOKS.index(look), *thing.encode()])
    shown, benign = (pictures(rng, profile.task, one, look, count) for one in (thing, ""))
    grid = picture_grid(pipe, profile)
    return Held(
        capture_from_images(pipe, profile, shown, seed=seed),
        np.stack([patch_coverage(sample.mask, grid) for sample in shown]) >= MIN_COVERAGE,
        capture_from_images(pipe, profile, benign, seed=seed + 1),
    )


def with_kinds(anchor_set: AnchorSet, kinds: Sequence[str]) -> AnchorSet:
    """The anchor set as it is without the variants of other kinds."""
    variants = variants_by_kind(anchor_set.provenance)
    others = [one for kind in variants if kind not in kinds for one, _ in variants[kind]]
    anchors, counters = (
        ~np.isin(images, others) for images in (anchor_set.anchor_images, anchor_set.counter_images)
    )
    kept = {kind: variants[kind] for kind in kinds}
    return AnchorSet(
        anchor_set.space,
        anchor_set.anchors[anchors],
        anchor_set.anchor_images[anchors],
        anchor_set.counter_anchors[counters],
        anchor_set.counter_images[counters],
        {**anchor_set.provenance, VARIANTS: kept},
    )


def found(
    anchor_set: AnchorSet, options: Mapping[str, Any], held: Mapping[str, Held]
) -> NDArray[np.int_]:
    """How many pictures of each look are found, (looks,)."""
    scorer = fit_scorer(anchor_set, **options)
    directions = [
        Direction(weight.astype(np.float64), float(offset))
        for weight, offset in zip(scorer.weights, scorer.offset, strict=True)
    ]
    peaks = [highest_scores(directions, one.benign).max(axis=1) for one in held.values()]
    line = np.quantile(np.concatenate(peaks), 1 - RATE, method="higher")
    return np.array([
        ((highest_scores(directions, one.shown) > line) & one.covered).any(axis=1).sum()
        for one in held.values()
    ])  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the share of pictures found, a row for each concept and kinds of variants."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", choices=TASKS, default="edit")
    parser.add_argument("--slug", nargs="+", choices=CONCEPTS, default=list(CONCEPTS)[:2])
    parser.add_argument("--count", type=int, default=100, help="held-out pictures of a look")
    parser.add_argument("--draws", type=int, default=3, help="sets of reference pictures")
    parser.add_argument("--seed", type=int, default=31)
    options = parser.parse_args(arguments)
    pipe = load_testbed("edit" if options.task == "edit" else "t2i")
    profile = PROFILES[f"testbed-{options.task}"]
    print(f"{'':24}{'variants':28}" + "".join(f"{look:>13}" for look in LOOKS), flush=True)  # noqa: T201
    for slug in options.slug:
        thing, parameters = CONCEPTS[slug], load_shipped(slug).parameters
        held = {
            look: held_out(pipe, profile, thing, look, options.count, options.seed)
            for look in LOOKS
        }
        hits = np.zeros((len(ARMS), len(LOOKS)), dtype=int)
        for draw in range(options.draws):
            rng = np.random.default_rng([options.seed, 2, draw, *slug.encode()])
            shown = pictures(rng, options.task, thing, "as is", REFERENCES)
            benign = pictures(rng, options.task, "", "as is", WITHOUT)
            anchors = collect_from_images(
                pipe, profile, shown, benign, seed=options.seed + draw, variants=tuple(KINDS)
            )
            fit = fit_options(anchors, profile.calibration, parameters)
            hits += np.array([found(with_kinds(anchors, kinds), fit, held) for kinds in ARMS])
        shares = hits / (options.draws * options.count)
        for kinds, row in zip(ARMS, shares, strict=True):
            name = "all" if kinds == tuple(KINDS) else ", ".join(kinds) or "none"
            print(f"{slug:24}{name:28}" + "".join(f"{x:13.0%}" for x in row), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
