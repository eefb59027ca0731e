"""Members of a bundle: which concept version, what scores it, what to do, and what locks them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from concepts.anchors import AnchorSpace
from concepts.digest import is_digest, json_digest
from concepts.fields import MAX_SLUG, SLUG
from concepts.instant import is_instant
from concepts.plain import check_count, finite_number
from concepts.scorer import Scorer
from concepts.words import CATEGORIES, MODES


@dataclass(frozen=True)
class Member:
    """One concept of a bundle.

    Attributes:
        slug: The concept.
        name: Name to display.
        category: Category of its definition.
        version: Version number in the registry, from 1.
        content_digest: Digest of that version's content.
        scorer: What scores a patch.
        mode: "enforce"; "log" to report without regulating; "shadow" to measure on the side.
        threshold: Takes the place of the scorer's seed threshold; the grow threshold moves with it.
        disabled_until: An instant before which the member is reported and not enforced.
    """

    slug: str
    name: str
    category: str
    version: int
    content_digest: str
    scorer: Scorer
    mode: str = "enforce"
    threshold: float | None = None
    disabled_until: str | None = None

    def __post_init__(self) -> None:
        check_name(self.slug)
        if not isinstance(self.name, str) or not self.name:
            raise ValueError("a member needs a name")
        if self.category not in CATEGORIES:
            raise ValueError(f"category is {self.category!r}, allowed: {', '.join(CATEGORIES)}")
        check_count("version", self.version)
        check_digest("content_digest", self.content_digest)
        check_mode(self.mode, self.disabled_until)
        if self.threshold is not None:
            object.__setattr__(self, "threshold", finite_number("a threshold", self.threshold))

    @property
    def seed_threshold(self) -> float:
        """A patch with score >= this starts a region."""
        return self.scorer.seed_threshold if self.threshold is None else self.threshold

    @property
    def grow_threshold(self) -> float:
        """A patch with score >= this joins a region next to it."""
        if self.threshold is None:
            return self.scorer.grow_threshold
        moved = self.scorer.grow_threshold + (self.threshold - self.scorer.seed_threshold)
        return min(moved, self.threshold)  # Rounding may end just above.

    def enforced_at(self, instant: str) -> bool:
        """Whether the concept is regulated at an instant."""
        disabled = self.disabled_until is not None and instant < self.disabled_until
        return self.mode == "enforce" and not disabled


@dataclass(frozen=True)
class BundleVariant:
    """The members of a bundle for one anchor space, sorted by slug."""

    space: AnchorSpace
    members: tuple[Member, ...]

    def __post_init__(self) -> None:
        members = tuple(sorted(self.members, key=lambda member: member.slug))
        object.__setattr__(self, "members", members)
        if not members:
            raise ValueError("a bundle variant needs at least one member")
        if len({member.slug for member in members}) != len(members):
            raise ValueError("a concept occurs twice in one bundle variant")
        for member in members:
            if member.scorer.dim != self.space.dim:
                raise ValueError(
                    f"the scorer of '{member.slug}' has {member.scorer.dim} dimensions, "
                    f"its space {self.space.dim}"
                )


@dataclass(frozen=True)
class LockedMember:
    """What a release's lock fixes of one concept.

    Attributes:
        slug: The concept.
        version: Version number in the registry, from 1.
        content_digest: Digest of that version's content.
        mode: One of ``words.MODES``.
        thresholds: Seed threshold by the digest of an anchor space, where it is not the scorer's.
        disabled_until: See ``Member``.
    """

    slug: str
    version: int
    content_digest: str
    mode: str = "enforce"
    thresholds: Mapping[str, float] = field(default_factory=dict)
    disabled_until: str | None = None

    def __post_init__(self) -> None:
        check_name(self.slug)
        check_count("version", self.version)
        check_digest("content_digest", self.content_digest)
        check_mode(self.mode, self.disabled_until)
        for space in self.thresholds:
            check_digest("the anchor space of a threshold", space)
        thresholds = {
            space: finite_number("a threshold", item) for space, item in self.thresholds.items()
        }
        object.__setattr__(self, "thresholds", thresholds)


def locked_members(variants: Iterable[BundleVariant]) -> list[LockedMember]:
    """Return what locks the members of some variants, one item a concept, sorted by slug.

    Raises:
        ValueError: If variants disagree on more than a threshold.
    """
    found: dict[str, LockedMember] = {}
    for variant in variants:
        space = variant.space.digest
        for member in variant.members:
            parts = (member.version, member.content_digest, member.mode)
            seen = found.get(member.slug)
            thresholds = dict(seen.thresholds) if seen else {}
            if member.threshold is not None:
                thresholds[space] = member.threshold
            locked = LockedMember(member.slug, *parts, thresholds, member.disabled_until)
            if seen and (*parts, member.disabled_until) != (
                seen.version, seen.content_digest, seen.mode, seen.disabled_until
            ):  # fmt: skip
                raise ValueError(f"two variants disagree on '{member.slug}'")
            found[member.slug] = locked
    return [found[slug] for slug in sorted(found)]


def lock_digest(members: Iterable[LockedMember]) -> str:
    """Return the digest of the locked members; their order does not matter.

    Raises:
        ValueError: If a concept occurs twice with different content.
    """
    rows: dict[str, dict[str, object]] = {}
    for member in members:
        row = {
            "slug": member.slug,
            "version": member.version,
            "content_digest": member.content_digest,
            "mode": member.mode,
            "thresholds": member.thresholds,
            "disabled_until": member.disabled_until,
        }
        if rows.setdefault(member.slug, row) != row:
            raise ValueError(f"'{member.slug}' is locked twice, with different content")
    return json_digest([rows[slug] for slug in sorted(rows)])


def check_name(name: object) -> None:
    """Refuse what is no slug; ValueError says what one is."""
    if not isinstance(name, str) or not SLUG.fullmatch(name) or len(name) > MAX_SLUG:
        raise ValueError(f"{name!r} is not a name of lower-case words joined by hyphens")


def check_digest(name: str, value: object) -> None:
    """Refuse what is no SHA-256."""
    if not is_digest(value):
        raise ValueError(f"{name} must be 64 hex digits")


def check_mode(mode: object, disabled_until: object) -> None:
    """Refuse an unknown mode, and a time that is no instant."""
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}, allowed: {', '.join(MODES)}")
    if disabled_until is not None and not is_instant(disabled_until):
        raise ValueError(f"disabled_until must be an instant, not {disabled_until!r}")
