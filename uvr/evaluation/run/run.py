"""Run a suite: plan its calls, draw those that are missing, judge what is unjudged.

A run that was stopped goes on where it stopped: whatever is kept under a call's key is not drawn
again, and a picture that a judge has scored is not scored again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from concepts.bundle import Bundle
from uvr.evaluation.cases import Case
from uvr.evaluation.judging import AT_ONCE
from uvr.evaluation.run.draw import Engine, draw_calls
from uvr.evaluation.run.fit import require_anchors
from uvr.evaluation.run.plan import Call, Model, cases_of, plan_calls
from uvr.evaluation.run.work import Kept, WorkFolder
from uvr.evaluation.setting import Setting
from uvr.evaluation.suites.source import Asked
from uvr.evaluation.suites.suite import Suite
from uvr.pipelines import load_pipeline
from uvr.profiles import ModelProfile

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Outcome:
    """One case, by whom it was drawn under which attack, and what is kept of the picture."""

    attack: str
    method: str
    case: Case
    kept: Kept


def load_models(
    suite: Suite,
    asked: Asked,
    bundle: Bundle | None,
    model: str | None = None,
    profiles: Sequence[ModelProfile] = (),
) -> dict[str, Model]:
    """Load a pipeline for each task that the suite's cases have.

    Args:
        suite: Whose cases.
        asked: What its sources are asked for.
        bundle: For the methods that need one.
        model: In place of the suite's.
        profiles: Of the tasks for which the model's own is not to be used.

    Raises:
        InputError: The bundle lacks anchors that a method needs.
        NotFoundError: See ``load_pipeline``.
        MismatchError: See ``load_pipeline``.
    """
    given = {profile.task: profile for profile in profiles}
    # Cases first: data that is not there should be told before a judge is loaded.
    tasks = dict.fromkeys(case.task for case in cases_of(suite, asked))
    if bundle is not None:
        require_anchors(suite, tasks, bundle)
    judges = tuple(judge.with_thresholds(asked.concepts) for judge in suite.judges)
    models = {}
    for task in tasks:
        name = model or suite.model
        pipe, profile = load_pipeline(name, task, given.get(task))
        setting = Setting(task, profile, suite.definitions, bundle, judges, asked.seed)
        models[task] = Model(pipe, setting, name)
    return models


def run_suite(
    suite: Suite,
    models: dict[str, Model],
    asked: Asked,
    work: WorkFolder,
    progress: Progress | None = None,
    engine: Engine = draw_calls,
) -> list[Outcome]:
    """Draw and judge what is missing; return everything, in the plan's order.

    Args:
        suite: What to run.
        models: By task, from ``load_models``.
        asked: What its sources of cases are asked for.
        work: Where pictures and scores are kept.
        progress: Told pictures drawn, then pictures scored.
        engine: What draws: this process by default.
    """
    say: Progress = progress or (lambda what, done, total: None)
    models = {task: model.keeping(work.path / "learned") for task, model in models.items()}
    calls = plan_calls(suite, models, asked)
    _draw(calls, models, work, say, engine)
    outcomes = [
        Outcome(call.attack.name, call.method.name, case, kept)
        for call in calls
        for case, kept in zip(call.cases, work.kept(call.key), strict=True)
    ]
    _judge(suite, [outcome.kept.digest for outcome in outcomes], work, say)
    return outcomes


def _draw(
    calls: Sequence[Call], models: dict[str, Model], work: WorkFolder, say: Progress, engine: Engine
) -> None:
    unique = {call.key: call for call in calls}
    missing = [call for key, call in unique.items() if key not in work.drawn]
    total, count = sum(len(call.cases) for call in missing), 0
    # Closed at once where keeping fails, so that no method stays open on a pipeline.
    with closing(engine(missing, models)) as drawn:
        for done in drawn:
            work.keep(done.key, done.pictures, done.cost)
            count += len(done.pictures)
            say("drawn", count, total)


def _judge(suite: Suite, digests: Sequence[str], work: WorkFolder, say: Progress) -> None:
    for judge in suite.judges:
        missing = work.unscored(judge, digests)
        for first in range(0, len(missing), AT_ONCE):
            part = missing[first : first + AT_ONCE]
            work.score(judge, part)
            say(f"scored by {judge.name}", first + len(part), len(missing))
