"""What was banned at an instant, channel by channel: on what ground, by whom, how well measured.

It tells what the registry's audit trail had recorded by then; the trail is verified first, so that
a changed one gives no report. Pictures whose records were forgotten since are not told of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from concepts.instant import now
from console.evidence.sheet import Ground, grounds_of
from registry.answers import EvaluationInfo, ReleasedMember
from registry.change.event import AuditEvent
from registry.registry import Registry
from registry.releases.channels import LiveInfo
from uvr.pages.page import render_page


@dataclass(frozen=True)
class Banned:
    """A concept in what a channel pointed to.

    Attributes:
        slug: The concept.
        name: Its name.
        category: Of "nudity", "ip-character" and "object".
        version: Number of the version.
        content_digest: Its content.
        description: What it is.
        scope: What it covers and what it does not.
        mode: "enforce", "log" or "shadow".
        disabled_until: An instant before which it is not enforced.
        enforced: Whether it was regulated at that instant as its version was approved.
        by_hand: Models and tasks whose threshold was set by hand, so that nothing was measured.
        approval: "review", "break_glass" or "policy".
        approved_at: When.
        approved_by: By whom.
        authors: Who wrote the version.
        grounds: Of the pictures behind it, as far as they are on record.
        evaluations: Recorded by then, newest first.
        revoked: Whether the version is revoked by now.
    """

    slug: str
    name: str
    category: str
    version: int
    content_digest: str
    description: str
    scope: str
    mode: str
    disabled_until: str | None
    enforced: bool
    by_hand: tuple[str, ...]
    approval: str
    approved_at: str | None
    approved_by: tuple[str, ...]
    authors: tuple[str, ...]
    grounds: tuple[Ground, ...]
    evaluations: tuple[EvaluationInfo, ...]
    revoked: bool


@dataclass(frozen=True)
class ChannelThen:
    """A channel at an instant.

    Attributes:
        channel: Its name.
        bundle: Its bundle.
        sequence: The release that it pointed to.
        bundle_digest: That release's.
        since: When it began to.
        moved_by: Who moved it.
        reason: Why.
        expires_at: When engines began to refuse the release, None for never.
        expired: Whether that was so.
        signed_by: Names of the keys that had signed it by then.
        signatures_needed: How many the policy asked for then.
        banned: What the release held, by slug.
    """

    channel: str
    bundle: str
    sequence: int
    bundle_digest: str
    since: str
    moved_by: str
    reason: str
    expires_at: str | None
    expired: bool
    signed_by: tuple[str, ...]
    signatures_needed: int
    banned: tuple[Banned, ...]


@dataclass(frozen=True)
class Governance:
    """What was banned at an instant.

    Attributes:
        at: The instant.
        channels: Those that pointed to something then, by name.
        events: Number of the newest event of the trail by then, 0 for none.
        digest: That event's digest.
        verified: How many events the trail has now, all of which were checked.
    """

    at: str
    channels: tuple[ChannelThen, ...]
    events: int
    digest: str
    verified: int

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def governance(registry: Registry, at: str) -> Governance:
    """Tell what was banned at an instant.

    Args:
        registry: The registry.
        at: An instant in the form that is stored.

    Raises:
        VerificationError: The audit trail was changed.
    """
    trail = registry.audit.verify()
    then = [event for event in registry.audit.events() if event.at <= at]
    channels = tuple(
        _channel(registry, registry.channels.live(info.name, at), then)
        for info in registry.channels.list()
        if registry.channels.history(info.name)[0].at <= at
    )
    return Governance(
        at=at,
        channels=channels,
        events=then[-1].number if then else 0,
        digest=then[-1].digest if then else "",
        verified=trail.events,
    )


def _channel(registry: Registry, live: LiveInfo, then: Sequence[AuditEvent]) -> ChannelThen:
    release = live.release
    names = {key.key_id: key.name for key in registry.keys.list()}
    subject = f"{release.bundle}#{release.sequence}"
    signed = {
        names.get(key, key)
        for event in then
        if event.subject == subject
        for key in event.details.get("signed_by", ())
    }
    policies = [event.details for event in then if event.action == "policy.set"]
    return ChannelThen(
        channel=live.channel,
        bundle=release.bundle,
        sequence=release.sequence,
        bundle_digest=release.bundle_digest,
        since=live.since,
        moved_by=live.moved_by,
        reason=live.reason,
        expires_at=release.expires_at,
        expired=live.expired,
        signed_by=tuple(sorted(signed)),
        signatures_needed=policies[-1]["signatures"] if policies else 0,
        banned=tuple(_banned(registry, member, live.at) for member in release.members),
    )


def _banned(registry: Registry, member: ReleasedMember, at: str) -> Banned:
    detail = registry.versions.detail(member.slug, member.version)
    version, definition = detail.version, detail.definition
    sets = {item.anchor_set for item in version.spaces}
    return Banned(
        slug=member.slug,
        name=definition.name,
        category=definition.category,
        version=member.version,
        content_digest=member.content_digest,
        description=definition.description,
        scope=definition.scope,
        mode=member.mode,
        disabled_until=member.disabled_until,
        enforced=member.enforced_at(at),
        by_hand=member.by_hand,
        approval=member.approval,
        approved_at=member.approved_at,
        approved_by=member.approved_by,
        authors=version.authors,
        grounds=grounds_of(registry.exemplars.list(member.slug), sets, at),
        evaluations=tuple(item for item in version.evaluations if item.created_at <= at),
        revoked=member.state == "revoked",
    )


def governance_page(found: Governance, made_at: str | None = None) -> str:
    """Render what was banned at an instant."""
    return render_page("governance.html", found=found, made_at=made_at or now())
