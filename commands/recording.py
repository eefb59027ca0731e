"""What ``evaluate`` does with a registry: the version to measure, its record, and gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.app import App
from commands.measured_words import evaluation_lines, gate_lines
from commands.reading import read_gate
from commands.text import version_name
from concepts.errors import GateError

if TYPE_CHECKING:
    from concepts.bundle import Bundle
    from concepts.gate import Gate
    from registry.answers import VersionInfo
    from registry.registry import Registry
    from uvr.evaluation.suites.suite import Suite

METHOD = "ours"
"""Whose pictures are recorded where no gate says another method."""


@dataclass(frozen=True)
class Recording:
    """A version that is measured to be recorded, with the gate that it is held to."""

    registry: Registry
    version: VersionInfo
    gate: Gate | None

    @classmethod
    def begin(cls, app: App, slug: str, number: int | None, gate: Gate | None) -> Recording:
        """Find the version; without a gate of its own it is held to the policy's."""
        registry = app.open()
        held = gate or registry.team.policy().gate
        covered = held if held is not None and held.covers(slug) else None
        return cls(registry, registry.versions.get(slug, number), covered)

    @property
    def method(self) -> str:
        """Whose pictures count."""
        return METHOD if self.gate is None else self.gate.method

    def bundle(self) -> Bundle:
        """The version alone, as an engine would attach it."""
        return self.registry.releases.trial(self.version.slug, self.version.number)

    def check(self, suite: Suite) -> None:
        """Refuse, before anything is drawn, a suite that says nothing of the version."""
        slugs = [item.slug for item in suite.definitions]
        if self.version.slug not in slugs:
            raise click.UsageError(
                f"The suite '{suite.name}' has no concept '{self.version.slug}'; it has "
                f"{', '.join(slugs)}. {self._way_out()}"
            )
        check_method(suite, self.method)

    def _way_out(self) -> str:
        """What to do where a suite has not the concept."""
        own = "Measure it on a suite of your own, a YAML file that names its definition"
        if self.gate is None:
            return f"{own}."
        return (
            f"{own}, and name that suite in the gate; or limit the gate to the concepts that its "
            "suite has, with `concepts:` in its file, and set it again: `uvr-registry policy set "
            "--gate FILE`."
        )

    def keep(
        self, app: App, report: Mapping[str, Any], digest: str
    ) -> tuple[dict[str, Any], list[str], list[str]]:
        """Record what a report says; return it as JSON, in lines, and what misses the gate."""
        from uvr.evaluation.recorded import evaluation_of

        slug, number = self.version.slug, self.version.number
        evaluation = evaluation_of(report, digest, slug, self.method)
        found = self.version
        if evaluation.digest not in {item.digest for item in found.evaluations}:
            found = self.registry.versions.evaluate(
                slug, number, actor=app.actor, evaluation=evaluation,
                expect_digest=self.version.content_digest,
            )  # fmt: skip
        info = next(asdict(i) for i in found.evaluations if i.digest == evaluation.digest)
        missed = _missed(self.gate, evaluation)
        lines = [f"{version_name(slug, number)}, content {found.content_digest}"]
        said = [*lines, *evaluation_lines(info), *gate_lines(missed)]
        return {**info, "gate": missed}, said, missed or []


def check_method(suite: Suite, method: str) -> None:
    """Refuse a run without the method that counts."""
    methods = [item.name for item in suite.methods]
    if method not in methods:
        raise click.UsageError(
            f"What {method} reaches is asked for, and {', '.join(methods)} would be drawn: add "
            f"--method {method}."
        )


def gated(gate: Gate, report: Mapping[str, Any], digest: str, bundle: Bundle | None) -> list[str]:
    """What every concept of a bundle, or else of the suite, misses of a gate, a line each."""
    from uvr.evaluation.recorded import evaluation_of

    slugs = [slug for slug in report["suite"]["concepts"] if gate.covers(slug)]
    held = [slug for slug in slugs if bundle is None or slug in bundle.slugs]
    lines = []
    for slug in held:
        missed = _missed(gate, evaluation_of(report, digest, slug, gate.method))
        lines += [f"{slug}: {line}" for line in missed or ()]
    return lines if held else ["none of the gate's concepts was measured"]


def refuse_missed(missed: list[str]) -> None:
    """End with exit code 9 where a bar was missed."""
    if missed:
        raise GateError(f"Below the gate: {'; '.join(missed)}.")


def read_gate_of(path: Path | None) -> Gate | None:
    """Read a gate, if one is given."""
    return None if path is None else read_gate(path)


def _missed(gate: Gate | None, evaluation: Any) -> list[str] | None:
    if gate is None:
        return None
    if not gate.fits(evaluation):
        asked, ran = (
            f"{item.method} on {item.suite} ({item.suite_digest[:12]})"
            for item in (gate, evaluation)
        )
        return [f"it asks for {asked}, and {ran} was run"]
    return gate.missed(evaluation)
