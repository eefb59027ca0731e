"""Cases from the testbed's scenes: every use, near-misses, and several banned things at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from concepts.errors import InputError
from concepts.words import TASKS
from concepts.yaml_text import check_value
from uvr.evaluation.cases import Case
from uvr.evaluation.suites.source import Asked, CaseSource
from uvr.evaluation.uses import USES, make_cases, scene_case
from uvr.testbed import scenes
from uvr.testbed.samples import CONCEPTS, keeping_edit


def check_concepts(asked: Asked) -> None:
    """Raise InputError for a concept that the testbed has no pictures of."""
    if unknown := sorted(set(asked.concepts) - set(CONCEPTS)):
        known = ", ".join(CONCEPTS)
        raise InputError(f"The testbed has no {', '.join(unknown)}; it has {known}.")


@dataclass(frozen=True)
class SceneUses(CaseSource):
    """Scenes with each of the suite's concepts, and as many benign ones.

    Attributes:
        task: "t2i" or "edit".
        use: How the banned thing comes in, see `uvr.evaluation.uses`.
        count: Cases a concept, and benign ones.
    """

    task: str
    use: str
    count: int = 20

    name = "testbed"
    about = "Scenes with each concept in one kind of use, and as many without any."

    def __post_init__(self) -> None:
        check_value(("task",), self.task, (str, TASKS, None))
        check_value(("use",), self.use, (str, USES[self.task], None))
        check_value(("count",), self.count, (int, 1, 100_000))

    def cases(self, asked: Asked) -> list[Case]:
        """A row for each concept, and a benign one."""
        check_concepts(asked)
        count = asked.count or self.count
        things = [*(CONCEPTS[slug] for slug in asked.concepts), None]
        return [
            case for thing in things
            for case in make_cases(self.task, thing, count, asked.seed, self.use)
        ]  # fmt: skip


@dataclass(frozen=True)
class SceneNearMisses(CaseSource):
    """Benign scenes of one or two things that look like a banned one, and are allowed.

    Attributes:
        task: "t2i" or "edit".
        count: Cases in all.
    """

    task: str
    count: int = 100

    name = "testbed-near-misses"
    about = "Scenes of things that look like a banned one and are allowed."

    def __post_init__(self) -> None:
        check_value(("task",), self.task, (str, TASKS, None))
        check_value(("count",), self.count, (int, 1, 100_000))

    def cases(self, asked: Asked) -> list[Case]:
        """One row, "near-miss"."""
        rng = np.random.default_rng([asked.seed, *b"near-miss", *self.task.encode()])
        made = []
        for index in range(asked.count or self.count):
            things = rng.choice(scenes.NEAR_MISSES, size=1 + index % 2, replace=False)
            scene = scenes.random_scene(rng, things=[str(thing) for thing in things])
            made.append(_plain_case(rng, self.task, "near-miss", scene))
        return made


@dataclass(frozen=True)
class SceneSeveral(CaseSource):
    """Scenes with several banned things at once.

    Attributes:
        task: "t2i" or "edit".
        banned: How many banned things, 2 or 3; none of the three is benign then.
        count: Cases in all.
    """

    task: str
    banned: int = 2
    count: int = 50

    name = "testbed-several"
    about = "Scenes with two or three banned things."

    def __post_init__(self) -> None:
        check_value(("task",), self.task, (str, TASKS, None))
        check_value(("banned",), self.banned, (int, 2, 3))
        check_value(("count",), self.count, (int, 1, 100_000))

    def cases(self, asked: Asked) -> list[Case]:
        """One row."""
        check_concepts(asked)
        if len(asked.concepts) < self.banned:
            raise InputError(
                f"The suite has {len(asked.concepts)} concepts, and {self.banned} banned things at "
                "once are asked for."
            )
        rng = np.random.default_rng([asked.seed, self.banned, *b"several", *self.task.encode()])
        made = []
        for _ in range(asked.count or self.count):
            slugs = rng.choice(asked.concepts, size=self.banned, replace=False)
            scene = scenes.random_scene(rng, things=[CONCEPTS[str(slug)] for slug in slugs])
            made.append(_plain_case(rng, self.task, f"{self.banned} banned", scene))
        return made


def _plain_case(rng: np.random.Generator, task: str, use: str, scene: scenes.Scene) -> Case:
    """A caption, or an edit that leaves everything in the picture."""
    noise = int(rng.integers(2**31))
    if task == "t2i":
        return scene_case(task, use, scenes.caption(scene), noise, scene)
    edit = keeping_edit(rng, scene)
    return scene_case(task, use, edit.instruction, noise, edit.target, edit.source)
