"""A version put up for review, and what its reviewers decided."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReviewInfo:
    """One reviewer's decision, for the digest that was seen, and the newest evaluation then."""

    reviewer: str
    decision: str
    break_glass: bool
    reason: str
    at: str
    evaluation: str | None = None


@dataclass(frozen=True)
class RequestInfo:
    """A version put up for review.

    Attributes:
        id: Number of the request.
        slug: The concept.
        version: Number of the version.
        content_digest: The content that it asks to approve.
        state: "open", "approved", "rejected" or "withdrawn".
        note: What the submitter said.
        opened_at: When.
        opened_by: By whom.
        closed_at: When, None while it is open.
        closed_by: By whom, None while it is open.
        authors: Who wrote a part of the content.
        approvals: Reviewers whose approvals count now; none once it is closed.
        needed: How many approvals the policy asks for.
        reviews: All decisions, oldest first.
    """

    id: int
    slug: str
    version: int
    content_digest: str
    state: str
    note: str
    opened_at: str
    opened_by: str
    closed_at: str | None
    closed_by: str | None
    authors: tuple[str, ...]
    approvals: tuple[str, ...]
    needed: int
    reviews: tuple[ReviewInfo, ...]
