"""Pictures that somebody keeps on purpose for a concept, to collect from them again and again.

1. ``keep`` writes the files, and then the rows that name them.
2. ``set_mask``, ``exclude`` and ``include`` say what is collected from them.
3. ``Exemplars.forget``, and garbage collection once their time is over, delete the rows, and then
   the files.

The audit trail names a picture by its number alone: what cannot be forgotten must not tell of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from concepts.content_rules import refuse_minors
from concepts.errors import (
    ConflictError,
    InputError,
    NotFoundError,
    PolicyError,
    VerificationError,
)
from concepts.instant import is_instant, now
from registry.change.work import NewBlobs, Work, kept_blobs
from registry.change.workspace import Workspace
from registry.store.models import Concept, KeptExemplarRow
from registry.store.pictures import picture_store, sweep_pictures
from registry.versions.kept_exemplar import (
    GivenPicture,
    KeptExemplar,
    kept_info,
    kept_row,
    kept_rows,
    mask_fits,
    require_same_size,
    require_untold,
)
from registry.versions.reading import find_concept, read_definition

KEEP = "exemplar.keep"
"""The audit event that tells the numbers of new pictures."""
MOST = 500
"""Pictures of one concept."""
MOST_BYTES = 512 << 20
"""Of the pictures and masks of one concept."""


@dataclass(frozen=True)
class Ground:
    """Where given pictures come from, why they may be kept, and until when.

    Raises:
        InputError: One of the three is missing.
    """

    origin: str
    legal_basis: str
    retain_until: str

    def __post_init__(self) -> None:
        for name in ("origin", "legal_basis"):
            if not getattr(self, name).strip():
                raise InputError(f"A picture is kept only with its {name.replace('_', ' ')}.")
        if not is_instant(self.retain_until):
            raise InputError("A picture is kept only until a time, such as 365d or 2030-01-31.")


class Keeping:
    """The pictures that are kept of a registry's concepts."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._pictures = picture_store(workspace.home)

    def kept(self, slug: str | None = None) -> list[KeptExemplar]:
        """Return what is kept of a concept, or of all, oldest first; NotFoundError for no such."""
        present = now()
        with self._workspace.read() as session:
            if slug is not None:
                find_concept(session, slug)
            found = kept_rows(session, slug)
            return [kept_info(row, name, self._pictures, present) for row, name in found]

    def one(self, number: int) -> KeptExemplar:
        """Return a kept picture; NotFoundError if there is none of this number."""
        with self._workspace.read() as session:
            return kept_info(*kept_row(session, number), self._pictures, now())

    def files(self, item: KeptExemplar) -> tuple[bytes, bytes | None]:
        """Read a kept picture and its mask, PNG each, None for none.

        Raises:
            NotFoundError: It is not there, as after restoring a backup, or its time is over.
            VerificationError: A file is not the one that was kept.
        """
        if item.expired:
            raise NotFoundError(
                f"The time of picture {item.id} is over, and nobody looks at it any more. Give it "
                "again to keep it longer; `uvr-registry gc` deletes it."
            )
        if not item.there:
            raise NotFoundError(f"The file of picture {item.id} is not here: keep it again.")
        try:
            mask = None if item.mask is None else self._pictures.get(item.mask)
            return self._pictures.get(item.picture), mask
        except VerificationError as error:
            raise VerificationError(
                f"The file of picture {item.id} is not the one that was kept: keep it again."
            ) from error

    def keep(
        self, slug: str, pictures: Sequence[GivenPicture], ground: Ground, *, actor: str,
        benign: bool = False,
    ) -> list[KeptExemplar]:  # fmt: skip
        """Keep pictures for a concept, all of them or none.

        One that is kept already gets its ground and kind anew, its mask where one is given, and its
        file where that is gone.

        Args:
            slug: The concept.
            pictures: Those that show it, or those that do not.
            ground: Why they may be kept, and until when.
            actor: A curator.
            benign: Whether they are without the concept; then they have no masks.

        Returns:
            What is kept of these pictures now, each once.

        Raises:
            NotFoundError: There is no such concept.
            ContentError: Its definition names minors where it must not.
            InputError: The time is over, or there are too many pictures.
        """
        by_hash = {item.sha256: item for item in pictures}
        if benign and any(item.mask for item in pictures):
            raise InputError("A picture without the concept has no mask: it shows it nowhere.")
        with self._changing(actor) as (unit, files):
            concept = find_concept(unit.session, slug)
            refuse_minors(read_definition(concept.definition))
            if ground.retain_until <= unit.present:
                raise InputError(f"The time to keep them until is over: {ground.retain_until}.")
            rows = [_put(unit, files, concept, one, ground, benign) for one in by_hash.values()]
            unit.session.flush()
            _check_room(unit.session, concept)
            if rows:
                numbers = [row.id for row in rows]
                unit.record(KEEP, slug, ids=numbers, benign=benign)
            found = [kept_info(row, slug, self._pictures, unit.present) for row in rows]
        self._sweep()
        return found

    def set_mask(self, number: int, mask: bytes | None, *, actor: str) -> KeptExemplar:
        """Say where a kept picture shows its concept; None takes a mask away.

        Raises:
            NotFoundError: There is no such picture, its file is not here, or its time is over.
            ConflictError: It is one without the concept.
            InputError: The mask is no PNG of pixels alone, or of another size.
        """
        with self._changing(actor) as (unit, files):
            row, slug = kept_row(unit.session, number)
            before = kept_info(row, slug, self._pictures, unit.present)
            if row.benign:
                raise ConflictError(f"Picture {number} is without the concept: it has no mask.")
            png, _ = self.files(before)
            if mask is not None:
                require_same_size(png, mask)
            row.mask = None if mask is None else files.put(mask)
            row.bytes = len(png) + len(mask or b"")
            unit.record("exemplar.mask", slug, ids=[number], mask=mask is not None)
            found = kept_info(row, slug, self._pictures, unit.present)
        self._sweep()
        return found

    def exclude(self, number: int, *, actor: str, reason: str) -> KeptExemplar:
        """Leave a kept picture out of the next collections.

        Raises:
            NotFoundError: There is no such picture.
            ConflictError: It is left out already.
            PolicyError: There is no reason, or one that tells the picture's hash or origin.
        """
        if not reason.strip():
            raise PolicyError("Leaving a picture out needs a reason, which the audit trail keeps.")
        with self._changing(actor) as (unit, _):
            row, slug = kept_row(unit.session, number)
            if row.excluded is not None:
                raise ConflictError(f"Picture {number} is left out already: {row.excluded}")
            require_untold(reason, row)
            row.excluded = reason.strip()
            unit.record("exemplar.exclude", slug, ids=[number], reason=reason)
            return kept_info(row, slug, self._pictures, unit.present)

    def include(self, number: int, *, actor: str) -> KeptExemplar:
        """Collect from a picture again that was left out; ConflictError if it was not."""
        with self._changing(actor) as (unit, _):
            row, slug = kept_row(unit.session, number)
            if row.excluded is None:
                raise ConflictError(f"Picture {number} is not left out.")
            row.excluded = None
            unit.record("exemplar.include", slug, ids=[number])
            return kept_info(row, slug, self._pictures, unit.present)

    @contextmanager
    def _changing(self, actor: str) -> Iterator[tuple[Work, NewBlobs]]:
        """A curator's unit of work, and where new files go; none is left where it fails."""
        dry_run = self._workspace.dry_run
        with (
            self._workspace.work(actor, "curator") as unit,
            kept_blobs(unit.session, self._pictures, dry_run=dry_run) as files,
        ):
            yield unit, files
            unit.session.flush()

    def _sweep(self) -> None:
        """Delete the files that nothing names any more, once the change is kept."""
        if not self._workspace.dry_run:
            sweep_pictures(self._workspace.engine, self._workspace.home)


