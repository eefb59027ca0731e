"""Evaluations as the doctor looks at them: whole, and of the content that reviewers saw."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.digest import sha256
from concepts.errors import UVRError
from concepts.evaluation import Evaluation
from registry.change.policy import policy_row, read_policy
from registry.store.blobs import BlobStore
from registry.store.models import EvaluationRow, Review


def check(session: Session, _store: BlobStore) -> Iterator[str]:
    """Evaluations have their digest, reviews name ones of their content, the gate can be read."""
    read_policy(policy_row(session))
    seen = set()
    for row in session.scalars(select(EvaluationRow).order_by(EvaluationRow.id)):
        seen.add((row.content_digest, row.digest))
        if sha256(row.document.encode()) != row.digest:
            yield f"Evaluation {row.digest[:12]} does not match its digest."
            continue
        try:
            Evaluation.from_bytes(row.document.encode())
        except UVRError as error:
            yield f"Evaluation {row.digest[:12]} cannot be read: {error}"
    query = select(Review.reviewer, Review.content_digest, Review.evaluation)
    for reviewer, content, digest in session.execute(query.where(Review.evaluation.is_not(None))):
        if (content, digest) not in seen:
            yield (
                f"The review of {reviewer} names the evaluation {str(digest)[:12]}, which is "
                "none of the content that was reviewed."
            )
