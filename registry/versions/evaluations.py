"""What was measured of a version's content, and whether that passes the policy's gate.

An evaluation belongs to a content digest: whatever version has that content has it, and one that is
edited has it no more.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.errors import ConflictError, GateError
from concepts.evaluation import Evaluation
from registry.answers import EvaluationInfo
from registry.change.policy import policy_row, read_policy
from registry.change.work import Work
from registry.store.models import Concept, ConceptVersion, EvaluationRow


def add_evaluation(
    unit: Work, concept: Concept, version: ConceptVersion, evaluation: Evaluation
) -> EvaluationRow:
    """Add an evaluation of the content that a version has; ConflictError for the same again."""
    row = EvaluationRow(
        concept_id=concept.id, content_digest=version.content_digest, digest=evaluation.digest,
        document=evaluation.to_bytes().decode(), created_at=unit.at, created_by=unit.actor,
    )  # fmt: skip
    if any(item.digest == row.digest for item in rows_of(unit.session, version)):
        raise ConflictError(
            f"Version {version.number} of '{concept.slug}' has exactly this evaluation already."
        )
    unit.session.add(row)
    unit.session.flush()
    return row


def rows_of(session: Session, version: ConceptVersion) -> list[EvaluationRow]:
    """Return the evaluations of the content that a version has now, newest first."""
    query = select(EvaluationRow).filter_by(
        concept_id=version.concept_id, content_digest=version.content_digest
    )
    return list(session.scalars(query.order_by(EvaluationRow.id.desc())))


def evaluations_of(session: Session, version: ConceptVersion) -> tuple[EvaluationInfo, ...]:
    """Return the evaluations of a version's content as callers see them, newest first."""
    return tuple(
        EvaluationInfo(row.digest, _read(row).to_dict(), row.created_at, row.created_by)
        for row in rows_of(session, version)
    )


def newest_evaluation(session: Session, version: ConceptVersion) -> str | None:
    """Return the digest of the newest evaluation of a version's content, None for none."""
    return next((row.digest for row in rows_of(session, version)), None)


def gate_missed(
    session: Session, concept: Concept, version: ConceptVersion
) -> tuple[str, ...] | None:
    """Say what a version's content lacks to pass the policy's gate; None where there is no gate.

    Of several evaluations of the gate's suite and method the newest decides, so that a worse one
    is not passed over.
    """
    gate = read_policy(policy_row(session)).gate
    if gate is None or not gate.covers(concept.slug):
        return None
    for evaluation in map(_read, rows_of(session, version)):
        if gate.fits(evaluation):
            return tuple(gate.missed(evaluation))
    return (f"no evaluation of this content by {gate.method} on the suite '{gate.suite}'",)


def require_gate(session: Session, concept: Concept, version: ConceptVersion) -> None:
    """Check that a version's content passes the policy's gate; GateError otherwise."""
    gate, missed = read_policy(policy_row(session)).gate, gate_missed(session, concept, version)
    if gate is not None and missed:
        measure = f"evaluate {gate.suite} --record {concept.slug}@{version.number}"
        raise GateError(
            f"Version {version.number} of '{concept.slug}' is below the policy's gate: "
            f"{'; '.join(missed)}. Measure it: `uvr-registry {measure}`."
        )


def _read(row: EvaluationRow) -> Evaluation:
    return Evaluation.from_bytes(row.document.encode())
