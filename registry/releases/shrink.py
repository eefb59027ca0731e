"""The shrink rule: what a release enforces less than the one before must be asked for.

Each loss has its own word, so that asking for one never lets another through: a member goes with
``--drop SLUG``, a pause is named by ``--disable``, everything else needs ``--allow-shrink``, and a
release that enforces nothing ``--enforce-nothing``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from concepts.errors import PolicyError
from concepts.words import MODE_WORDS
from registry.releases.lineup import Chosen
from registry.releases.thresholds import Raised, place
from registry.versions.reading import stored_anchors_of


@dataclass(frozen=True)
class Asked:
    """What a release was asked to give up.

    Attributes:
        drop: Members that may go, by slug.
        paused: Members that may be enforced only later, by slug.
        less: Whether members may be enforced less.
        nothing: Whether nothing at all may be enforced.
        reason: Why.
    """

    drop: frozenset[str] = frozenset()
    paused: frozenset[str] = frozenset()
    less: bool = False
    nothing: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Loss:
    """What a release enforces less of one concept.

    Attributes:
        slug: The concept.
        kind: "removed", "paused", "threshold", "mode" or "coverage".
        why: The same in words.
    """

    slug: str
    kind: str
    why: str

    @property
    def option(self) -> str:
        """The option of the command that asks for it."""
        return f"--drop {self.slug}" if self.kind == "removed" else "--allow-shrink"

    def is_asked(self, asked: Asked) -> bool:
        """Whether it was asked for."""
        if self.kind == "removed":
            return self.slug in asked.drop
        return asked.less or (self.kind == "paused" and self.slug in asked.paused)


def losses(
    session: Session, before: Sequence[Chosen], after: Sequence[Chosen], raised: Raised, at: str
) -> list[Loss]:
    """Return what is enforced less than in the release before, by slug.

    Args:
        session: The transaction.
        before: Members of the release before.
        after: Members of the new release.
        raised: Thresholds of the new release above their versions' own, where they are new.
        at: The present.
    """
    kept = {item.concept.slug: item for item in after}
    found = [
        loss
        for old in before
        if old.mode == "enforce" and (loss := _loss(old, kept.get(old.concept.slug), at))
    ]
    found += _uncovered(session, before, kept)
    for slug, items in raised.items():
        found += [Loss(slug, "threshold", f"threshold {item}") for item in items]
    return sorted(found, key=lambda loss: loss.slug)


def check_shrink(
    before: Sequence[Chosen],
    after: Sequence[Chosen],
    lost: Sequence[Loss],
    asked: Asked,
    at: str,
    max_share: float,
) -> None:
    """Refuse what was not asked for.

    Args:
        before: Members of the release before.
        after: Members of the new release.
        lost: See ``losses``.
        asked: What was asked for.
        at: The present.
        max_share: Share of the enforced concepts that may be lost without being asked for.

    Raises:
        PolicyError: With the options that ask for it.
    """
    enforced = {item.concept.slug for item in before if item.mode == "enforce"}
    unasked = [loss for loss in lost if not loss.is_asked(asked)]
    slugs = {loss.slug for loss in unasked}
    count = len(enforced | slugs)
    said, options = [], []
    if len(slugs) > max_share * count:
        names = ", ".join(f"{loss.slug} ({loss.why})" for loss in unasked)
        said.append(
            f"{len(slugs)} of {count} regulated concepts would be regulated less, later or no "
            f"more: {names}."
        )
        options += [loss.option for loss in unasked]
    if any(loss.kind == "threshold" for loss in lost) and not asked.reason.strip():
        said.append("A threshold above a version's own needs a reason.")
        options.append('--note "WHY"')
    if not asked.nothing and _is_emptied(before, after, at):
        said.append("No concept would be regulated now.")
        options.append("--enforce-nothing")
    if said:
        way_out = " ".join(dict.fromkeys(options))
        raise PolicyError(f"{' '.join(said)} If that is meant, add {way_out}")


def _loss(old: Chosen, new: Chosen | None, at: str) -> Loss | None:
    slug = old.concept.slug
    if new is None:
        state = old.version.state
        usable = state == "approved"
        why = "removed" if usable else f"version {old.version.number} is {state}"
        return Loss(slug, "removed", why)
    if new.mode != "enforce":
        return Loss(slug, "mode", MODE_WORDS[new.mode])
    if new.enforced_from(at) > old.enforced_from(at):
        return Loss(slug, "paused", f"switched off until {new.disabled_until}")
    return None


def _uncovered(session: Session, before: Sequence[Chosen], kept: dict[str, Chosen]) -> list[Loss]:
    """Return the models and tasks that a member's other version has no anchors for."""
    pairs = [
        (old, new)
        for old in before
        if (new := kept.get(old.concept.slug)) and new.version.id != old.version.id
    ]
    anchors = stored_anchors_of(session, [item.version for pair in pairs for item in pair])
    found = []
    for old, new in pairs:
        was, now = ({place(entry) for entry in anchors[item.version.id]} for item in (old, new))
        if missing := ", ".join(sorted(was - now)):
            why = f"version {new.version.number} has no anchors for {missing}"
            found.append(Loss(old.concept.slug, "coverage", why))
    return found


def _is_emptied(before: Sequence[Chosen], after: Sequence[Chosen], at: str) -> bool:
    was, now = (
        any(item.enforced_from(at) == at for item in members) for members in (before, after)
    )
    return not after or (was and not now)
