"""Whether a bundle has the anchors that a suite's methods need, before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from concepts.bundle import Bundle
from concepts.errors import InputError
from concepts.words import TASKS
from uvr.evaluation.methods.method import Method
from uvr.evaluation.suites.shipped import shipped_suites
from uvr.evaluation.suites.suite import Suite, load_suite


def require_anchors(suite: Suite, tasks: Iterable[str], bundle: Bundle) -> None:
    """Refuse a suite whose methods need anchors for tasks that a bundle has none for.

    Args:
        suite: Whose methods.
        tasks: Those that its cases have.
        bundle: What the methods are given.

    Raises:
        InputError: Says what is lacking, and which suites fit.
    """
    has = {variant.space.task for variant in bundle.variants}
    needed = {item for task in tasks for method in suite.methods for item in _needs(method, task)}
    if not needed - has:
        return
    fitting = "; ".join(_fitting(bundle, has))
    instead = f"run what fits: {fitting}" if fitting else "write a suite without"
    raise InputError(
        f"The suite '{suite.name}' needs anchors for {_listed(needed - has)}, and bundle "
        f"'{bundle.name}' has them for {_listed(has) or 'nothing'}. Collect them, or "
        f"{instead}."
    )


def _fitting(bundle: Bundle, has: set[str]) -> Iterator[str]:
    """Name the shipped suites that a bundle is enough for, with their methods that use it."""
    for name in shipped_suites():
        suite = load_suite(name)
        tasks = _tasks_of(suite)
        if not tasks <= has or not {item.slug for item in suite.definitions} & set(bundle.slugs):
            continue
        methods = [
            method.name
            for method in suite.methods
            if method.uses_bundle and all(set(_needs(method, task)) <= has for task in tasks)
        ]
        if methods:
            yield f"{name} with {' '.join(f'--method {method}' for method in methods)}"


def _tasks_of(suite: Suite) -> set[str]:
    """The tasks of a suite's cases; that of a data set, which is not told before it is read, ""."""
    return {getattr(source, "task", "") for source in suite.cases}


def _needs(method: Method, task: str) -> Sequence[str]:
    return method.needs(task) if task in method.tasks else ()


def _listed(tasks: set[str]) -> str:
    return ", ".join(task for task in TASKS if task in tasks)
