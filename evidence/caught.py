"""What an engine found in pictures, as its report or its decision log tells, for an incident."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from concepts.errors import ConflictError, NotFoundError
from registry.operations import Caught
from uvr.decisions.decision import Decision
from uvr.report import RegulationReport

SHARED = 5
"""Pictures with the same pixels that are told of at most."""


@dataclass(frozen=True)
class CaughtIn:
    """What was found in one picture.

    Attributes:
        where: Which picture that is, in words.
        caught: What was found in it.
        prompt: What it was drawn for, where that is known.
    """

    where: str
    caught: list[Caught]
    prompt: str = ""


def caught_by_report(report: RegulationReport, name: str) -> list[CaughtIn]:
    """Return what was found in each picture of a report, which ``name`` names for people."""
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
    name = f"request '{report.request}'" if report.request else name
    return [CaughtIn(f"picture {place} of {name}", caught) for place, caught in found.items()]


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
        where = f"picture {verdict.picture} of request '{decision.request}'"
        found.append(CaughtIn(where, list(caught.values()), decision.prompt or ""))
    if not found:
        raise NotFoundError(f"No decision on {subject} in the log.")
    return found


def caught_in_pictures(decisions: Sequence[Decision], subject: str) -> list[CaughtIn]:
    """Return what was found in the pictures that have the pixels of one, which is ``subject``.

    Raises:
        ConflictError: There are more than ``SHARED``.
        NotFoundError: There are none.
    """
    if len(decisions) > SHARED:
        raise ConflictError(
            f"{len(decisions)} pictures in the log have the pixels of {subject}, as grey ones that "
            "take the place of blocked ones do. Ask by the request's name."
        )
    return caught_by_decisions(decisions, subject)
