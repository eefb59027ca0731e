"""What is known of pictures that were kept on purpose, and what is asked of one that is given."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.digest import is_digest
from concepts.errors import InputError, NotFoundError, PolicyError, UVRError
from registry.change.work import Work
from registry.store.blobs import BlobStore
from registry.store.models import Concept, KeptExemplarRow, SourceRefRow
from registry.store.pictures import png_size


@dataclass(frozen=True)
class GivenPicture:
    """A picture to keep.

    Attributes:
        sha256: SHA-256 of the file as it was given, by which it is forgotten.
        png: Its pixels alone, a PNG of at most ``registry.store.pictures.SIDE`` pixels a side.
        mask: A PNG of the same size, white where it shows the concept; None while nobody said.

    Raises:
        InputError: One of the files holds more than pixels, or their sizes differ.
    """

    sha256: str
    png: bytes
    mask: bytes | None = None

    def __post_init__(self) -> None:
        if not is_digest(self.sha256):
            raise ValueError(f"sha256 is {self.sha256!r}, expected 64 lower-case hex digits")
        png_size(self.png, "The picture")
        if self.mask is not None:
            require_same_size(self.png, self.mask)


@dataclass(frozen=True)
class KeptExemplar:
    """A picture that is kept.

    Attributes:
        id: Its number, which the audit trail names; no other picture ever has it.
        slug: The concept that it is kept for.
        sha256: SHA-256 of the file as it was given.
        picture: SHA-256 of the file that is kept.
        mask: SHA-256 of its mask's file; None for none.
        benign: Whether it is one without the concept.
        origin: Where it came from.
        legal_basis: Why it may be used.
        retain_until: Instant from which on nobody looks at it, and it is to be deleted.
        excluded: Why it is not collected from; None where it is.
        created_at: When it was kept.
        created_by: By whom.
        expired: Whether ``retain_until`` has passed.
        there: Whether its files are there: no backup holds them.
    """

    id: int
    slug: str
    sha256: str
    picture: str
    mask: str | None
    benign: bool
    origin: str
    legal_basis: str
    retain_until: str
    excluded: str | None
    created_at: str
    created_by: str
    expired: bool
    there: bool

    @property
    def readable(self) -> bool:
        """Whether it may be looked at."""
        return self.there and not self.expired

    @property
    def usable(self) -> bool:
        """Whether it may be collected from."""
        return self.readable and self.excluded is None


def require_same_size(png: bytes, mask: bytes) -> None:
    """Check that a mask has the size of its picture; InputError otherwise."""
    size, found = png_size(png, "The picture"), png_size(mask, "The mask")
    if size != found:
        raise InputError(
            f"The mask has {found[0]} x {found[1]} pixels, its picture {size[0]} x {size[1]}: a "
            "mask needs the size of its picture."
        )


def kept_rows(session: Session, slug: str | None = None) -> list[tuple[KeptExemplarRow, str]]:
    """Return rows with their concepts' slugs, oldest first."""
    query = select(KeptExemplarRow, Concept.slug).join(Concept)
    if slug is not None:
        query = query.where(Concept.slug == slug)
    return [(row, name) for row, name in session.execute(query.order_by(KeptExemplarRow.id))]


def kept_row(session: Session, number: int) -> tuple[KeptExemplarRow, str]:
    """Return a row with its concept's slug; NotFoundError if there is none of this number."""
    query = select(KeptExemplarRow, Concept.slug).join(Concept)
    found = session.execute(query.where(KeptExemplarRow.id == number)).first()
    if found is None:
        raise NotFoundError(f"No kept picture {number}. `uvr-registry exemplars kept` lists them.")
    return found[0], found[1]


def kept_info(row: KeptExemplarRow, slug: str, store: BlobStore, present: str) -> KeptExemplar:
    """Return a row's facts, and whether it can be used at present."""
    files = [digest for digest in (row.picture, row.mask) if digest is not None]
    return KeptExemplar(
        id=row.id, slug=slug, sha256=row.sha256, picture=row.picture, mask=row.mask,
        benign=row.benign, origin=row.origin, legal_basis=row.legal_basis,
        retain_until=row.retain_until, excluded=row.excluded, created_at=row.created_at,
        created_by=row.created_by, expired=row.retain_until <= present,
        there=all(digest in store for digest in files),
    )  # fmt: skip


def mask_fits(store: BlobStore, mask: str, png: bytes) -> bool:
    """Whether a mask is there, as after restoring a backup it is not, and of a picture's size."""
    try:
        require_same_size(png, store.get(mask))
    except UVRError:
        return False
    return True


def require_untold(reason: str, row: KeptExemplarRow | SourceRefRow) -> None:
    """Refuse a reason that tells a picture's hash or its origin; PolicyError.

    What an origin such as "a" is a part of does not tell it: a reason must be possible.
    """
    digests = [row.sha256, *([row.picture] if isinstance(row, KeptExemplarRow) else [])]
    origin = rf"(?<!\w){re.escape(row.origin.strip())}(?!\w)"
    told = any(digest in reason.lower() for digest in digests)
    if told or re.search(origin, reason, re.IGNORECASE):
        raise PolicyError("The reason must name neither hash nor origin: the audit trail keeps it.")


def forget_kept(unit: Work, sha256: str, reason: str) -> tuple[int, ...]:
    """Delete the rows of a kept picture; return their numbers. Its files go afterwards.

    Raises:
        PolicyError: The reason tells its hash or its origin.
    """
    query = select(KeptExemplarRow).filter_by(sha256=sha256).order_by(KeptExemplarRow.id)
    rows = unit.session.scalars(query).all()
    for row in rows:
        require_untold(reason, row)
    for row in rows:
        unit.session.delete(row)
    return tuple(row.id for row in rows)
