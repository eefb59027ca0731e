"""Channels: named pointers to releases, and what each pointed to at any time.

A channel belongs to one bundle. Its moves are only ever added, so that the past can be asked for.
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass

from sqlalchemy import select

from concepts.errors import (
    ConflictError,
    InputError,
    NotFoundError,
)
from concepts.instant import now, parse_instant
from registry.answers import ReleaseInfo
from registry.change.workspace import Workspace
from registry.releases.assemble import read_bundle_of
from registry.releases.moves import (
    channel_row,
    check_release,
    expect_release,
    find_channel,
    last_move,
)
from registry.releases.reading import find_release, release_info
from registry.store.models import BundleRow, Channel, ChannelMove, Release
from registry.versions.quorum import Approval


@dataclass(frozen=True)
class MoveInfo:
    """One move of a channel.

    Attributes:
        channel: Name of the channel.
        number: Number of the move, from 1.
        bundle: Name of the channel's bundle.
        sequence: The release that it points to from then on.
        bundle_digest: That release's.
        at: When.
        by: By whom.
        reason: Why.
    """

    channel: str
    number: int
    bundle: str
    sequence: int
    bundle_digest: str
    at: str
    by: str
    reason: str


@dataclass(frozen=True)
class ChannelInfo:
    """A channel, and where it points now.

    Attributes:
        name: Its name.
        bundle: Its bundle.
        sequence: The release that it points to.
        bundle_digest: That release's.
        moves: How often it was moved.
        since: When it was moved last.
        moved_by: By whom.
        reason: Why.
    """

    name: str
    bundle: str
    sequence: int
    bundle_digest: str
    moves: int
    since: str
    moved_by: str
    reason: str


@dataclass(frozen=True)
class LiveInfo:
    """What was live in a channel at an instant.

    Attributes:
        channel: Name of the channel.
        at: The instant that was asked for.
        bundle: The bundle.
        sequence: The release.
        since: When the channel began to point to it.
        moved_by: Who moved it.
        reason: Why.
        release: The release, with who approved each member, and when.
        enforced: Concepts that were regulated at that instant, as their versions were approved.
        expired: Whether engines refused the release at that instant.
        revoked: Concepts whose version is revoked by now.
    """

    channel: str
    at: str
    bundle: str
    sequence: int
    since: str
    moved_by: str
    reason: str
    release: ReleaseInfo
    enforced: tuple[str, ...]
    expired: bool
    revoked: tuple[str, ...]


class Channels:
    """The channels of a registry."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def move(
        self,
        name: str,
        bundle_name: str,
        sequence: int | None = None,
        *,
        actor: str,
        reason: str = "",
        expect_digest: str | None = None,
    ) -> ChannelInfo:
        """Point a channel to a release, by default the newest; its first move makes the channel.

        The release's bundle is put together and checked first, so that nothing goes live that
        cannot be exported.

        Args:
            name: The channel.
            bundle_name: The bundle; always the same for one channel.
            sequence: The release.
            actor: Who does it.
            reason: Why.
            expect_digest: Bundle digest of the release that it must point to now, "" for none.

        Raises:
            NotFoundError: If there is no such bundle or release.
            ConflictError: If the channel is another bundle's, already points there, or does not
                point where it is expected to.
            PolicyError: If the release has too few signatures, has expired, or holds a version
                that was revoked.
            VerificationError: If its stored bytes are damaged.
        """
        with self._workspace.work(actor, "publisher") as unit:
            session = unit.session
            bundle, release = find_release(session, bundle_name, sequence)
            channel = channel_row(unit, name, bundle)
            last = last_move(session, channel)
            before = session.get_one(Release, last.release_id) if last else None
            expect_release(channel, before, expect_digest)
            if before is not None and before.id == release.id:
                raise ConflictError(
                    f"Channel '{name}' already points to {bundle.name}@{release.sequence}."
                )
            released = read_bundle_of(session, self._workspace.store, bundle, release)
            check_release(unit, bundle, release, released)
            move = ChannelMove(
                channel_id=channel.id, number=last.number + 1 if last else 1,
                release_id=release.id, reason=reason, at=unit.at, by=actor,
            )  # fmt: skip
            session.add(move)
            unit.record(
                "channel.move", name, bundle=bundle.name, sequence=release.sequence,
                bundle_digest=release.bundle_digest, number=move.number, reason=reason,
                before=before.sequence if before else None,
            )  # fmt: skip
            return _channel_info(channel, bundle, release, move)

    def list(self) -> builtins.list[ChannelInfo]:
        """Return all channels, by name."""
        with self._workspace.read() as session:
            channels = []
            for channel in session.scalars(select(Channel)).all():
                move = last_move(session, channel)
                if move is not None:
                    bundle = session.get_one(BundleRow, channel.bundle_id)
                    release = session.get_one(Release, move.release_id)
                    channels.append(_channel_info(channel, bundle, release, move))
        return sorted(channels, key=lambda channel: channel.name)

    def history(self, name: str) -> builtins.list[MoveInfo]:
        """Return a channel's moves, oldest first; NotFoundError if there is no such channel."""
        with self._workspace.read() as session:
            channel = find_channel(session, name)
            bundle = session.get_one(BundleRow, channel.bundle_id)
            query = (
                select(ChannelMove, Release)
                .join(Release, Release.id == ChannelMove.release_id)
                .where(ChannelMove.channel_id == channel.id)
                .order_by(ChannelMove.number)
            )
            return [
                MoveInfo(
                    channel=name, number=move.number, bundle=bundle.name,
                    sequence=release.sequence, bundle_digest=release.bundle_digest,
                    at=move.at, by=move.by, reason=move.reason,
                )
                for move, release in session.execute(query)
            ]  # fmt: skip

    def now(self) -> builtins.list[LiveInfo]:
        """Return what is live in each channel now, by its name."""
        asked, known = now(), dict[int, Approval | None]()
        with self._workspace.read() as session:
            found = []
            for channel in session.scalars(select(Channel)).all():
                move = last_move(session, channel)
                if move is not None:
                    bundle = session.get_one(BundleRow, channel.bundle_id)
                    release = session.get_one(Release, move.release_id)
                    # Channels hold many of the same versions, whose approvals are read once.
                    info = release_info(session, bundle, release, known=known)
                    found.append(_live(channel.name, asked, move, info))
        return sorted(found, key=lambda item: item.channel)

    def live(self, name: str, at: str | None = None) -> LiveInfo:
        """Return what was live in a channel at an instant, by default now.

        Args:
            name: The channel.
            at: Any form that ``concepts.instant.parse_instant`` takes.

        Raises:
            NotFoundError: If there is no such channel, or it was not moved by then.
            InputError: If the instant cannot be read.
        """
        instant = None if at is None else _instant(at)
        with self._workspace.read() as session:
            channel = find_channel(session, name)
            move = last_move(session, channel, instant)
            if move is None:
                raise NotFoundError(
                    f"Channel '{name}' did not point to anything yet at {instant}. "
                    f"`uvr-registry channel history {name}` shows when it was moved."
                )
            # The newest move counts as made, even by a host whose clock is ahead.
            asked = instant or now()
            bundle = session.get_one(BundleRow, channel.bundle_id)
            release = session.get_one(Release, move.release_id)
            return _live(name, asked, move, release_info(session, bundle, release))


def _live(name: str, at: str, move: ChannelMove, release: ReleaseInfo) -> LiveInfo:
    return LiveInfo(
        channel=name,
        at=at,
        bundle=release.bundle,
        sequence=release.sequence,
        since=move.at,
        moved_by=move.by,
        reason=move.reason,
        release=release,
        enforced=tuple(item.slug for item in release.members if item.enforced_at(at)),
        expired=release.expires_at is not None and at >= release.expires_at,
        revoked=tuple(item.slug for item in release.members if item.state == "revoked"),
    )


def _channel_info(
    channel: Channel, bundle: BundleRow, release: Release, move: ChannelMove
) -> ChannelInfo:
    return ChannelInfo(
        name=channel.name,
        bundle=bundle.name,
        sequence=release.sequence,
        bundle_digest=release.bundle_digest,
        moves=move.number,
        since=move.at,
        moved_by=move.by,
        reason=move.reason,
    )


def _instant(text: str) -> str:
    try:
        return parse_instant(text)
    except ValueError as error:
        raise InputError(f"{error}.") from error
