"""A version's contact sheet: its words, its pictures, how well it does, and who decided what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from concepts.calibration import Calibration, recorded_calibration
from concepts.definition import ConceptDefinition
from console.evidence.pictures import Pictured
from registry.answers import RequestInfo, VersionDetail
from registry.registry import Registry
from registry.versions.diff import VersionDiff
from registry.versions.exemplars import ExemplarInfo
from uvr.examples.examples import Example

VEILED = ("nudity",)
"""Categories of concepts whose pictures are blurred until someone wants to see them."""


def is_veiled(definition: ConceptDefinition) -> bool:
    """Whether pictures of a concept are blurred at first."""
    return definition.category in VEILED


@dataclass(frozen=True)
class Ground:
    """Where some of the pictures behind a version came from, and why they may be used."""

    origin: str
    legal_basis: str
    pictures: int


@dataclass(frozen=True, eq=False)
class Record:
    """What a registry knows of a version, without pictures.

    Attributes:
        detail: State, definition, figures, and where it is live.
        before: The newest approved version before it; None for none.
        diff: What changed since that one.
        requests: Each time that it was put up for review, oldest first.
        grounds: Of the pictures that it was made from, as far as they are on record.
    """

    detail: VersionDetail
    before: int | None
    diff: VersionDiff | None
    requests: tuple[RequestInfo, ...]
    grounds: tuple[Ground, ...]

    @property
    def veiled(self) -> bool:
        """Whether its pictures are blurred at first."""
        return is_veiled(self.detail.definition)

    @property
    def approved(self) -> RequestInfo | None:
        """The request by which it was approved."""
        found = [item for item in self.requests if item.state == "approved"]
        return found[-1] if found and self.detail.version.state != "draft" else None


def version_record(registry: Registry, slug: str, number: int | None = None) -> Record:
    """Read what is known of a version, the newest by default.

    Raises:
        NotFoundError: There is no such concept or version.
    """
    detail = registry.versions.detail(slug, number)
    version = detail.version
    before = max(
        (
            item.number
            for item in registry.concepts.get(slug).versions
            if item.number < version.number and item.state in ("approved", "deprecated")
        ),
        default=None,
    )
    return Record(
        detail=detail,
        before=before,
        diff=None if before is None else registry.versions.diff(slug, before, version.number),
        requests=tuple(
            item
            for item in registry.versions.requests(None)
            if (item.slug, item.version) == (slug, version.number)
        ),
        grounds=grounds_of(
            registry.exemplars.list(slug), {item.anchor_set for item in version.spaces}
        ),
    )


def grounds_of(
    exemplars: Sequence[ExemplarInfo], anchor_sets: set[str], at: str | None = None
) -> tuple[Ground, ...]:
    """Count the pictures behind some anchors by origin and legal basis, those known by ``at``."""
    counts: dict[tuple[str, str], set[str]] = {}
    for item in exemplars:
        if item.anchor_set in anchor_sets and (at is None or item.created_at <= at):
            key = (item.ref.origin, item.ref.legal_basis)
            counts.setdefault(key, set()).add(item.ref.sha256)
    return tuple(Ground(*key, len(found)) for key, found in sorted(counts.items()))


def calibration_of(stored: Mapping[str, Any] | None) -> Calibration | None:
    """What a version's thresholds promise and reach, on pictures that did not set them."""
    return None if stored is None else recorded_calibration({"calibration": stored})


def sheet_numbers(record: Record, pictures: Sequence[Pictured]) -> dict[str, Any]:
    """The numbers of a sheet as JSON."""
    version = record.detail.version
    return {
        "slug": version.slug,
        "version": version.number,
        "state": version.state,
        "content_digest": version.content_digest,
        "compared_with": record.before,
        "places": [_place_numbers(item) for item in pictures],
        "evaluations": [asdict(item) for item in version.evaluations],
        "diff": None if record.diff is None else record.diff.to_dict(),
        "requests": [asdict(item) for item in record.requests],
        "grounds": [asdict(item) for item in record.grounds],
    }


def _place_numbers(item: Pictured) -> dict[str, Any]:
    space, examples = item.place.space, item.examples
    numbers: dict[str, Any] = {
        "model": space.space.model,
        "task": space.space.task,
        "threshold": space.seed_threshold,
        "calibration": space.calibration,
        "note": item.note,
    }
    if examples is None:
        return {**numbers, "examples": None}
    return {
        **numbers,
        "seed": examples.seed,
        "seen": examples.seen,
        "examples": examples.rates().to_dict(),
        "missed": [_told(one) for one in examples.missed()],
        "caught_for_another_thing": [_told(one) for one in examples.strayed()],
        "wrongly_caught": [_told(one) for one in examples.wrongly_caught()],
        "changed": [
            {**_told(one.example), "was_caught": one.was_caught, "score_before": one.score_before}
            for one in item.changed
        ],
    }


def _told(example: Example) -> dict[str, Any]:
    return {"key": example.key, "prompt": example.prompt, "score": example.score,
            "kind": example.kind, "name": example.name}  # fmt: skip
