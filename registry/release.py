"""Releases: a numbered, locked set of versions, and the bundle that it stands for."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.anchors import AnchorSpace
from concepts.bundle import Bundle, BundleVariant, Member, lock_digest
from concepts.errors import (
    DefinitionError,
    NotFoundError,
    PolicyError,
    VerificationError,
    did_you_mean,
)
from concepts.fields import SLUG
from registry import audit
from registry.info import ReleasedMember, ReleaseInfo
from registry.models import BundleRow, Concept, ConceptVersion, Release, ReleaseMember
from registry.reading import (
    find_concept,
    latest_version,
    read_definition,
    read_scorer,
    read_space,
    stored_anchors,
)
from registry.store import BlobStore

MODE = "enforce"
Chosen = tuple[Concept, ConceptVersion, str]


def add_release(
    opened: Session, store: BlobStore, name: str, slugs: Sequence[str] | None, *, actor: str
) -> Release:
    """Insert the next release of a bundle; the session must hold the write lock."""
    if not SLUG.fullmatch(name):
        raise DefinitionError(
            f"Bundle name '{name}' is not valid; allowed: lower-case words joined by hyphens."
        )
    chosen = _choose(opened, slugs)
    lock = lock_digest((c.slug, v.number, v.content_digest, mode) for c, v, mode in chosen)
    at = audit.now()
    bundle_row = _bundle_row(opened, name, actor, at)
    last = _find_release(opened, bundle_row, None)
    sequence = last.sequence + 1 if last else 1
    bundle = _assemble(opened, store, name, sequence, lock, chosen)
    release = Release(
        bundle_id=bundle_row.id, sequence=sequence, lock_digest=lock,
        bundle_digest=bundle.digest, created_at=at, created_by=actor,
    )  # fmt: skip
    opened.add(release)
    opened.flush()
    for concept, version, mode in chosen:
        opened.add(
            ReleaseMember(
                release_id=release.id, concept_id=concept.id, version_id=version.id, mode=mode
            )
        )
    audit.record(
        opened, "release.add", f"{name}#{sequence}",
        actor=actor, at=at, lock_digest=lock, bundle_digest=bundle.digest,
    )  # fmt: skip
    return release


def find_release(
    opened: Session, name: str, sequence: int | None = None
) -> tuple[BundleRow, Release]:
    """Return a release's rows, the newest when no sequence is named; NotFoundError otherwise."""
    row = opened.scalars(select(BundleRow).filter_by(name=name)).first()
    if row is None:
        known = opened.scalars(select(BundleRow.name)).all()
        raise NotFoundError(f"No bundle '{name}'.{did_you_mean(name, known)}")
    release = _find_release(opened, row, sequence)
    if release is None:
        raise NotFoundError(f"Bundle '{name}' has no release {sequence}.")
    return row, release


def release_info(opened: Session, bundle: BundleRow, release: Release) -> ReleaseInfo:
    """Return a release as it is told outside."""
    return ReleaseInfo(
        bundle=bundle.name,
        sequence=release.sequence,
        lock_digest=release.lock_digest,
        bundle_digest=release.bundle_digest,
        created_at=release.created_at,
        created_by=release.created_by,
        members=tuple(
            ReleasedMember(concept.slug, version.number, version.content_digest, mode)
            for concept, version, mode in _members(opened, release)
        ),
    )


def list_releases(opened: Session) -> list[ReleaseInfo]:
    """Return all releases, by bundle and sequence."""
    query = select(BundleRow, Release).join(Release, Release.bundle_id == BundleRow.id)
    found = [release_info(opened, bundle, release) for bundle, release in opened.execute(query)]
    return sorted(found, key=lambda item: (item.bundle, item.sequence))


