"""Versions made of what was collected, and what is said of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from commands.app import App
from commands.measured_words import advice_lines, measured_lines
from commands.output import version_json
from concepts.errors import UVRError

if TYPE_CHECKING:
    from concepts.definition import ConceptDefinition
    from registry.answers import VersionInfo, VersionSpace
    from registry.registry import Registry
    from registry.versions.exemplars import Exemplar
    from uvr.anchors.collection import Collected
    from uvr.anchors.feature_folder import FeatureFolder

OVERLAP = 0.05  # the share of near anchors from which two concepts are worth a word


@dataclass(frozen=True)
class NewVersions:
    """Makes versions of what was collected of some concepts.

    Attributes:
        app: Says what becomes of it.
        registry: Takes the versions.
        outcomes: What was collected, by slug.
        before: The version before, by slug; None where there is none.
        added: Whether the anchors of the version before were kept too.
    """

    app: App
    registry: Registry
    outcomes: Mapping[str, Collected]
    before: Mapping[str, VersionInfo | None]
    added: bool

    def add(
        self,
        definitions: Iterable[ConceptDefinition],
        references: Sequence[Exemplar],
        features: FeatureFolder,
    ) -> tuple[dict[str, VersionInfo], list[UVRError]]:
        """Make a version of each concept, and forget the features behind it.

        Args:
            definitions: Of the concepts.
            references: To the pictures that were given.
            features: Where those of what was drawn are kept.

        Returns:
            The versions by slug, and why there is none of the others.
        """
        versions: dict[str, VersionInfo] = {}
        refused: list[UVRError] = []
        for definition in definitions:
            try:
                versions[definition.slug] = self._add(definition, references)
                if not self.app.dry_run:
                    features.discard(self.outcomes[definition.slug].features)
            except UVRError as error:
                refused.append(error)
        return versions, refused

    def show(self, versions: Mapping[str, VersionInfo]) -> None:
        """Print what new versions hold and find."""
        lines: list[str] = []
        data = {}
        for slug, version in versions.items():
            outcome = self.outcomes[slug]
            lines += self._lines(version, outcome.collections)
            data[slug] = {
                **version_json(version),
                "warnings": [*outcome.foreseen, *outcome.doubts],
            }
        self.app.show(data, lines)

    def _add(self, definition: ConceptDefinition, references: Sequence[Exemplar]) -> VersionInfo:
        slug, outcome = definition.slug, self.outcomes[definition.slug]
        if outcome.problem is not None and outcome.failed:
            raise outcome.problem
        if outcome.problem is not None:
            self.app.warn(f"{slug} has no new anchors for one of the tasks. {outcome.problem}")
        for sentence in outcome.doubts:
            self.app.warn(f"{slug}: {sentence}")
        self._warn_of_overlaps(slug, outcome.collections)
        known = self._references_before(slug, outcome.collections) if self.added else []
        return self.registry.versions.add(
            slug, outcome.collections, actor=self.app.actor, definition_digest=definition.digest,
            exemplars=[*references, *known],
        )  # fmt: skip

    def _warn_of_overlaps(self, slug: str, collections: Sequence[Any]) -> None:
        """Say which other concepts have a good part of these anchors already, or nearly."""
        for item in self.registry.index.overlaps(slug, collections):
            if item.share >= OVERLAP:
                state = item.state.replace("_", " ")
                self.app.warn(
                    f"{item.share:.0%} of these anchors of {slug} lie within 0.05 of {item.slug} "
                    f"version {item.version} ({state}): is it the same concept?"
                )

    def _references_before(self, slug: str, collections: Sequence[Any]) -> list[Exemplar]:
        """References to the pictures behind the anchors that new ones were added to."""
        version = self.before[slug]
        spaces = [anchors.space for anchors, _ in collections]
        held = [same_place(version, space.model, space.task) for space in spaces]
        sets = {item.anchor_set for item in held if item is not None}
        if not sets or version is None:
            return []
        known = self.registry.exemplars.list(slug)
        return [item.ref for item in known if item.anchor_set in sets]

    def _lines(self, version: VersionInfo, collections: Sequence[Any]) -> list[str]:
        """What a new version holds and finds, and what became of the anchors that were there."""
        before = self.before[version.slug]
        lines = [
            f"{version.slug} version {version.number}: {version.anchors} anchors, "
            f"{version.counter_anchors} counter-anchors"
        ]
        for anchors, _ in collections:
            space = anchors.space
            held = same_place(before, space.model, space.task)
            if held is not None and before is not None:
                of, found = f"{held.anchors} of version {before.number}", len(anchors.anchors)
                more = f"{found - held.anchors} added to the {of}"
                lines.append(
                    f"  {space.task}: {more if self.added else f'{found} in place of {of}'}"
                )
            made = same_place(version, space.model, space.task)
            if made is not None:
                told = [*measured_lines(made.calibration), *advice_lines(made.calibration)]
                lines += [f"  {space.task}: {line}" for line in told]
        return lines


def same_place(version: VersionInfo | None, model: str, task: str) -> VersionSpace | None:
    """What a version holds of a model and task; anchors of any one space take its place."""
    spaces = version.spaces if version is not None else ()
    return next((s for s in spaces if (s.space.model, s.space.task) == (model, task)), None)
