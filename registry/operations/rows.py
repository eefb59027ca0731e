"""Rows as a backup has them: a line of canonical JSON each, in the order of their keys."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Table, select
from sqlalchemy.orm import Session

from concepts.canonical import canonical_json
from concepts.errors import VerificationError
from registry.operations.archive import BATCH
from registry.store.blobs import BlobStore
from registry.store.models import Base


def lines(session: Session, table: Table) -> Iterator[bytes]:
    """Yield the rows of a table.

    Raises:
        VerificationError: A row holds what no registry writes, such as bytes in a text's place.
    """
    keys = table.primary_key.columns
    place = "the first"
    query = select(table).order_by(*keys).execution_options(yield_per=BATCH)
    try:
        for row in session.execute(query).mappings():
            place = ", ".join(f"{key.name} {str(row[key])[:40]!r}" for key in keys)
            yield canonical_json(dict(row)) + b"\n"
            place = f"the one after {place}"
    except (ValueError, TypeError, ArithmeticError) as error:
        raise VerificationError(
            f"Table '{table.name}' has a row that no registry writes ({place}): {error}. Put back "
            "what was there, as a backup has it."
        ) from error


def check(session: Session, _store: BlobStore) -> Iterator[str]:
    """Every row can be backed up; yields a sentence for each table where one cannot."""
    for table in Base.metadata.sorted_tables:
        try:
            for _ in lines(session, table):
                pass
        except VerificationError as error:
            yield str(error)
