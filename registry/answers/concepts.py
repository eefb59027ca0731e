"""A concept, alone and in lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from concepts.definition import ConceptDefinition
from registry.answers.live import LivePlace
from registry.answers.versions import VersionInfo, no_version


@dataclass(frozen=True)
class ConceptInfo:
    """A concept in a list; ``latest_version`` is None before anchors were collected."""

    slug: str
    name: str
    category: str
    latest_version: int | None
    versions: int
    created_at: str


@dataclass(frozen=True)
class ConceptStanding(ConceptInfo):
    """A concept in a list, with its newest version and where it is live.

    Attributes:
        state: The newest version's; None where there is none.
        thresholds: The newest version's seed threshold, by "MODEL/TASK".
        live: Where a version of it is live, by channel.
    """

    state: str | None
    thresholds: Mapping[str, float]
    live: tuple[LivePlace, ...]


@dataclass(frozen=True)
class ConceptDetail:
    """A concept, the definition that its next version takes, and its versions, oldest first."""

    slug: str
    name: str
    category: str
    created_at: str
    created_by: str
    definition: ConceptDefinition
    versions: tuple[VersionInfo, ...]

    def version(self, number: int | None = None) -> VersionInfo:
        """Return a version, the newest by default; NotFoundError where there is none."""
        found = [item for item in self.versions if number in (None, item.number)]
        if not found:
            raise no_version(self.slug, number)
        return found[-1]
