"""From what looks, checks and retries found in a picture to the verdict on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from uvr.engine.check import Examined
from uvr.engine.generation import Assignment
from uvr.judges.judge import Judgement
from uvr.report import ConceptFinding, RegulationReport
from uvr.verdict import Evidence, Verdict, said


@dataclass
class Course:
    """What happened to one picture after it was drawn.

    Attributes:
        picture: Its place among the call's pictures.
        examined: What the check said of it, and of each time that it was drawn again.
        other_noise: Whether the picture that is returned began with other noise.
        hindrance: Why it could not be drawn again, or not with other noise.
        ending: What was done where the last check still found something: "pass", "flag", "block",
            or "retry", after which it is flagged; "" where nothing was left.
    """

    picture: int
    examined: list[Examined] = field(default_factory=list)
    other_noise: bool = False
    hindrance: str = ""
    ending: str = ""

    @property
    def last(self) -> Examined:
        """What the check said of the picture that is returned."""
        return self.examined[-1]

    @property
    def retries(self) -> int:
        """How often the picture was drawn again."""
        return max(0, len(self.examined) - 1)


def evidence_of(findings: Iterable[ConceptFinding], stage: str) -> list[Evidence]:
    """The findings that fired, what is enforced and scored highest above its threshold first."""
    fired = sorted(
        (item for item in findings if item.fired),
        key=lambda item: (not item.enforced, item.threshold - item.score),
    )
    return [
        Evidence(stage, item.slug, item.name, item.version, item.mode, item.score,
                 item.threshold, item.area)
        for item in fired
    ]  # fmt: skip


def residual_of(assignment: Assignment, examined: Examined) -> list[Evidence]:
    """What the check found of enforced concepts."""
    return [item for item in _checked(assignment, examined) if item.enforced]


def _checked(assignment: Assignment, examined: Examined) -> list[Evidence]:
    judged = [_of_judge(assignment, item) for item in examined.judgements if item.fired]
    return [*evidence_of(examined.findings, "check"), *judged]


def _of_judge(assignment: Assignment, judgement: Judgement) -> Evidence:
    """A judge's evidence; what the bundle does not hold is enforced, as its judge was asked for."""
    member = assignment.member(judgement.slug)
    name = member.name if member else judgement.slug.replace("-", " ").capitalize()
    return Evidence(
        "judge", judgement.slug, name, member.version if member else None,
        assignment.mode_of(member) if member else "enforce",
        judgement.score, judgement.threshold, judge=judgement.judge,
    )  # fmt: skip


def verdict_of(
    report: RegulationReport, course: Course, assignment: Assignment | None = None
) -> Verdict:
    """The verdict on one picture of a call.

    Args:
        report: The call's, with what the look found.
        course: What happened to the picture after it was drawn.
        assignment: What the check went by; None where there was none.
    """
    place = course.picture
    looked = evidence_of([*report.images[place], *report.shadow[place]], "look")
    checked = [] if assignment is None else [_checked(assignment, e) for e in course.examined]
    observed = [item for part in (looked, *checked[-1:]) for item in part if not item.enforced]
    told = Told(
        looked=[item for item in looked if item.enforced],
        residuals=[[item for item in part if item.enforced] for part in checked],
        observed=observed,
    )
    # What decided comes first.
    evidence = (*told.residual, *told.looked, *told.observed)
    outcome = _outcome(course, told)
    return Verdict(place, outcome, report.digest, evidence, _reason(course, told), course.retries,
                   course.other_noise)  # fmt: skip


@dataclass(frozen=True)
class Told:
    """The evidence on one picture, by what follows from it.

    Attributes:
        looked: What the look found of enforced concepts.
        residuals: What each check found of them.
        observed: What is only reported.
    """

    looked: list[Evidence]
    residuals: list[list[Evidence]]
    observed: list[Evidence]

    @property
    def left(self) -> list[Evidence]:
        """What is left in the picture that is returned."""
        return self.residuals[-1] if self.residuals else []

    @property
    def residual(self) -> list[Evidence]:
        """What a check found last."""
        return next((part for part in reversed(self.residuals) if part), [])


def _outcome(course: Course, told: Told) -> str:
    if told.left and course.ending != "pass":
        return "blocked" if course.ending == "block" else "flagged"
    if course.retries:
        return "retried"
    return "regulated" if told.looked else "untouched"


def _reason(course: Course, told: Told) -> str:
    parts = []
    if told.looked:
        several = len({item.name for item in told.looked}) > 1
        places = "their places were" if several else "its place was"
        parts.append(f"{said(told.looked)}, and {places} filled in.")
    if told.residual:
        parts.append(f"{said(told.residual)}, {_what_followed(course, told)}.")
    elif told.looked and told.residuals:
        parts.append("The check found nothing left.")
    if course.hindrance:
        how = "with other noise" if course.retries else "again"
        parts.append(f"The picture was not drawn {how}: {course.hindrance}.")
    if told.observed:
        parts.append(f"{said(told.observed)}, which is only reported.")
    return " ".join(parts) or "Nothing banned was found."


def _what_followed(course: Course, told: Told) -> str:
    again = _drawn_again(course)
    if not told.left:
        return f"and the picture was drawn again {again}, after which nothing was found"
    ending = {
        "pass": "and it is let pass",
        "block": "and a grey picture takes its place",
    }.get(course.ending, "and it is returned as it is")
    return f"also after it was drawn again {again}, {ending}" if course.retries else ending


def _drawn_again(course: Course) -> str:
    """How often and from what: "twice, and once with other noise"."""
    fills = course.retries - course.other_noise
    parts = [("once", "twice")[fills - 1]] if fills else []
    return ", and ".join([*parts, "once with other noise"] if course.other_noise else parts)
