"""The plan of a run: calls to make, each with the key that its pictures are kept by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from concepts.digest import json_digest
from uvr.evaluation.attacks.attack import Attack
from uvr.evaluation.cases import Case, batches_of
from uvr.evaluation.catalogue import code_digest, identity_of
from uvr.evaluation.methods.method import Method
from uvr.evaluation.setting import Setting
from uvr.evaluation.suites.source import Asked
from uvr.evaluation.suites.suite import Suite
from uvr.revision import pipeline_facts


@dataclass(frozen=True)
class Call:
    """One call of a method's drawer: the unit that is drawn, kept and given to a worker.

    Attributes:
        task: "t2i" or "edit".
        attack: What the cases went through.
        method: Who draws.
        cases: What is drawn together.
        key: SHA-256 of all that decides the pictures.
    """

    task: str
    attack: Attack
    method: Method
    cases: tuple[Case, ...]
    key: str


@dataclass(frozen=True)
class Model:
    """A pipeline of one task and what it is, for keys.

    Attributes:
        pipe: The stock pipeline.
        setting: Of the task.
        name: What ``load_pipeline`` loads it by, elsewhere too; empty where it was made here.
    """

    pipe: Any
    setting: Setting
    name: str = ""

    def keeping(self, folder: Path) -> Model:
        """The same, with a folder for what attacks learn."""
        return replace(self, setting=replace(self.setting, folder=folder))

    @cached_property
    def identity(self) -> str:
        """Digest of weights, pipeline, profile, libraries and device."""
        return json_digest(
            {
                **pipeline_facts(self.pipe),
                "profile": self.setting.profile.to_dict(),
                "code": [code_digest(f"uvr.evaluation.{name}") for name in ("cases", "drawing")],
            }
        )


def plan_calls(suite: Suite, models: dict[str, Model], asked: Asked) -> list[Call]:
    """Every call of a suite, in the order in which they are drawn: stock first.

    Args:
        suite: What to draw.
        models: By task, of all tasks that the cases have.
        asked: What its sources of cases are asked for.
    """
    calls: list[Call] = []
    made = cases_of(suite, asked)
    for task, model in models.items():
        cases = [case for case in made if case.task == task]
        for attack in suite.attacks:
            if task not in attack.tasks:
                continue
            attacked = attacked_cases(attack, cases, model.setting)
            batches = batches_of(attacked, suite.batch)
            for method in suite.methods:
                if task in method.tasks:
                    shared = shared_key(task, attack, method, model)
                    calls += [
                        Call(task, attack, method, tuple(batch), call_key(shared, batch))
                        for batch in batches
                    ]
    return calls


def cases_of(suite: Suite, asked: Asked) -> list[Case]:
    """All cases of a suite, in its order, each once."""
    made = {case.digest: case for source in suite.cases for case in source.cases(asked)}
    return list(made.values())


def attacked_cases(attack: Attack, cases: Sequence[Case], setting: Setting) -> list[Case]:
    """What an attack makes of cases; benign ones go through none."""
    if attack.name == "none":
        return list(cases)
    return attack.cases([case for case in cases if case.banned], setting)


def shared_key(task: str, attack: Attack, method: Method, model: Model) -> dict[str, Any]:
    """What decides pictures besides their cases, for keys; code and libraries are of this process.

    Args:
        task: "t2i" or "edit".
        attack: What the cases go through.
        method: Who draws.
        model: The task's.
    """
    setting = model.setting
    bundle = setting.bundle if method.uses_bundle or attack.uses_bundle else None
    judges = (*method.judges(setting), *(setting.judges if attack.uses_judges else ()))
    shared: dict[str, Any] = {
        "model": model.identity,
        "task": task,
        "attack": identity_of(attack),
        "method": identity_of(method),
        "bundle": None if bundle is None else bundle.digest,
        "judges": [[judge.name, judge.version, judge.thresholds] for judge in judges],
        "seed": setting.seed,
        "concepts": [definition.digest for definition in setting.definitions],
    }
    if method.name == "stock" and attack.name == "none":  # which knows neither
        shared |= {"seed": 0, "concepts": []}
    return shared


def call_key(shared: Mapping[str, Any], cases: Sequence[Case]) -> str:
    """The key of a call that draws some cases."""
    return json_digest({**shared, "cases": [case.digest for case in cases]})
