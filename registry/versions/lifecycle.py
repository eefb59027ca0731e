"""The single steps of a version's life; each is a part of a unit of work.

Each change of state is flushed at once: the guards look at every step, and refuse a change of
content beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.errors import ConflictError, PolicyError, VerificationError
from registry.change.policy import policy_row
from registry.change.work import Work
from registry.store.models import ChangeRequest, Concept, ConceptVersion, Review
from registry.versions.adding import content_digest
from registry.versions.evaluations import require_gate
from registry.versions.quorum import authors_of, open_request
from registry.versions.reading import (
    find_concept,
    require_digest,
    stored_anchors,
    versions_of,
)

COPY = (
    "Make a new version: `uvr-registry copy-version` to change a threshold or words, "
    "`uvr-registry collect-anchors` for other anchors."
)
_WHAT_TO_DO = {
    "draft": "Submit it first: `uvr-registry submit`.",
    "in_review": "Approve or reject it first.",
    "approved": COPY,
    "deprecated": COPY,
    "revoked": "That is final: collect anchors for a new version, `uvr-registry collect-anchors`.",
}


def find(
    session: Session, slug: str, number: int | None, states: Sequence[str], digest: str | None
) -> tuple[Concept, ConceptVersion]:
    """Return a version that is in one of some states, the newest such by default."""
    concept = find_concept(session, slug)
    rows = versions_of(session, concept, number)
    version = next((row for row in reversed(rows) if row.state in states), None)
    if version is None:
        newest, wanted = rows[-1], " or ".join(states)
        raise PolicyError(
            f"Version {newest.number} of '{slug}' is {newest.state}, not {wanted}. "
            f"{_WHAT_TO_DO[newest.state]}"
        )
    require_digest(f"Version {version.number} of '{slug}'", version.content_digest, digest)
    return concept, version


def request_of(session: Session, concept: Concept, version: ConceptVersion) -> ChangeRequest:
    """Return the open request of a version in review."""
    request = open_request(session, version)
    if request is None:
        raise ConflictError(
            f"Version {version.number} of '{concept.slug}' is in review without an open request. "
            "Run `uvr-registry doctor`."
        )
    return request


def open_for_review(unit: Work, version: ConceptVersion, note: str) -> ChangeRequest:
    """Put a draft up for review, for the content that it has now."""
    request = ChangeRequest(
        version_id=version.id, content_digest=version.content_digest, state="open", note=note,
        opened_at=unit.at, opened_by=unit.actor,
    )  # fmt: skip
    unit.session.add(request)
    move(unit, version, "in_review")
    # From here on the triggers keep its anchors; before, another program may have changed them.
    _check_content(unit.session, version)
    return request


def _check_content(session: Session, version: ConceptVersion) -> None:
    """Check that a version has the anchors that its digest says; VerificationError otherwise."""
    content = [entry.content for entry in stored_anchors(session, version)]
    if not content or content_digest(version.definition, content) != version.content_digest:
        raise VerificationError(
            f"Version {version.number} does not hold what its content digest says: another program "
            "changed its rows. Collect its anchors again."
        )


def close(unit: Work, version: ConceptVersion, request: ChangeRequest, state: str) -> None:
    """Close a request; its version becomes approved, or a draft again."""
    finish(unit, request, state)
    if state == "approved":
        _check_content(unit.session, version)
    move(unit, version, "approved" if state == "approved" else "draft")


def finish(unit: Work, request: ChangeRequest, state: str) -> None:
    """Write how a request ended; its version is moved by the caller."""
    request.state, request.closed_at, request.closed_by = state, unit.at, unit.actor


def move(unit: Work, version: ConceptVersion, state: str) -> None:
    """Move a version to another state."""
    version.state = state
    unit.session.flush()


def decide(
    unit: Work,
    request: ChangeRequest,
    decision: str,
    reason: str,
    *,
    evaluation: str | None,
    break_glass: bool = False,
) -> None:
    """Add a review by the actor, who saw an evaluation; ConflictError for a second one."""
    if has_reviewed(unit.session, request, unit.actor, break_glass=break_glass):
        raise ConflictError(f"'{unit.actor}' has approved this content already.")
    unit.session.add(
        Review(
            change_request_id=request.id,
            content_digest=request.content_digest,
            reviewer=unit.actor,
            decision=decision,
            break_glass=break_glass,
            reason=reason,
            at=unit.at,
            evaluation=evaluation,
        )
    )
    unit.session.flush()


def has_reviewed(session: Session, request: ChangeRequest, name: str, *, break_glass: bool) -> bool:
    """Whether a reviewer has decided on a request already."""
    query = select(Review).filter_by(
        change_request_id=request.id, reviewer=name, break_glass=break_glass
    )
    return session.scalars(query).first() is not None


def refuse_own(unit: Work, concept: Concept, version: ConceptVersion) -> None:
    """Check that the actor may approve a version; PolicyError for an own one."""
    if unit.actor in authors_of(version) and not policy_row(unit.session).self_approval:
        raise PolicyError(
            f"'{unit.actor}' wrote a part of version {version.number} of '{concept.slug}', and "
            "the policy asks for someone else's approval. Ask another reviewer."
        )


def approve_on_release(unit: Work, concept: Concept, version: ConceptVersion) -> bool:
    """Approve a version as a part of its release, where the policy asks for no approvals.

    The release's own event records it; this writes none.

    Returns:
        Whether the version was not approved before.

    Raises:
        PolicyError: If the policy asks for approvals, or the version is deprecated or revoked.
        GateError: If it is below the policy's gate.
    """
    if version.state == "approved":
        return False
    if version.state not in ("draft", "in_review"):
        raise PolicyError(f"Version {version.number} is {version.state}. Release a newer one.")
    needed = policy_row(unit.session).approvals
    if needed:
        raise PolicyError(
            f"Version {version.number} is {version.state}, and the policy asks for {needed} "
            "approvals. Submit it and have it approved first."
        )
    require_gate(unit.session, concept, version)
    request = open_request(unit.session, version) or open_for_review(unit, version, "")
    close(unit, version, request, "approved")
    return True


def require_reason(reason: str, what: str) -> None:
    """Check that there is a reason; PolicyError otherwise."""
    if not reason.strip():
        raise PolicyError(f"{what} needs a reason, which the audit trail keeps.")


def record(
    unit: Work, action: str, concept: Concept, version: ConceptVersion, **details: object
) -> None:
    """Write the event of a version, with the content digest that it has now."""
    subject, digest = f"{concept.slug}@{version.number}", version.content_digest
    unit.record(f"version.{action}", subject, content_digest=digest, **details)
