"""What a host regulates otherwise than its bundle says."""

from __future__ import annotations

from dataclasses import dataclass

from concepts.bundle import Bundle, Member
from concepts.errors import NotFoundError


@dataclass(frozen=True)
class Overrides:
    """What a host regulates otherwise than its bundle says.

    Attributes:
        deny: Slugs to enforce even if the bundle only reports or measures them.
        allow: Slugs to report but not to regulate, whatever the bundle says.

    Raises:
        ValueError: Both name a concept.
    """

    deny: frozenset[str]
    allow: frozenset[str]

    def __post_init__(self) -> None:
        if both := sorted(self.deny & self.allow):
            raise ValueError(f"deny and allow both name {', '.join(both)}")

    def mode_of(self, member: Member, at: str) -> str:
        """Say what to do with a concept at an instant: "enforce", "log" or "shadow"."""
        if member.slug in self.deny:
            return "enforce"
        if member.mode != "enforce":
            return member.mode
        return "enforce" if member.slug not in self.allow and member.enforced_at(at) else "log"

    def sentences(self) -> list[str]:
        """Say which concepts are overridden; nothing where none is."""
        each = (("not regulated", self.allow), ("enforced", self.deny))
        return [f"{what} on this host: {', '.join(sorted(slugs))}" for what, slugs in each if slugs]

    def absent_from(self, bundle: Bundle) -> list[str]:
        """Return the slugs that a bundle does not hold, sorted."""
        return sorted((self.deny | self.allow) - set(bundle.slugs))

    def require_in(self, bundle: Bundle) -> None:
        """Check that a bundle holds every concept that is named; NotFoundError otherwise."""
        if absent := self.absent_from(bundle):
            raise NotFoundError(
                f"The bundle {bundle.name!r} has no concept {', '.join(map(repr, absent))}. "
                f"It holds: {', '.join(bundle.slugs)}."
            )
