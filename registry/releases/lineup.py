"""Which versions a release takes, and how each is enforced.

1. Members: those of the release before, and the ones asked for; the first release takes all.
2. Modes, thresholds and pauses: as in the release before, then as asked for (``changes``).
3. What is enforced less than before must be asked for (``shrink``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.bundle.member import LockedMember
from concepts.errors import ConflictError, NotFoundError, PolicyError, did_you_mean
from registry.answers import no_version
from registry.change.policy import policy_row
from registry.change.work import Work
from registry.store.models import Concept, ConceptVersion
from registry.versions.lifecycle import COPY, approve_on_release
from registry.versions.reading import find_concept

NEVER = "~"  # sorts after every instant
UNAPPROVED = ("draft", "in_review")  # released only where the policy asks for no approvals
Version = tuple[Concept, ConceptVersion]


@dataclass(frozen=True)
class Chosen:
    """A version in a release: its rows, and what the lock covers beside them."""

    concept: Concept
    version: ConceptVersion
    mode: str = "enforce"
    thresholds: Mapping[str, float] = field(default_factory=dict)
    disabled_until: str | None = None

    @property
    def locked(self) -> LockedMember:
        """What the release's lock fixes."""
        return LockedMember(
            self.concept.slug, self.version.number, self.version.content_digest, self.mode,
            self.thresholds, self.disabled_until,
        )  # fmt: skip

    def enforced_from(self, at: str) -> str:
        """The instant, from the present on, when the concept is regulated; ``NEVER``."""
        return max(at, self.disabled_until or at) if self.mode == "enforce" else NEVER


@dataclass(frozen=True)
class Wanted:
    """Which versions a release was asked to take.

    Attributes:
        names: Concepts to take in, "slug" for the newest version that may be released or "slug@3".
        include: "last" for the members of the release before, "approved" for the newest approved
            version of every concept, "all" for drafts too where the policy asks for no approvals.
        drop: Concepts to leave out, by slug.
    """

    names: Sequence[str] = ()
    include: str = "last"
    drop: frozenset[str] = frozenset()


def choose(
    session: Session, wanted: Wanted, before: Sequence[Chosen] | None, at: str
) -> list[Chosen]:
    """Return the versions to release, by slug, each enforced as in the release before.

    Args:
        session: The transaction.
        wanted: What was asked for.
        before: Members of the release before, None for the first: it takes all unless some are
            named.
        at: The present.

    Raises:
        NotFoundError: If a concept or version does not exist, or one to drop is no member.
        ConflictError: If two versions of one concept are asked for, or one is to be dropped too.
        PolicyError: If a version may not be released.
    """
    open_states = releasable_drafts(session)
    members = _included(session, wanted, before, open_states)
    named = _named(session, wanted.names, open_states)
    old = {item.concept.slug: item for item in before or ()}
    for slug in wanted.drop:
        if slug in named:
            raise ConflictError(f"'{slug}' is to be taken in and dropped. Name it once.")
        if slug not in members and slug not in old:
            known = {*members, *old}
            raise NotFoundError(
                f"'{slug}' is not a member of this release.{did_you_mean(slug, known)}"
            )
    members = {slug: item for slug, item in members.items() if slug not in wanted.drop} | named
    return [_keep(*members[slug], old.get(slug), at) for slug in sorted(members)]


def releasable_drafts(session: Session) -> tuple[str, ...]:
    """Return the states before approval in which a version may be released."""
    return UNAPPROVED if policy_row(session).approvals == 0 else ()


def _included(
    session: Session,
    wanted: Wanted,
    before: Sequence[Chosen] | None,
    open_states: tuple[str, ...],
) -> dict[str, Version]:
    """Return what is in the release without being named, by slug."""
    if wanted.include == "all" or (before is None and wanted == Wanted(drop=wanted.drop)):
        return _newest_of_all(session, open_states)
    if wanted.include == "approved":
        return _newest_of_all(session, ())
    found = {}
    for item in before or ():
        # One that was taken out of use since gives way to what is approved, or goes.
        version: ConceptVersion | None = item.version
        if item.version.state != "approved":
            version = newest_version(session, item.concept, ())
        if version is not None:
            found[item.concept.slug] = (item.concept, version)
    return found


