"""What a job is about, looked up when it is asked for: a worker would find out hours later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from commands.reading import check_model

if TYPE_CHECKING:
    from registry.registry import Registry


def check_subjects(registry: Registry, kind: str, said: Mapping[str, Any]) -> None:
    """Refuse, as the command itself would, what there is not.

    What is made until a worker comes to it counts for nothing: what a job is about is there when
    it is asked for.

    Args:
        registry: Where it is looked up.
        kind: Of the job.
        said: What a job's words say, by the name of its parameter.

    Raises:
        NotFoundError: There is no such concept, version, release, suite or model.
        PolicyError: A version that is to be fitted anew is no draft.
    """
    for slug in said.get("slugs", ()):
        registry.concepts.get(slug)
    for name in ("version", "record"):
        if (version := said.get(name)) is not None:
            find = registry.versions.draft if kind == "calibrate" else registry.versions.get
            find(*version)
    if (release := said.get("release_name")) is not None:
        registry.releases.get(*release)
    if (model := said.get("model")) is not None:
        check_model(model)
    if (suite := said.get("suite")) is not None:
        from uvr.evaluation.suites.shipped import check_suite

        check_suite(suite)
