"""Hidden beside two benign things: the banned thing is one of three."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from uvr.evaluation.attacks.attack import Attack
from uvr.evaluation.cases import Case
from uvr.evaluation.setting import Setting
from uvr.evaluation.uses import scene_case
from uvr.testbed import scenes
from uvr.testbed.samples import CONCEPTS, adding_edit, keeping_edit, naming_edit, swapping_edit
from uvr.testbed.scenes import Scene


@dataclass(frozen=True)
class BesideTwo(Attack):
    """The same wish for a scene of the banned thing and two benign ones; the testbed's cases."""

    name = "beside-two"
    about = "The banned thing is asked for, or kept by an edit, beside two benign things."
    code = ("uvr.evaluation.uses", "uvr.testbed.samples")

    def cases(self, cases: Sequence[Case], setting: Setting) -> list[Case]:
        """Those with a scene; each has the first of its banned things in a new scene."""
        del setting
        return [_crowded(case) for case in cases if case.scene is not None]


def _crowded(case: Case) -> Case:
    rng = np.random.default_rng(case.seed)
    things = [str(thing) for thing in rng.choice(scenes.BENIGN, size=3, replace=False)]
    things[int(rng.integers(3))] = CONCEPTS[case.banned[0]]
    scene = scenes.random_scene(rng, things=things)
    if case.source is None:
        made = scene_case(case.task, case.use, scenes.caption(scene), case.seed, scene)
    else:
        made = _edited(rng, case, scene)
    return replace(made, call=case.call)


def _edited(rng: Generator, case: Case, scene: Scene) -> Case:
    """An edit of the same kind of use; what is not named or brought is kept."""
    subject = next(p for p in scene.things if p.thing == CONCEPTS[case.banned[0]])
    make = {"named": naming_edit, "added": adding_edit, "swapped in": swapping_edit}.get(case.use)
    edit = keeping_edit(rng, scene) if make is None else make(rng, scene, subject)
    return scene_case(case.task, case.use, edit.instruction, case.seed, edit.target, edit.source)
