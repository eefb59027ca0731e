"""The rows behind a channel, and what a release must be before a channel points to it."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.bundle import Bundle
from concepts.bundle.member import check_name
from concepts.errors import ConflictError, InputError, NotFoundError, PolicyError, did_you_mean
from registry.change.policy import policy_row
from registry.change.work import Work
from registry.releases.reading import release_info
from registry.releases.signatures import signed_by
from registry.store.models import BundleRow, Channel, ChannelMove, Release
from registry.versions.reading import require_digest


def check_release(unit: Work, bundle: BundleRow, release: Release, released: Bundle) -> None:
    """Refuse a release that must not go live."""
    what = f"{bundle.name}@{release.sequence}"
    info = release_info(unit.session, bundle, release)
    revoked = [f"{item.slug}@{item.version}" for item in info.members if item.state == "revoked"]
    if revoked:
        raise PolicyError(f"{what} holds revoked versions: {', '.join(revoked)}. Release again.")
    if release.expires_at is not None and unit.present >= release.expires_at:
        raise PolicyError(f"{what} expired at {release.expires_at}. Release again.")
    needed = policy_row(unit.session).signatures
    signed = signed_by(unit.session, release, released)
    if len(signed) < needed:
        raise PolicyError(
            f"{what} is signed by {len(signed)} of the {needed} listed keys that the policy asks "
            f"for. Sign it: `uvr-registry sign {bundle.name}@{release.sequence} --key FILE`, or "
            "release again if it was made before they were listed."
        )


def channel_row(unit: Work, name: str, bundle: BundleRow) -> Channel:
    """Return a channel's row, new if there is none; it belongs to the bundle."""
    try:
        check_name(name)
    except ValueError as error:
        raise InputError(f"The channel's name is not valid: {error}.") from error
    row = unit.session.scalars(select(Channel).filter_by(name=name)).first()
    if row is None:
        row = Channel(name=name, bundle_id=bundle.id, created_at=unit.at, created_by=unit.actor)
        unit.session.add(row)
        unit.session.flush()
    if row.bundle_id != bundle.id:
        other = unit.session.get_one(BundleRow, row.bundle_id).name
        raise ConflictError(
            f"Channel '{name}' belongs to bundle '{other}', not '{bundle.name}'. Use another."
        )
    return row


def find_channel(session: Session, name: str) -> Channel:
    """Return a channel's row; NotFoundError with the closest name otherwise."""
    row = session.scalars(select(Channel).filter_by(name=name)).first()
    if row is None:
        known = session.scalars(select(Channel.name)).all()
        hint = did_you_mean(name, known) or " Make it with `uvr-registry channel move`."
        raise NotFoundError(f"No channel '{name}'.{hint}")
    return row


def last_move(session: Session, channel: Channel, at: str | None = None) -> ChannelMove | None:
    """Return a channel's newest move, or the newest made by an instant; None if there is none."""
    query = select(ChannelMove).where(ChannelMove.channel_id == channel.id)
    if at is not None:
        query = query.where(ChannelMove.at <= at)
    return session.scalars(query.order_by(ChannelMove.number.desc())).first()


def expect_release(channel: Channel, before: Release | None, digest: str | None) -> None:
    """Compare where a channel points with what a change expects; ConflictError otherwise."""
    found = before.bundle_digest if before else "none"
    expected = "none" if digest == "" else digest
    require_digest(f"The release of channel '{channel.name}'", found, expected)
