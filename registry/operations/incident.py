"""An incident: what the registry knows of a concept that was found in one picture.

1. The release whose digest the engine told, and in it the version, with who approved it.
2. Where that release was live then, and where the concept is live now.
3. The examples nearest to what was found, and which concepts of the release match it too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.bundle import Bundle
from concepts.errors import UVRError
from concepts.instant import is_instant
from concepts.words import MODES
from registry.answers import LivePlace, ReleasedMember, ReleaseInfo
from registry.change.workspace import Workspace
from registry.releases.assemble import read_bundle_of
from registry.releases.moves import last_move
from registry.releases.reading import release_info
from registry.store.models import BundleRow, Channel, Concept, ConceptVersion, Release
from registry.versions.live import live_places
from registry.versions.reading import read_anchor_set, stored_anchors


@dataclass(frozen=True)
class Caught:
    """A concept that an engine found in a picture, as its report or its decision log says.

    Attributes:
        slug: The concept.
        version: Its version; None for a concept that only a judge knows.
        mode: "enforce", "log" or "shadow".
        score: What reached the threshold.
        threshold: "score >= threshold is a match".
        bundle_digest: Digest of the bundle in use.
        at: When; "" where that was not told.
        space: Digest of the anchor space that ``feature`` is of.
        feature: Feature of the patch that scored highest, (dim,); None where none was kept.
    """

    slug: str
    version: int | None
    mode: str
    score: float
    threshold: float
    bundle_digest: str
    at: str = ""
    space: str = ""
    feature: NDArray[Any] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        texts = (self.slug, self.mode, self.bundle_digest, self.at, self.space)
        numbers = (self.score, self.threshold)
        if not all(isinstance(text, str) for text in texts) or self.mode not in MODES:
            raise ValueError("what was found must be named by texts, in a mode that there is")
        if not all(isinstance(number, int | float) for number in numbers):
            raise ValueError("a score and its threshold must be numbers")
        if type(self.version) is not int and self.version is not None:
            raise ValueError(f"a version must be a whole number, not {self.version!r}")
        if self.at and not is_instant(self.at):
            raise ValueError(f"{self.at!r} is no instant")


@dataclass(frozen=True)
class NearExample:
    """An anchor near what was found.

    Attributes:
        anchor: Position in the version's anchor set.
        score: Cosine similarity, -1 to 1.
        picture: Number of the picture that it came from.
        prompt: What that picture was drawn for; "" where it was given, or that is not known.
    """

    anchor: int
    score: float
    picture: int
    prompt: str


@dataclass(frozen=True)
class AlsoMatches:
    """Another concept of the release that matches the same patch."""

    slug: str
    version: int
    mode: str
    score: float
    threshold: float


@dataclass(frozen=True)
class LiveThen:
    """A channel that pointed to the release at the instant."""

    channel: str
    since: str
    moved_by: str


@dataclass(frozen=True)
class Incident:
    """What is known of one concept that was found in one picture.

    Attributes:
        caught: What the engine told.
        release: The release in use; None where this registry made none of that digest.
        member: The concept in it, with who approved the version; None where there is none.
        then: Channels that pointed to the release at the instant; empty where that is not known.
        now: Where a version of the concept is live now, by channel.
        nearest: Examples nearest to what was found; empty without a feature.
        also: Other concepts of the release that match the same patch, so that the picture would be
            caught without this one too; None without a feature or a release.
    """

    caught: Caught
    release: ReleaseInfo | None
    member: ReleasedMember | None
    then: tuple[LiveThen, ...]
    now: tuple[LivePlace, ...]
    nearest: tuple[NearExample, ...]
    also: tuple[AlsoMatches, ...] | None

    def to_dict(self) -> dict[str, Any]:
        """JSON form, without the feature."""
        told = asdict(self)
        del told["caught"]["feature"]
        return told


def explain(workspace: Workspace, caught: Iterable[Caught], count: int = 3) -> list[Incident]:
    """Say what is known of each concept that was found.

    Args:
        workspace: The registry's.
        caught: What was found.
        count: How many examples of each at most.

    Raises:
        MismatchError: A feature is not of its space's size.
        VerificationError: Stored bytes are damaged.
    """
    with workspace.read() as session:
        # One bundle is put together once, however much was found by it.
        bundle_of = cache(partial(_bundle_of, session, workspace))
        return [_explain(session, workspace, item, count, bundle_of) for item in caught]


def _explain(
    session: Session, workspace: Workspace, caught: Caught, count: int,
    bundle_of: Callable[[str], Bundle | None],
) -> Incident:  # fmt: skip
    rows = _release_of(session, caught.bundle_digest)
    release = release_info(session, *rows) if rows else None
    concept = session.scalars(select(Concept).filter_by(slug=caught.slug)).first()
    members = release.members if release else ()
    return Incident(
        caught=caught,
        release=release,
        member=next((item for item in members if item.slug == caught.slug), None),
        then=tuple(_live_then(session, rows[1], caught.at)) if rows and caught.at else (),
        now=tuple(live_places(session, concept).get(concept.id, ())) if concept else (),
        nearest=tuple(_nearest(session, workspace, concept, caught, count)) if concept else (),
        also=None if caught.feature is None else _also(bundle_of(caught.bundle_digest), caught),
    )


def _release_of(session: Session, digest: str) -> tuple[BundleRow, Release] | None:
    query = select(BundleRow, Release).join(Release, Release.bundle_id == BundleRow.id)
    row = session.execute(query.where(Release.bundle_digest == digest)).first()
    return None if row is None else (row[0], row[1])


def _live_then(session: Session, release: Release, at: str) -> list[LiveThen]:
    channels = session.scalars(select(Channel).filter_by(bundle_id=release.bundle_id)).all()
    moves = ((channel.name, last_move(session, channel, at)) for channel in channels)
    return sorted(
        (LiveThen(name, move.at, move.by)
         for name, move in moves if move is not None and move.release_id == release.id),
        key=lambda item: item.channel,
    )  # fmt: skip


def _nearest(
    session: Session, workspace: Workspace, concept: Concept, caught: Caught, count: int
) -> list[NearExample]:
    if caught.feature is None or caught.version is None:
        return []
    from registry.index.search import search_concept  # noqa: PLC0415 (FAISS)

    query = select(ConceptVersion).filter_by(concept_id=concept.id, number=caught.version)
    version = session.scalars(query).first()
    entries = stored_anchors(session, version) if version else []
    entry = next((item for item in entries if item.space.digest == caught.space), None)
    if entry is None:  # The bundle came from another registry.
        return []
    held = read_anchor_set(workspace.store, entry.anchor_set)
    vector = np.asarray(caught.feature, np.float32)[None]
    (hits,) = search_concept(
        session, workspace.store, caught.slug, caught.version, caught.space, vector, count
    )
    pictures = [int(held.anchor_images[hit.anchor]) for hit in hits]
    return [
        NearExample(hit.anchor, hit.score, picture, _prompt(held.provenance, picture))
        for hit, picture in zip(hits, pictures, strict=True)
    ]


def _prompt(provenance: Mapping[str, Any], picture: int) -> str:
    """What a picture was drawn for, as the anchors' provenance says."""
    prompts, repeats = provenance.get("prompts", ()), provenance.get("seeds_per_prompt", 1)
    place = picture // repeats
    return str(prompts[place]) if place < len(prompts) else ""


def _bundle_of(session: Session, workspace: Workspace, digest: str) -> Bundle | None:
    rows = _release_of(session, digest)
    try:
        return read_bundle_of(session, workspace.store, *rows) if rows else None
    except UVRError:  # One that can no longer be put together matches nothing any more.
        return None


def _also(bundle: Bundle | None, caught: Caught) -> tuple[AlsoMatches, ...] | None:
    if bundle is None:
        return None
    feature = np.asarray(caught.feature)[None]
    others = [
        (member, float(member.scorer.scores(feature)[0]))
        for variant in bundle.variants
        if variant.space.digest == caught.space
        for member in variant.members
        if member.slug != caught.slug
    ]
    return tuple(
        AlsoMatches(member.slug, member.version, member.mode, score, member.seed_threshold)
        for member, score in others
        if score >= member.seed_threshold
    )
