"""What engines found in a picture: by a report, by a decision log, or by a check of it now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from concepts.bundle import Bundle
from concepts.errors import ConflictError, MismatchError, NotFoundError
from concepts.instant import now
from registry.operations import Caught
from registry.registry import Registry
from uvr.anchors.pictures import read_picture
from uvr.checked_picture import CheckedPicture
from uvr.decisions.decision import Decision, pixels_digest
from uvr.decisions.reading import LoggedDecisions
from uvr.report import RegulationReport

Check = Callable[[Image.Image, Bundle], CheckedPicture]
"""Checks a picture for what a bundle bans, with whatever model the caller has."""

SHARED = 5
"""Pictures with the same pixels that are told of at most."""


@dataclass(frozen=True)
class CaughtIn:
    """What was found in one picture.

    Attributes:
        where: Which picture that is, in words, counted from 1.
        caught: What was found in it.
        prompt: What it was drawn for; "" where that is not known.
    """

    where: str
    caught: list[Caught]
    prompt: str = ""


def caught_in(
    registry: Registry, subject: str, log: LoggedDecisions | None, check: Check
) -> list[CaughtIn]:
    """Return what was found in the picture or pictures that a subject names.

    Args:
        registry: Where releases are live.
        subject: A report, ``*.json``; the name of a request in the log; or a picture.
        log: A decision log, if there is one.
        check: Checks a picture that no log has.

    Raises:
        ConflictError: More than ``SHARED`` pictures in the log have the pixels of this one.
        NotFoundError: The log has no such request; or a picture is in no log, and nothing is live.
        MismatchError: A picture is in no log, and what is live has no anchors for checking.
    """
    path = Path(subject)
    if path.suffix == ".json":
        return caught_by_report(RegulationReport.load(path), f"'{path}'")
    if not path.is_file():
        if log is None:
            raise NotFoundError(
                f"No file '{subject}'. To look for a request of that name give --log."
            )
        if not (decisions := log.of_request(subject)):
            raise NotFoundError(
                f"No decision on request '{subject}' in the log, and no file of that name."
            )
        return caught_by_decisions(decisions, f"request '{subject}'")
    image = read_picture(path)
    if log is not None and (decisions := log.of_picture(pixels_digest(image), SHARED + 1)):
        return caught_in_pictures(decisions, f"'{subject}'")
    why = "No log was given (--log FILE)" if log is None else f"'{subject}' is not in the log"
    return _of_live(registry, image, subject, check, why)


def caught_by_report(report: RegulationReport, name: str) -> list[CaughtIn]:
    """Return what was found in each picture of a report, which ``name`` names for people."""
    found: dict[int, dict[str, Caught]] = {place: {} for place in range(len(report.images))}
    for place, item in report.fired_findings():
        found[place][item.slug] = Caught(
            item.slug, item.version, item.mode, item.score, item.threshold, report.digest,
            report.time, report.space, item.feature,
        )  # fmt: skip
    for verdict in report.verdicts:  # what the check and judges alone found
        for seen in verdict.evidence:
            found[verdict.picture].setdefault(seen.concept, Caught(
                seen.concept, seen.version, seen.mode, seen.score, seen.threshold, report.digest,
                report.time,
            ))  # fmt: skip
    name = f"request '{report.request}'" if report.request else name
    return [
        CaughtIn(f"picture {place + 1} of {name}", list(caught.values()))
        for place, caught in found.items()
    ]


def caught_in_pictures(decisions: Sequence[Decision], subject: str) -> list[CaughtIn]:
    """Return what was found in the pictures that have the pixels of one, which is ``subject``.

    Raises:
        ConflictError: There are more than ``SHARED``.
        NotFoundError: There are none.
    """
    if len(decisions) > SHARED:
        raise ConflictError(
            f"More than {SHARED} pictures in the log have the pixels of {subject}, as grey ones "
            "that take the place of blocked ones do. Ask by the request's name."
        )
    return caught_by_decisions(decisions, subject)


def caught_by_decisions(decisions: Iterable[Decision], subject: str) -> list[CaughtIn]:
    """Return what was found in the pictures that decisions are on.

    Raises:
        NotFoundError: There are none; ``subject`` says on what.
    """
    found = []
    for decision in decisions:
        verdict, caught = decision.verdict, dict[str, Caught]()
        for item in verdict.evidence:
            feature = decision.features.get(item.concept) if item.stage == "look" else None
            one = Caught(item.concept, item.version, item.mode, item.score, item.threshold,
                         verdict.bundle, decision.time, decision.space, feature)  # fmt: skip
            if item.concept not in caught or feature is not None:
                caught[item.concept] = one
        where = f"picture {verdict.picture + 1} of request '{decision.request}'"
        found.append(CaughtIn(where, list(caught.values()), decision.prompt or ""))
    if not found:
        raise NotFoundError(f"No decision on {subject} in the log.")
    return found


def _of_live(
    registry: Registry, image: Image.Image, subject: str, check: Check, why: str
) -> list[CaughtIn]:
    """Check a picture against each release that is live in a channel now; ``why`` it is needed."""
    found = []
    channels = registry.channels.list()
    if not channels:
        raise NotFoundError(
            f"{why}, and no channel is live to check '{subject}' against. Move one: `uvr-registry "
            "channel move`."
        )
    releases: dict[tuple[str, int], list[str]] = {}
    for channel in channels:
        releases.setdefault((channel.bundle, channel.sequence), []).append(channel.name)
    for (bundle, sequence), names in releases.items():
        try:
            seen = check(image, registry.releases.bundle(bundle, sequence))
        except MismatchError as error:
            raise MismatchError(
                f"{why}, and '{subject}' cannot be checked against what is live: {error}"
            ) from error
        where = f"'{subject}', checked by {bundle}@{sequence} ({', '.join(names)})"
        found.append(CaughtIn(where, caught_by_check(seen, now())))
    return found


def caught_by_check(checked: CheckedPicture, at: str) -> list[Caught]:
    """Return what the check of one picture found by its features at an instant."""
    return [
        Caught(item.slug, item.version, item.mode, item.score, item.threshold,
               checked.verdict.bundle, at, checked.space, item.feature)
        for item in checked.findings if item.fired
    ]  # fmt: skip
