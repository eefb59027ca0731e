"""Commands on channels: which release is live where."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from commands.app import App, pass_app
from commands.changes import by_hand_lines, raised_lines
from commands.options import (
    as_json,
    dry_run,
    expect_digest,
    reason_option,
    release_argument,
    sequence_option,
)
from commands.parameters import CHANNEL, Instant, one_sequence
from commands.table import Table
from commands.text import cell, mode_words, releases_named
from concepts.words import approved_words

if TYPE_CHECKING:
    from registry.answers import ReleaseInfo


@click.group()
def channel() -> None:
    """Say which release is live where: each move is kept.

    \b
    Examples:
      uvr-registry channel move prod policy
      uvr-registry channel list
    """


@channel.command("move")
@click.argument("name", type=CHANNEL)
@release_argument
@sequence_option
@reason_option
@expect_digest
@dry_run
@as_json
@pass_app
def channel_move(
    app: App,
    name: str,
    release_name: tuple[str, int | None],
    sequence: int | None,
    reason: str,
    expect_digest: str | None,
) -> None:
    """Point a channel to a release, the latest by default; the first move makes the channel.

    \b
    Example:
      uvr-registry channel move prod policy@3 --reason "week 48"
    """
    wanted, channels = one_sequence(release_name, sequence), app.open().channels
    before = {item.name: item.sequence for item in channels.list()}.get(name, 0)
    info = channels.move(name, *wanted, actor=app.actor, reason=reason, expect_digest=expect_digest)
    app.show(asdict(info), [f"{info.name} is at {info.bundle}@{info.sequence}"])
    if info.sequence < before:
        app.warn(
            f"Engines that took {info.bundle}@{before} refuse an older release. "
            f"`uvr-registry rollback {info.bundle}@{info.sequence}` gives them these members again."
        )
    app.hint(f"Next: uvr-registry bundle export --channel {info.name} --out {info.name}.uvr")


@channel.command("list")
@as_json
@pass_app
def channel_list(app: App) -> None:
    """List the channels and where they point.

    \b
    Example:
      uvr-registry channel list
    """
    rows = [asdict(info) for info in app.open().channels.list()]
    columns = ("name", "release", "since", "moved_by", "reason", "bundle_digest")
    app.show(
        rows,
        [Table(columns, releases_named(rows), "No channels yet: `uvr-registry channel move`.")],
    )


@channel.command("history")
@click.argument("name", type=CHANNEL)
@as_json
@pass_app
def channel_history(app: App, name: str) -> None:
    """List every move of a channel, oldest first.

    \b
    Example:
      uvr-registry channel history prod
    """
    rows = [asdict(move) for move in app.open().channels.history(name)]
    app.show(rows, [Table(("number", "release", "at", "by", "reason"), releases_named(rows))])


@click.command()
@click.argument("name", metavar="CHANNEL", type=CHANNEL)
@click.option("--at", type=Instant(), metavar="WHEN", help="The time to look at.  [default: now]")
@as_json
@pass_app
def live(app: App, name: str, at: str | None) -> None:
    """Say what is, or was, live in a channel, and who approved it.

    \b
    Examples:
      uvr-registry live prod
      uvr-registry live prod --at 2026-11-24T10:00Z --json
    """
    found = app.open().channels.live(name, at)
    lines: list[str | Table] = [
        f"{found.channel} at {cell(found.at)}: {found.bundle}@{found.sequence}, since "
        f"{cell(found.since)} by {found.moved_by}{f': {found.reason}' if found.reason else ''}",
        _member_table(found.release, found.at),
    ]
    lines += [*raised_lines(found.release.members), *by_hand_lines(found.release.members)]
    lines += [f"The release expired on {cell(found.release.expires_at)}"] * found.expired
    lines += [f"Revoked since: {', '.join(found.revoked)}"] if found.revoked else []
    app.show(asdict(found), lines)


def _member_table(info: ReleaseInfo, at: str) -> Table:
    columns = ("slug", "version", "mode", "state", "approval", "approved_at")
    rows = [
        {
            **asdict(item),
            "mode": mode_words(item.mode, item.disabled_until, at),
            "approval": approved_words(item.approval, item.approved_by),
        }
        for item in info.members
    ]
    return Table(columns, rows, "No concepts.")
