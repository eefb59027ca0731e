"""The life of a version: submitted, approved or sent back, edited, deprecated, revoked.

A version goes draft → in_review → approved → deprecated; an edit or a rejection takes it back to
draft, and any but a draft may be revoked for good. Its content is fixed from in_review on. Each
request for review is pinned to the content digest that it was session for, and approvals are
counted under the write lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.anchors import AnchorSet
from concepts.definition import ConceptDefinition
from concepts.scorer import Scorer
from registry.answers import RequestInfo, VersionInfo
from registry.change.policy import policy_row
from registry.change.workspace import Workspace
from registry.store.models import ChangeRequest, Concept, ConceptVersion
from registry.versions.adding import about_definition
from registry.versions.editing import NO_THRESHOLDS, edit_version
from registry.versions.evaluations import newest_evaluation, require_gate
from registry.versions.lifecycle import (
    close,
    decide,
    find,
    finish,
    has_reviewed,
    move,
    open_for_review,
    record,
    refuse_own,
    request_of,
    require_reason,
)
from registry.versions.quorum import authors_of, open_request, reviews_of, valid_reviews
from registry.versions.reading import require_digest, version_info


class Reviews:
    """The life of a registry's versions; each method writes one audit event."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def submit(
        self,
        slug: str,
        number: int | None = None,
        *,
        actor: str,
        note: str = "",
        expect_digest: str | None = None,
    ) -> VersionInfo:
        """Put a draft up for review, the newest by default; its content is fixed from here on.

        Where the policy asks for no approvals it is approved at once.

        Raises:
            NotFoundError: If there is no such version.
            PolicyError: If it is not a draft.
            GateError: If it would be approved at once and is below the policy's gate.
            ConflictError: If its content is not the expected one.
        """
        with self._workspace.work(actor, "curator") as unit:
            concept, version = find(unit.session, slug, number, ("draft",), expect_digest)
            request = open_for_review(unit, version, note)
            approved = policy_row(unit.session).approvals == 0
            if approved:
                require_gate(unit.session, concept, version)
                close(unit, version, request, "approved")
            shown = newest_evaluation(unit.session, version)
            record(unit, "submit", concept, version, note=note, approved=approved, evaluation=shown)
            return version_info(unit.session, concept, version)

    def approve(
        self,
        slug: str,
        number: int | None = None,
        *,
        actor: str,
        reason: str = "",
        break_glass: bool = False,
        expect_digest: str | None = None,
        expect_evaluation: str | None = None,
    ) -> VersionInfo:
        """Approve a version in review, for the content that it has now.

        Args:
            slug: The concept.
            number: The version, by default the newest in review.
            actor: A reviewer; for ``break_glass`` an admin.
            reason: Why; ``break_glass`` needs one.
            break_glass: Approve at once, whatever the policy asks for.
            expect_digest: The content digest that the approval is for.
            expect_evaluation: Digest of the newest evaluation that was looked at, "none" for none.

        Raises:
            NotFoundError: If there is no such version.
            PolicyError: If it is not in review, or the approval is an author's own and the
                policy does not let it count.
            GateError: If it is below the policy's gate.
            ConflictError: If its content or its newest evaluation is not the expected one, or the
                actor approved before.
        """
        if break_glass:
            require_reason(reason, "Breaking the glass")
        with self._workspace.work(actor, "admin" if break_glass else "reviewer") as unit:
            concept, version = find(unit.session, slug, number, ("in_review",), expect_digest)
            request = request_of(unit.session, concept, version)
            needed = policy_row(unit.session).approvals
            shown = newest_evaluation(unit.session, version)
            what = f"The newest evaluation of version {version.number} of '{slug}'"
            require_digest(what, shown or "none", expect_evaluation)
            if not break_glass:
                refuse_own(unit, concept, version)
                require_gate(unit.session, concept, version)
            decide(unit, request, "approve", reason, evaluation=shown, break_glass=break_glass)
            count = len(valid_reviews(unit.session, request, version))
            approved = break_glass or count >= needed
            if approved:
                close(unit, version, request, "approved")
            record(
                unit, "break_glass" if break_glass else "approve", concept, version,
                reason=reason, approvals=count, needed=needed, approved=approved, evaluation=shown,
            )  # fmt: skip
            return version_info(unit.session, concept, version)

    def reject(
        self,
        slug: str,
        number: int | None = None,
        *,
        actor: str,
        reason: str,
        expect_digest: str | None = None,
    ) -> VersionInfo:
        """Send a version in review back to draft; its approvals are void.

        Raises:
            NotFoundError, ConflictError: See ``approve``.
            PolicyError: If it is not in review, or there is no reason.
        """
        require_reason(reason, "A rejection")
        with self._workspace.work(actor, "reviewer") as unit:
            concept, version = find(unit.session, slug, number, ("in_review",), expect_digest)
            request = request_of(unit.session, concept, version)
            shown = newest_evaluation(unit.session, version)
            # Who approved first and then rejects has a review already; the event holds the rest.
            if not has_reviewed(unit.session, request, actor, break_glass=False):
                decide(unit, request, "reject", reason, evaluation=shown)
            close(unit, version, request, "rejected")
            record(unit, "reject", concept, version, reason=reason, evaluation=shown)
            return version_info(unit.session, concept, version)

    def edit(
        self,
        slug: str,
        number: int | None = None,
        *,
        actor: str,
        definition: ConceptDefinition | None = None,
        thresholds: Mapping[str, tuple[float, float]] = NO_THRESHOLDS,
        collections: Sequence[tuple[AnchorSet, Scorer]] = (),
        reason: str = "",
        expect_digest: str | None = None,
    ) -> VersionInfo:
        """Change the content of a draft; a version in review becomes a draft again.

        Args:
            slug: The concept.
            number: The version, by default the newest that is a draft or in review.
            actor: A curator; becomes one of the version's authors.
            definition: Takes the place of its definition, and of the concept's current one where
                that was the same.
            thresholds: Seed and grow threshold by the digest, or the task, of an anchor space.
            collections: Anchors and scorers that take the place of those of their model and task.
            reason: Why, for the audit trail.
            expect_digest: The content digest that it must have now.

        Raises:
            NotFoundError: If there is no such version or space.
            ContentError: If the definition names minors where it must not.
            PolicyError: If it is approved, deprecated or revoked, or no anchor reaches a threshold.
            ConflictError: If its content is not the expected one, would not change, or exists as
                another version.
        """
        with self._workspace.work(actor, "curator") as unit:
            states = ("in_review", "draft")
            concept, version = find(unit.session, slug, number, states, expect_digest)
            if version.state == "in_review":
                close(unit, version, request_of(unit.session, concept, version), "withdrawn")
            before = version.content_digest
            told = edit_version(
                unit, self._workspace.store, concept, version,
                definition=definition, thresholds=thresholds, collections=collections,
            )  # fmt: skip
            record(
                unit, "edit", concept, version, before=before, authors=authors_of(version),
                **about_definition(concept), **told, **({"reason": reason} if reason else {}),
            )  # fmt: skip
            return version_info(unit.session, concept, version)

    def deprecate(
        self,
        slug: str,
        number: int | None = None,
        *,
        actor: str,
        reason: str = "",
        expect_digest: str | None = None,
    ) -> VersionInfo:
        """Mark an approved version as one that new releases no longer take."""
        with self._workspace.work(actor, "curator") as unit:
            concept, version = find(unit.session, slug, number, ("approved",), expect_digest)
            move(unit, version, "deprecated")
            record(unit, "deprecate", concept, version, reason=reason)
            return version_info(unit.session, concept, version)

    def revoke(
        self,
        slug: str,
        number: int | None = None,
        *,
        actor: str,
        reason: str,
        expect_digest: str | None = None,
    ) -> VersionInfo:
        """Withdraw a version for good: no later release may hold it, and each one says so.

        Raises:
            NotFoundError, ConflictError: See ``approve``.
            PolicyError: If it is a draft or revoked already, or there is no reason.
        """
        require_reason(reason, "A revocation")
        with self._workspace.work(actor, "admin") as unit:
            states = ("in_review", "approved", "deprecated")
            concept, version = find(unit.session, slug, number, states, expect_digest)
            request = open_request(unit.session, version)
            if request is not None:
                finish(unit, request, "withdrawn")
            move(unit, version, "revoked")
            record(unit, "revoke", concept, version, reason=reason)
            return version_info(unit.session, concept, version)

    def requests(
        self, state: str | None = "open", *, closed: int | None = None
    ) -> list[RequestInfo]:
        """Return the requests in a state, None for all, oldest first.

        Args:
            state: Which.
            closed: Instead, at most so many of those that were closed, the last.
        """
        query = (
            select(ChangeRequest, ConceptVersion, Concept)
            .join(ConceptVersion, ConceptVersion.id == ChangeRequest.version_id)
            .join(Concept, Concept.id == ConceptVersion.concept_id)
            .order_by(ChangeRequest.id)
        )
        if closed is not None:
            last = select(ChangeRequest.id).where(ChangeRequest.state != "open")
            last = last.order_by(ChangeRequest.closed_at.desc(), ChangeRequest.id.desc())
            query = query.where(ChangeRequest.id.in_(last.limit(closed)))
        elif state is not None:
            query = query.where(ChangeRequest.state == state)
        with self._workspace.read() as session:
            needed = policy_row(session).approvals
            return [_info(session, *row, needed) for row in session.execute(query)]


def _info(
    session: Session, request: ChangeRequest, version: ConceptVersion, concept: Concept, needed: int
) -> RequestInfo:
    valid = valid_reviews(session, request, version) if request.state == "open" else []
    return RequestInfo(
        id=request.id,
        slug=concept.slug,
        version=version.number,
        content_digest=request.content_digest,
        state=request.state,
        note=request.note,
        opened_at=request.opened_at,
        opened_by=request.opened_by,
        closed_at=request.closed_at,
        closed_by=request.closed_by,
        authors=authors_of(version),
        approvals=tuple(review.reviewer for review in valid),
        needed=needed,
        reviews=tuple(reviews_of(session, request)),
    )
