"""Which versions a release takes, and how each is enforced.

1. Members: the ones asked for, or every concept with a version that may be released.
2. Modes, thresholds and pauses: as in the release before, then as asked for (``changes``).
3. The shrink rule: a release that enforces fewer concepts must be asked for explicitly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.bundle.member import LockedMember
from concepts.errors import ConflictError, PolicyError
from registry.answers import no_version
from registry.change.policy import policy_row
from registry.change.work import Work
from registry.store.models import Concept, ConceptVersion
from registry.versions.lifecycle import COPY, approve_on_release
from registry.versions.reading import find_concept

NEVER = "~"  # sorts after every instant
UNAPPROVED = ("draft", "in_review")  # released only where the policy asks for no approvals


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


def choose(
    session: Session, members: Sequence[str] | None, before: Sequence[Chosen], at: str
) -> list[Chosen]:
    """Return the versions to release, by slug, each enforced as in the release before.

    Raises:
        NotFoundError: If a concept or version does not exist.
        ConflictError: If two versions of one concept are asked for.
        PolicyError: If a version may not be released.
    """
    open_states = UNAPPROVED if policy_row(session).approvals == 0 else ()
    if members is None:
        versions = _newest_of_all(session, open_states)
    else:
        versions = _named(session, members, open_states)
    old = {chosen.concept.id: chosen for chosen in before}
    kept = [_keep(concept, version, old.get(concept.id), at) for concept, version in versions]
    return sorted(kept, key=lambda chosen: chosen.concept.slug)


def nothing(session: Session, members: Sequence[str] | None) -> PolicyError:
    """Return why there is nothing to release."""
    concepts = session.scalars(select(Concept)).all() if members is None else []
    if concepts:
        return _nothing_of(session, concepts)
    return PolicyError(
        "No concepts to release. Run `uvr-registry collect-anchors` first, or allow the release "
        "to shrink (--allow-shrink) if it is to be empty."
    )


def approve(unit: Work, chosen: Sequence[Chosen]) -> list[str]:
    """Approve the members that no policy asks to be approved; return what was, as "slug@3"."""
    return [
        f"{item.concept.slug}@{item.version.number}"
        for item in chosen
        if item.version.state in UNAPPROVED and approve_on_release(unit, item.version)
    ]


def check_shrink(
    before: Sequence[Chosen], after: Sequence[Chosen], at: str, max_share: float | None
) -> list[str]:
    """Return the concepts that are no longer enforced, or later than they would have been.

    Args:
        before: Members of the release before.
        after: Members of the new release.
        at: The present.
        max_share: Share of the enforced concepts that may go; None lets all go.

    Raises:
        PolicyError: If more than that would go, or all would.
    """
    enforced, left = (
        {item.concept.slug: item.enforced_from(at) for item in members if item.mode == "enforce"}
        for members in (before, after)
    )
    lost = sorted(slug for slug, since in enforced.items() if left.get(slug, NEVER) > since)
    emptied = not after or (at in enforced.values() and at not in left.values())
    names = ", ".join(_lost(slug, before) for slug in lost)
    if max_share is not None and (emptied or len(lost) > max_share * len(enforced)):
        raise PolicyError(
            f"{len(lost)} of {len(enforced)} enforced concepts would no longer be enforced, or "
            f"only later: {names or 'nothing is left to release'}. Allow the release to "
            "shrink (--allow-shrink) if that is what you want."
        )
    return lost


def _lost(slug: str, before: Sequence[Chosen]) -> str:
    version = next(item.version for item in before if item.concept.slug == slug)
    usable = version.state == "approved"
    return slug if usable else f"{slug} (version {version.number} is {version.state})"


def _named(
    session: Session, members: Sequence[str], open_states: tuple[str, ...]
) -> list[tuple[Concept, ConceptVersion]]:
    chosen: dict[str, tuple[Concept, ConceptVersion]] = {}
    for name in members:
        slug, _, number = name.partition("@")
        concept = find_concept(session, slug)
        if number:
            version = _numbered(session, concept, number, open_states)
        else:
            newest = _newest(session, concept, open_states)
            if newest is None:
                raise _nothing_of(session, [concept])
            version = newest
        if chosen.setdefault(slug, (concept, version))[1] is not version:
            raise ConflictError(f"Two versions of '{slug}' are asked for. Name one.")
    return list(chosen.values())


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


def _newest(
    session: Session, concept: Concept, open_states: tuple[str, ...]
) -> ConceptVersion | None:
    query = select(ConceptVersion).where(
        ConceptVersion.concept_id == concept.id,
        ConceptVersion.state.in_(("approved", *open_states)),
    )
    return session.scalars(query.order_by(ConceptVersion.number.desc())).first()


def _newest_of_all(
    session: Session, open_states: tuple[str, ...]
) -> list[tuple[Concept, ConceptVersion]]:
    query = (
        select(Concept, ConceptVersion)
        .join(ConceptVersion, ConceptVersion.concept_id == Concept.id)
        .where(ConceptVersion.state.in_(("approved", *open_states)))
        .order_by(ConceptVersion.number)
    )
    newest = {concept.id: (concept, version) for concept, version in session.execute(query)}
    return list(newest.values())


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
