"""The bundle that a release stands for, put together again from rows and blobs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.anchors import AnchorSpace
from concepts.bundle import Bundle, BundleVariant, Member, lock_digest
from concepts.errors import PolicyError, VerificationError
from registry.change.policy import policy_row
from registry.keys.lists import key_chain
from registry.releases.lineup import Chosen
from registry.releases.signatures import signatures_of
from registry.store.blobs import BlobStore
from registry.store.models import (
    BundleRow,
    Concept,
    ConceptVersion,
    Release,
    ReleaseMember,
    ReleaseRevocation,
)
from registry.versions.reading import read_definition, read_scorer, read_space, stored_anchors_of

FORMAT = 1  # of `concepts.bundle.manifest.FORMAT`, as the release's row has it


def assemble(
    session: Session,
    store: BlobStore,
    row: BundleRow,
    release: Release,
    members: Sequence[Chosen],
    revocations: Sequence[str],
) -> Bundle:
    """Return the bundle of a release, without signatures.

    Everything in it comes from SQL and blobs, so that a restored registry gives the same bytes.

    Raises:
        PolicyError: If anchors of one model and task come from different spaces.
        VerificationError: If stored bytes are damaged.
    """
    return Bundle(
        row.name,
        release.sequence,
        lock_digest(chosen.locked for chosen in members),
        _variants(session, store, members),
        registry=policy_row(session).registry_id,
        previous=release.previous_digest or "",
        created=release.created_at,
        expires=release.expires_at,
        revocations=tuple(revocations),
        key_lists=key_chain(session, release.key_list),
    )


def trial_bundle(
    session: Session, store: BlobStore, concept: Concept, version: ConceptVersion
) -> Bundle:
    """Return an unsigned bundle of one version alone, whatever its state: to measure it.

    Raises:
        VerificationError: If stored bytes are damaged.
    """
    chosen = Chosen(concept, version, "enforce", {}, None)
    return Bundle(
        concept.slug, 1, lock_digest([chosen.locked]), _variants(session, store, [chosen]),
        registry=policy_row(session).registry_id,
    )  # fmt: skip


def read_bundle_of(session: Session, store: BlobStore, row: BundleRow, release: Release) -> Bundle:
    """Return the bundle of a release with its signatures, checked against the release's digests.

    Raises:
        PolicyError: If it was released before bundles were signed.
        VerificationError: If stored bytes or rows are damaged.
    """
    what = f"{row.name}@{release.sequence}"
    if release.format != FORMAT:
        raise PolicyError(
            f"{what} was made before bundles were signed, and its file format is gone. Release "
            f"again, or run `uvr-registry rollback {row.name}@{release.sequence}`."
        )
    members = released_members(session, release)
    built = assemble(session, store, row, release, members, revocations_of(session, release))
    if (built.lock_digest, built.digest) != (release.lock_digest, release.bundle_digest):
        raise VerificationError(f"{what} no longer has its recorded digest.")
    return built.with_signatures(signatures_of(session, release))


def released_members(session: Session, release: Release) -> list[Chosen]:
    """Return the members of a release, by slug."""
    query = (
        select(Concept, ConceptVersion, ReleaseMember)
        .join(ReleaseMember, ReleaseMember.concept_id == Concept.id)
        .join(ConceptVersion, ConceptVersion.id == ReleaseMember.version_id)
        .where(ReleaseMember.release_id == release.id)
    )
    members = [
        Chosen(concept, version, row.mode, _floats(row.thresholds), row.disabled_until)
        for concept, version, row in session.execute(query)
    ]
    return sorted(members, key=lambda chosen: chosen.concept.slug)


def revocations_of(session: Session, release: Release) -> list[str]:
    """Return the content digests that a release says are revoked, sorted."""
    query = select(ReleaseRevocation.content_digest).where(
        ReleaseRevocation.release_id == release.id
    )
    return sorted(session.scalars(query))


def _floats(text: str) -> dict[str, float]:
    return {space: float(value) for space, value in json.loads(text).items()}


def _variants(
    session: Session, store: BlobStore, chosen: Sequence[Chosen]
) -> tuple[BundleVariant, ...]:
    spaces: dict[str, AnchorSpace] = {}
    members: dict[str, list[Member]] = {}
    anchors = stored_anchors_of(session, [item.version for item in chosen])
    for item in chosen:
        definition = read_definition(item.version.definition)
        for entry in anchors[item.version.id]:
            digest = entry.space.digest
            spaces[digest] = read_space(entry.space)
            member = Member(
                slug=item.concept.slug,
                name=definition.name,
                category=definition.category,
                version=item.version.number,
                content_digest=item.version.content_digest,
                scorer=read_scorer(store, entry.row),
                mode=item.mode,
                threshold=item.thresholds.get(digest),
                disabled_until=item.disabled_until,
            )
            members.setdefault(digest, []).append(member)
    _refuse_mixed_spaces(spaces, members)
    return tuple(BundleVariant(space, tuple(members[digest])) for digest, space in spaces.items())


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
