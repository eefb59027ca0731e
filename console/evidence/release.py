"""A release as evidence: each member with its pictures in short, and what it does not cover."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any

from concepts.instant import now
from concepts.words import MODE_WORDS
from console.evidence.page import panel_of
from console.evidence.pictures import Pictured
from console.evidence.sheet import is_veiled
from registry.answers import Difference, NewRelease, ReleasedMember, VersionDetail
from registry.registry import Registry
from registry.releases.channels import ChannelInfo
from uvr.pages.page import render_page
from uvr.pages.words import day, place_words


@dataclass(frozen=True, eq=False)
class MemberSheet:
    """A member of a release.

    Attributes:
        member: Version, mode and thresholds.
        detail: The version.
        pictures: Its pictures at the release's thresholds, by model and task.
    """

    member: ReleasedMember
    detail: VersionDetail
    pictures: tuple[Pictured, ...]

    @property
    def veiled(self) -> bool:
        """Whether its pictures are blurred at first."""
        return is_veiled(self.detail.definition)


@dataclass(frozen=True, eq=False)
class ReleaseSheet:
    """A release, as people are shown it.

    Attributes:
        release: The release, with what it changes and leaves uncovered.
        members: In the order of their names.
        channels: Those that point to it now.
        signed_by: Names of the keys that signed it.
        needed: How many signatures the policy asks for.
    """

    release: NewRelease
    members: tuple[MemberSheet, ...]
    channels: tuple[ChannelInfo, ...]
    signed_by: tuple[str, ...]
    needed: int

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON."""
        return {
            "release": asdict(self.release),
            "channels": [asdict(item) for item in self.channels],
            "signed_by": self.signed_by,
            "signatures_needed": self.needed,
            "pictures": {
                item.member.slug: {
                    one.place.task: one.examples and one.examples.rates().to_dict()
                    for one in item.pictures
                }
                for item in self.members
            },
        }


def release_sheet(
    registry: Registry,
    bundle: str,
    sequence: int | None,
    look: Callable[[VersionDetail], Sequence[Pictured]],
) -> ReleaseSheet:
    """Put a release's sheet together.

    Args:
        registry: The registry.
        bundle: The bundle.
        sequence: The release, by default the newest.
        look: Gives the pictures of a version.

    Raises:
        NotFoundError: There is no such release.
    """
    release = registry.releases.get(bundle, sequence)
    members = []
    for member in release.members:
        detail = registry.versions.detail(member.slug, member.version)
        members.append(member_sheet(member, detail, look(detail)))
    names = {key.key_id: key.name for key in registry.keys.list()}
    here = (release.bundle, release.sequence)
    return ReleaseSheet(
        release=release,
        members=tuple(sorted(members, key=lambda item: item.detail.definition.name)),
        channels=tuple(
            item for item in registry.channels.list() if (item.bundle, item.sequence) == here
        ),
        signed_by=tuple(names.get(key, key) for key in release.signatures),
        needed=registry.team.policy().signatures,
    )


def member_sheet(
    member: ReleasedMember, detail: VersionDetail, pictures: Sequence[Pictured]
) -> MemberSheet:
    """A member with its pictures, at the thresholds of the release."""
    return MemberSheet(member, detail, tuple(_at_threshold(member, item) for item in pictures))


def _at_threshold(member: ReleasedMember, item: Pictured) -> Pictured:
    threshold = member.thresholds.get(item.place.space.digest)
    if threshold is None or item.examples is None:
        return item
    return replace(item, examples=replace(item.examples, threshold=threshold))


def change_words(change: Difference) -> str:
    """What differs from the release before, in words for people."""
    before, after = change.before, change.after
    match change.what:
        case "added":
            return f"is new, with version {after}"
        case "removed":
            return f"is banned no more; it was version {before}"
        case "approved":
            return "was approved together with the release"
        case "version":
            return f"has version {after} in place of {before}"
        case "mode":
            return f"is now {MODE_WORDS[str(after)]}" + (
                f", was {MODE_WORDS[str(before)]}" if before else ""
            )
        case "threshold":
            looser = float(after or 0) > float(before or 0)
            return f"is {'less' if looser else 'more'} strict for {place_words(change.place)}"
        case "scoring":
            return f"is scored in another way for {place_words(change.place)}"
        case "coverage":
            place = place_words(str(after if before is None else before))
            return f"covers {place} now" if before is None else f"covers {place} no more"
    if after is None:
        return "is switched on again"
    return f"is switched off until {day(str(after))}"


def release_page(sheet: ReleaseSheet, made_at: str | None = None) -> str:
    """Render a release's sheet."""
    return render_page(
        "release.html",
        sheet=sheet,
        release=sheet.release,
        panels={m.member.slug: [panel_of(item) for item in m.pictures] for m in sheet.members},
        changes=[
            (slug, "; ".join(map(change_words, found)))
            for slug, found in groupby(sheet.release.changes, key=lambda item: item.slug)
        ],
        made_at=made_at or now(),
    )