def read_bundle_of(
    opened: Session, store: BlobStore, bundle: BundleRow, release: Release
) -> Bundle:
    """Return the bundle of a release, checked against the release's digests."""
    chosen = _members(opened, release)
    lock = lock_digest((c.slug, v.number, v.content_digest, mode) for c, v, mode in chosen)
    built = _assemble(opened, store, bundle.name, release.sequence, lock, chosen)
    if (lock, built.digest) != (release.lock_digest, release.bundle_digest):
        raise VerificationError(
            f"Release {release.sequence} of '{bundle.name}' no longer has its recorded digest."
        )
    return built


def _choose(opened: Session, slugs: Sequence[str] | None) -> list[Chosen]:
    if slugs is None:
        concepts = list(opened.scalars(select(Concept)).all())
    else:
        concepts = [find_concept(opened, slug) for slug in set(slugs)]
    concepts.sort(key=lambda concept: concept.slug)
    found = [(concept, latest_version(opened, concept)) for concept in concepts]
    chosen = [(concept, version, MODE) for concept, version in found if version is not None]
    without = [concept.slug for concept, version in found if version is None]
    if not chosen or (slugs is not None and without):
        about = f"No anchors yet for {', '.join(without)}" if without else "No concepts to release"
        raise PolicyError(f"{about}. Run `uvr-registry collect-anchors` first.")
    return chosen


def _assemble(
    opened: Session,
    store: BlobStore,
    name: str,
    sequence: int,
    lock: str,
    chosen: Sequence[Chosen],
) -> Bundle:
    spaces: dict[str, AnchorSpace] = {}
    members: dict[str, list[Member]] = {}
    for concept, version, mode in chosen:
        definition = read_definition(version.definition)
        for entry in stored_anchors(opened, version):
            digest = entry.space.digest
            spaces[digest] = read_space(entry.space)
            member = Member(
                slug=concept.slug,
                name=definition.name,
                category=definition.category,
                version=version.number,
                content_digest=version.content_digest,
                scorer=read_scorer(store, entry.row),
                mode=mode,
            )
            members.setdefault(digest, []).append(member)
    _refuse_mixed_spaces(spaces, members)
    variants = tuple(
        BundleVariant(space, tuple(members[digest])) for digest, space in spaces.items()
    )
    return Bundle(name, sequence, lock, variants)


def _refuse_mixed_spaces(spaces: dict[str, AnchorSpace], members: dict[str, list[Member]]) -> None:
    # Whatever the weights: an engine takes one variant for each model and task, so concepts in
    # another one would silently not be enforced.
    seen: dict[tuple[str, str], str] = {}
    for digest, space in spaces.items():
        other = seen.setdefault((space.model, space.task), digest)
        if other != digest:
            first, second = (members[d][0].slug for d in (other, digest))
            raise PolicyError(
                f"'{first}' and '{second}' have anchors of {space.model} {space.task} from "
                "different taps, noise levels or weights, which never mix. Collect the older ones "
                "again."
            )


def _members(opened: Session, release: Release) -> list[Chosen]:
    query = (
        select(Concept, ConceptVersion, ReleaseMember.mode)
        .join(ReleaseMember, ReleaseMember.concept_id == Concept.id)
        .join(ConceptVersion, ConceptVersion.id == ReleaseMember.version_id)
        .where(ReleaseMember.release_id == release.id)
    )
    found = [(concept, version, mode) for concept, version, mode in opened.execute(query)]
    return sorted(found, key=lambda item: item[0].slug)


def _bundle_row(opened: Session, name: str, actor: str, at: str) -> BundleRow:
    row = opened.scalars(select(BundleRow).filter_by(name=name)).first()
    if row is None:
        row = BundleRow(name=name, created_at=at, created_by=actor)
        opened.add(row)
        opened.flush()
    return row


def _find_release(opened: Session, bundle: BundleRow, sequence: int | None) -> Release | None:
    query = select(Release).where(Release.bundle_id == bundle.id)
    if sequence is not None:
        query = query.where(Release.sequence == sequence)
    return opened.scalars(query.order_by(Release.sequence.desc())).first()
