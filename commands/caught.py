"""What engines found in a picture: by a report, by a decision log, or by a check of it now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from commands.reading import check_model
from concepts.errors import NotFoundError
from concepts.instant import now

if TYPE_CHECKING:
    from PIL import Image

    from concepts.bundle import Bundle
    from registry.operations import Caught
    from registry.registry import Registry
    from uvr.checking import CheckedPicture
    from uvr.decisions.decision import Decision
    from uvr.decisions.reading import LoggedDecisions
    from uvr.profiles import ModelProfile


@dataclass(frozen=True)
class CaughtIn:
    """What was found in one picture.

    Attributes:
        where: Which picture that is, in words.
        caught: What was found in it.
    """

    where: str
    caught: list[Caught]


def caught_in(
    registry: Registry, subject: str, log: LoggedDecisions | None, model: str
) -> list[CaughtIn]:
    """Return what was found in the picture or pictures that a subject names.

    Args:
        registry: Where releases are live.
        subject: A report, ``*.json``; the name of a request in the log; or a picture.
        log: A decision log, if there is one.
        model: What a picture that no log has is checked with.

    Raises:
        NotFoundError: The log has no such request; or a picture is in no log, and nothing is live.
        MismatchError: A picture is in no log, and what is live has no anchors for checking.
    """
    path = Path(subject)
    if path.suffix == ".json":
        return _of_report(path)
    if not path.is_file():
        if log is None:
            raise NotFoundError(
                f"No file '{subject}'. To look for a request of that name give --log."
            )
        return _of_decisions(log.of_request(subject), f"request '{subject}'")
    from uvr.anchors.pictures import read_picture
    from uvr.decisions.decision import pixels_digest

    image = read_picture(path)
    if log is not None and (decisions := log.of_picture(pixels_digest(image))):
        return _of_decisions(decisions, subject)
    return _of_live(registry, image, subject, model)


def _of_report(path: Path) -> list[CaughtIn]:
    from registry.operations import Caught
    from uvr.report import RegulationReport

    report = RegulationReport.load(path)
    found: dict[int, list[Caught]] = {place: [] for place in range(len(report.images))}
    for place, item in report.fired_findings():
        found[place].append(
            Caught(item.slug, item.version, item.mode, item.score, item.threshold, report.digest,
                   report.time, report.space, item.feature)
        )  # fmt: skip
    for verdict in report.verdicts:
        looked = {item.slug for item in found[verdict.picture]}
        found[verdict.picture] += [
            Caught(item.concept, item.version, item.mode, item.score, item.threshold,
                   report.digest, report.time)
            for item in verdict.evidence if item.concept not in looked
        ]  # fmt: skip
    name = f"request '{report.request}'" if report.request else f"'{path}'"
    return [CaughtIn(f"picture {place} of {name}", caught) for place, caught in found.items()]


def _of_decisions(decisions: Iterable[Decision], subject: str) -> list[CaughtIn]:
    from registry.operations import Caught

    found = []
    for decision in decisions:
        verdict, caught = decision.verdict, dict[str, Caught]()
        for item in verdict.evidence:
            feature = decision.features.get(item.concept) if item.stage == "look" else None
            one = Caught(item.concept, item.version, item.mode, item.score, item.threshold,
                         verdict.bundle, decision.time, decision.space, feature)  # fmt: skip
            if item.concept not in caught or feature is not None:
                caught[item.concept] = one
        where = f"picture {verdict.picture} of request '{decision.request}'"
        found.append(CaughtIn(where, list(caught.values())))
    if not found:
        raise NotFoundError(f"No decision on {subject} in the log.")
    return found


def _of_live(registry: Registry, image: Image.Image, subject: str, model: str) -> list[CaughtIn]:
    """Check a picture against each release that is live in a channel now."""
    from registry.operations import Caught

    check_model(model)
    found = []
    channels = registry.channels.list()
    if not channels:
        raise NotFoundError(
            f"No decision log has '{subject}', and no channel is live to check it against: give "
            "--log, or move a channel."
        )
    releases = {(item.bundle, item.sequence): [] for item in channels}  # type: ignore[var-annotated]
    for item in channels:
        releases[item.bundle, item.sequence].append(item.name)
    for (bundle, sequence), names in releases.items():
        seen = checked(image, registry.releases.bundle(bundle, sequence), model)
        caught = [
            Caught(item.slug, item.version, item.mode, item.score, item.threshold,
                   seen.verdict.bundle, now(), seen.space, item.feature)
            for item in seen.findings if item.fired
        ]  # fmt: skip
        where = f"'{subject}', checked by release {sequence} of '{bundle}' ({', '.join(names)})"
        found.append(CaughtIn(where, caught))
    return found


def checked(
    image: Image.Image,
    bundle: Bundle,
    model: str,
    profile: ModelProfile | None = None,
    checks: Sequence[str] = ("features",),
) -> CheckedPicture:
    """Check a picture with a model that is loaded for it; see ``uvr.checking``."""
    from commands.pictures import checks_named
    from uvr.checking import check_picture
    from uvr.pipelines import load_pipeline

    pipe, found = load_pipeline(model, None, profile)
    return check_picture(pipe, found, bundle, image, checks_named(checks))