def nothing(session: Session) -> PolicyError:
    """Return why there is nothing to release."""
    if _newest_of_all(session, releasable_drafts(session)):
        return PolicyError(
            "No concepts to release: the release before holds none. Name some with --concept, or "
            "take all with --all-approved."
        )
    if concepts := session.scalars(select(Concept)).all():
        return _nothing_of(session, concepts)
    return PolicyError(
        "No concepts to release. Run `uvr-registry collect-anchors` first, or add "
        "--enforce-nothing if the release is to be empty."
    )


def approve(unit: Work, chosen: Sequence[Chosen]) -> list[str]:
    """Approve the members that no policy asks to be approved; return what was, as "slug@3"."""
    return [
        f"{item.concept.slug}@{item.version.number}"
        for item in chosen
        if item.version.state in UNAPPROVED and approve_on_release(unit, item.concept, item.version)
    ]


def _named(
    session: Session, members: Sequence[str], open_states: tuple[str, ...]
) -> dict[str, Version]:
    chosen: dict[str, Version] = {}
    for name in members:
        slug, _, number = name.partition("@")
        concept = find_concept(session, slug)
        if number:
            version = _numbered(session, concept, number, open_states)
        else:
            newest = newest_version(session, concept, open_states)
            if newest is None:
                raise _nothing_of(session, [concept])
            version = newest
        if chosen.setdefault(slug, (concept, version))[1] is not version:
            raise ConflictError(f"Two versions of '{slug}' are asked for. Name one.")
    return chosen


def _numbered(
    session: Session, concept: Concept, number: str, open_states: tuple[str, ...]
) -> ConceptVersion:
    version = None
    if number.isascii() and number.isdigit() and len(number) < 10:
        query = select(ConceptVersion).filter_by(concept_id=concept.id, number=int(number))
        version = session.scalars(query).first()
    if version is None:
        raise no_version(concept.slug, number)
    if version.state not in ("approved", "deprecated", *open_states):
        raise PolicyError(_refused(concept, version))
    return version


def newest_version(
    session: Session, concept: Concept, open_states: tuple[str, ...]
) -> ConceptVersion | None:
    """Return the newest version of a concept that is approved or in one of some states."""
    query = select(ConceptVersion).where(
        ConceptVersion.concept_id == concept.id,
        ConceptVersion.state.in_(("approved", *open_states)),
    )
    return session.scalars(query.order_by(ConceptVersion.number.desc())).first()


def _newest_of_all(session: Session, open_states: tuple[str, ...]) -> dict[str, Version]:
    query = (
        select(Concept, ConceptVersion)
        .join(ConceptVersion, ConceptVersion.concept_id == Concept.id)
        .where(ConceptVersion.state.in_(("approved", *open_states)))
        .order_by(ConceptVersion.number)
    )
    return {concept.slug: (concept, version) for concept, version in session.execute(query)}


def _nothing_of(session: Session, concepts: Sequence[Concept]) -> PolicyError:
    """Say why none of some concepts has a version that may be released."""
    newest = {
        concept.slug: session.scalars(
            select(ConceptVersion)
            .where(ConceptVersion.concept_id == concept.id)
            .order_by(ConceptVersion.number.desc())
        ).first()
        for concept in sorted(concepts, key=lambda concept: concept.slug)
    }
    by_slug = {concept.slug: concept for concept in concepts}
    why = [_refused(by_slug[slug], version) for slug, version in newest.items() if version]
    without = [slug for slug, version in newest.items() if version is None]
    if without:
        names = ", ".join(without)
        why.append(f"No anchors yet for {names}. Run `uvr-registry collect-anchors` first.")
    return PolicyError(" ".join(why))


def _refused(concept: Concept, version: ConceptVersion) -> str:
    advice = COPY if version.state == "deprecated" else "Collect anchors for a new version."
    if version.state in UNAPPROVED:
        advice = "Submit it and have it approved first."
    return f"Version {version.number} of '{concept.slug}' is {version.state}. {advice}"


def _keep(concept: Concept, version: ConceptVersion, old: Chosen | None, at: str) -> Chosen:
    if old is None:
        return Chosen(concept, version)
    # A threshold was chosen for one version's scores, and another version's may lie elsewhere.
    thresholds = old.thresholds if old.version.id == version.id else {}
    until = old.disabled_until
    paused = until if until is not None and until > at else None
    return Chosen(concept, version, old.mode, thresholds, paused)