def _put(
    unit: Work, files: NewBlobs, concept: Concept, given: GivenPicture, ground: Ground, benign: bool
) -> KeptExemplarRow:
    """Keep a picture's files, and name them in its row."""
    query = select(KeptExemplarRow).filter_by(concept_id=concept.id, sha256=given.sha256)
    row = unit.session.scalars(query).first()
    picture = files.put(given.png)
    if row is None:
        row = KeptExemplarRow(
            concept_id=concept.id, sha256=given.sha256, picture=picture, bytes=len(given.png),
            created_at=unit.at, created_by=unit.actor,
        )  # fmt: skip
        unit.session.add(row)
    elif row.mask is not None and not mask_fits(files.store, row.mask, given.png):
        row.mask, row.bytes = None, len(given.png)
    row.picture = picture  # Another release of the encoder may write the same pixels otherwise.
    if given.mask is not None:
        row.mask, row.bytes = files.put(given.mask), len(given.png) + len(given.mask)
    if benign:
        row.mask, row.bytes = None, len(given.png)
    row.benign, row.origin, row.legal_basis = benign, ground.origin, ground.legal_basis
    row.retain_until = ground.retain_until
    return row


def _check_room(session: Session, concept: Concept) -> None:
    query = select(func.count(), func.coalesce(func.sum(KeptExemplarRow.bytes), 0))
    count, size = session.execute(query.where(KeptExemplarRow.concept_id == concept.id)).one()
    if count > MOST or size > MOST_BYTES:
        raise InputError(
            f"{count:,} pictures of {size / 2**20:,.0f} MiB would be kept for '{concept.slug}': at "
            f"most {MOST:,} of {MOST_BYTES >> 20} MiB are. A few dozen that differ do more "
            "than hundreds alike: forget some first."
        )
