"""Who approved a version: a review counts for the content it saw, by one who may still review."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.answers import ReviewInfo
from registry.change.event import AuditEvent, read_event
from registry.change.policy import policy_row
from registry.store.models import (
    Actor,
    AuditEventRow,
    ChangeRequest,
    Concept,
    ConceptVersion,
    Review,
)

APPROVING = ("version.submit", "version.approve", "version.break_glass", "release.add")


@dataclass(frozen=True)
class Approval:
    """How a version came to be approved.

    Attributes:
        at: When.
        by: Whose approvals counted; whoever asked for it where the policy needs none.
        how: "review", "break_glass", or "policy" where the policy asked for no approvals.
    """

    at: str
    by: tuple[str, ...]
    how: str


def open_request(session: Session, version: ConceptVersion) -> ChangeRequest | None:
    """Return the request that a version in review is up for."""
    return _newest_request(session, version, "open")


def valid_reviews(
    session: Session, request: ChangeRequest, version: ConceptVersion
) -> list[Review]:
    """Return the approvals that count now, one a reviewer, oldest first.

    They saw the version's content as it is, their reviewers are active and still have the role,
    and none is by an author unless the policy lets them approve their own work.
    """
    may_review, policy = _reviewers(session), policy_row(session)
    authors = () if policy.self_approval else authors_of(version)
    return [
        review
        for review in _approvals(session, request)
        if review.content_digest == version.content_digest
        and not review.break_glass
        and may_review(review.reviewer)
        and review.reviewer not in authors
    ]


def count_approvals(session: Session, version: ConceptVersion) -> int:
    """Return how many approvals a version has: those that count now, or that counted then."""
    request = open_request(session, version)
    if request is not None:
        return len(valid_reviews(session, request, version))
    approved = _approved_request(session, version)
    return len(_approvals(session, approved)) if approved else 0


def approvals_of(session: Session, versions: Sequence[ConceptVersion]) -> dict[int, Approval]:
    """Return how versions were approved, by their id.

    Those that never were are left out, and those that were released before there were reviews. A
    row alone approves nothing: an event must have approved the version at that instant.
    """
    # A draft has none that counts: approvals of earlier content are stale.
    wanted = [version.id for version in versions if version.state != "draft"]
    requests: dict[int, ChangeRequest] = {}
    reviews: dict[int, list[Review]] = {}
    for ids in batches(wanted):
        query = select(ChangeRequest).where(
            ChangeRequest.version_id.in_(ids), ChangeRequest.state == "approved"
        )
        newest = {row.version_id: row for row in session.scalars(query.order_by(ChangeRequest.id))}
        requests |= newest
        approving = select(Review).where(
            Review.change_request_id.in_([row.id for row in newest.values()]),
            Review.decision == "approve",
        )
        for review in session.scalars(approving):
            reviews.setdefault(review.change_request_id, []).append(review)
    vouched = _vouched(session, requests.values())
    return {
        version_id: _approval(request, reviews.get(request.id, []))
        for version_id, request in requests.items()
        if version_id in vouched
    }


def approving_events(
    session: Session, instants: Collection[str] | None = None
) -> dict[tuple[str, str], AuditEvent]:
    """Return the events, of some instants or all, that approved versions, by version and instant.

    An approval that was not enough, or a submission that waits for one, approves nothing.
    """
    query = select(AuditEventRow).where(AuditEventRow.action.in_(APPROVING))
    if instants is not None:
        query = query.where(AuditEventRow.at.in_(instants))
    events = {}
    for row in session.scalars(query):
        event = read_event(row)
        approved = event.details.get("approved") or ()  # A release names its versions.
        for name in (event.subject,) if approved is True else approved:
            events[name, event.at] = event
    return events


def batches(ids: Sequence[int], size: int = 500) -> Iterator[Sequence[int]]:
    """Yield ids in parts that one query may name."""
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def authors_of(version: ConceptVersion) -> tuple[str, ...]:
    """Return everyone who wrote a part of a version's content, sorted."""
    return tuple(json.loads(version.authors))


def reviews_of(session: Session, request: ChangeRequest) -> list[ReviewInfo]:
    """Return all decisions on a request, oldest first."""
    query = select(Review).where(Review.change_request_id == request.id).order_by(Review.id)
    return [
        ReviewInfo(row.reviewer, row.decision, row.break_glass, row.reason, row.at, row.evaluation)
        for row in session.scalars(query)
    ]


def _vouched(session: Session, requests: Collection[ChangeRequest]) -> set[int]:
    """Return the ids of the versions whose approved requests an event vouches for."""
    vouched: set[int] = set()
    closed = {row.version_id: str(row.closed_at) for row in requests}
    for ids in batches(list(closed)):
        events = approving_events(session, {closed[version_id] for version_id in ids})
        query = select(ConceptVersion.id, Concept.slug, ConceptVersion.number).join(
            Concept, Concept.id == ConceptVersion.concept_id
        )
        for version_id, slug, number in session.execute(query.where(ConceptVersion.id.in_(ids))):
            if (f"{slug}@{number}", closed[version_id]) in events:
                vouched.add(version_id)
    return vouched


def _approval(request: ChangeRequest, reviews: Sequence[Review]) -> Approval:
    by = tuple(sorted({review.reviewer for review in reviews}))
    how = "break_glass" if any(review.break_glass for review in reviews) else "review"
    if not reviews:
        by, how = (str(request.closed_by),), "policy"
    return Approval(str(request.closed_at), by, how)


def _approvals(session: Session, request: ChangeRequest) -> Sequence[Review]:
    query = select(Review).where(
        Review.change_request_id == request.id, Review.decision == "approve"
    )
    return session.scalars(query.order_by(Review.id)).all()


def _approved_request(session: Session, version: ConceptVersion) -> ChangeRequest | None:
    # A draft has none that counts: approvals of earlier content are stale.
    return None if version.state == "draft" else _newest_request(session, version, "approved")


def _newest_request(session: Session, version: ConceptVersion, state: str) -> ChangeRequest | None:
    query = select(ChangeRequest).where(
        ChangeRequest.version_id == version.id, ChangeRequest.state == state
    )
    return session.scalars(query.order_by(ChangeRequest.id.desc())).first()


def _reviewers(session: Session) -> Callable[[str], bool]:
    rows = session.scalars(select(Actor)).all()
    if not rows:  # A registry without actors lets everyone do everything.
        return lambda name: True
    able = {row.name for row in rows if row.active and "reviewer" in row.roles.split()}
    return able.__contains__
