"""Commands on releases: make, roll back, list and sign them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from commands.app import App, pass_app
from commands.changes import change_lines
from commands.new_release import show_new_release, signed_by, write_release
from commands.options import (
    allow_shrink_option,
    as_json,
    drop_option,
    dry_run,
    enforce_nothing_option,
    expect_digest,
    expires_option,
    key_option,
    reason_required,
    release_argument,
    sequence_option,
)
from commands.parameters import BUNDLE, NUMBER, OUT, RELEASE, Instant, Pair, Threshold, one_sequence
from commands.reading import read_private_keys
from commands.table import Table
from commands.text import mode_name, plural, releases_named
from concepts.words import MODES


@click.command()
@click.argument("bundle_name", metavar="BUNDLE", type=BUNDLE)
@click.option(
    "--concept",
    "members",
    multiple=True,
    metavar="SLUG[@NUMBER]",
    help="Take this version in, beside the members of the release before; repeat it.",
)
@click.option(
    "--all-approved",
    "include",
    flag_value="approved",
    help="Take in the newest approved version of every concept.",
)
@click.option(
    "--all",
    "include",
    flag_value="all",
    help="The same, with drafts where the policy asks for no approvals.",
)
@drop_option
@click.option(
    "--mode",
    "modes",
    multiple=True,
    type=Pair("SLUG=MODE", click.Choice(MODES)),
    metavar="SLUG=MODE",
    help=f"What happens where it is found: {', '.join(map(mode_name, MODES))}.",
)
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    type=Pair("SLUG[/TASK]=NUMBER", Threshold()),
    metavar="SLUG[/TASK]=NUMBER",
    help="Seed threshold in place of the scorer's; 'none' takes it back.",
)
@click.option(
    "--disable",
    multiple=True,
    type=Pair("SLUG=WHEN", Instant()),
    metavar="SLUG=WHEN",
    help="Only report the concept until then, such as pistol=7d.",
)
@click.option("--enable", multiple=True, metavar="SLUG", help="End a --disable early.")
@allow_shrink_option
@enforce_nothing_option
@expires_option
@click.option("--note", default="", help="Why, for the record.")
@key_option
@click.option("--out", type=OUT, help="Also write the bundle to this file.")
@expect_digest
@click.option(
    "--expect-lock",
    metavar="SHA256",
    help="Refuse unless the release gets this lock digest, as --dry-run --json told it.",
)
@dry_run
@as_json
@pass_app
def release(
    app: App,
    /,
    bundle_name: str,
    members: tuple[str, ...],
    include: str | None,
    modes: tuple[tuple[str, str], ...],
    thresholds: tuple[tuple[str, float | None], ...],
    disable: tuple[tuple[str, str], ...],
    enable: tuple[str, ...],
    key_files: tuple[Path, ...],
    out: Path | None,
    **options: Any,
) -> None:
    """Release approved versions as the next release of a bundle, and say what that changes.

    Members, modes, thresholds and pauses stay as in the release before unless given; the first
    release takes all. Where the policy asks for no approvals, drafts that are taken in are
    approved as a part of the release. What is regulated less must be named: --drop a member,
    --disable it for a time, --allow-shrink for the rest.

    \b
    Examples:
      uvr-registry release policy --out policy.uvr
      uvr-registry release policy --all-approved --dry-run
      uvr-registry release weapons --concept pistol@3 --concept knife --mode knife=shadow
      uvr-registry release policy --disable pistol=7d --expires 90d --key alice.pem
      uvr-registry release policy --drop knife --note "no longer asked for"
    """
    disabled = {**dict(disable), **dict.fromkeys(enable)}
    if len(disabled) < len(disable) + len(enable):
        raise click.UsageError("--disable and --enable name a concept twice.")
    registry = app.open()
    info = registry.releases.add(
        bundle_name,
        members,
        actor=app.actor,
        include=include or "last",
        modes=dict(modes),
        thresholds=_thresholds(thresholds),
        disabled=disabled,
        keys=read_private_keys(key_files),
        **options,
    )
    show_new_release(app, registry, info, out)
    if info.expires_at is None:
        app.hint("It never expires: with --expires 90d, engines notice when they get nothing new.")


@click.command()
@click.argument("release_name", metavar="BUNDLE@SEQUENCE", type=RELEASE)
@click.argument("sequence", type=NUMBER, required=False)
@reason_required
@drop_option
@allow_shrink_option
@enforce_nothing_option
@expires_option
@key_option
@click.option("--out", type=OUT, help="Also write the bundle to this file.")
@expect_digest
@dry_run
@as_json
@pass_app
def rollback(
    app: App,
    /,
    release_name: tuple[str, int | None],
    sequence: int | None,
    key_files: tuple[Path, ...],
    out: Path | None,
    **options: Any,
) -> None:
    """Release the members of an earlier release again, under the next number.

    It says what that changes. Name with --drop each concept that the earlier release lacks.

    \b
    Example:
      uvr-registry rollback policy@3 --reason "release 4 fires on cups" --out policy.uvr
    """
    bundle_name, number = one_sequence(release_name, sequence)
    if number is None:
        raise click.UsageError(f"Say which release to go back to: {bundle_name}@SEQUENCE.")
    registry = app.open()
    info = registry.releases.roll_back(
        bundle_name, number, actor=app.actor, keys=read_private_keys(key_files), **options
    )
    show_new_release(app, registry, info, out)


@click.command()
@click.argument("bundle_name", metavar="[BUNDLE]", type=BUNDLE, required=False)
@as_json
@pass_app
def releases(app: App, bundle_name: str | None) -> None:
    """List the releases of a bundle, or of all, and members whose threshold was raised.

    \b
    Example:
      uvr-registry releases policy --json
    """
    found = [asdict(info) for info in app.open().releases.list(bundle_name)]
    rows = []
    for item in found:
        raised = [member["slug"] for member in item["members"] if member["raised"]]
        counts = {"concepts": len(item["members"]), "signed": len(item["signatures"])}
        rows.append({**item, **counts, "raised": raised})
    columns = ("release", "concepts", "raised", "signed", "created_at", "created_by")
    app.show(
        found,
        [Table((*columns, "note", "bundle_digest"), releases_named(rows), "No releases yet.")],
    )


@click.command("diff-releases")
@click.argument("bundle_name", metavar="BUNDLE", type=BUNDLE)
@click.argument("before", type=NUMBER)
@click.argument("after", type=NUMBER)
@as_json
@pass_app
def diff_releases(app: App, bundle_name: str, before: int, after: int) -> None:
    """Show what differs between two releases of a bundle, concept by concept.

    \b
    Example:
      uvr-registry diff-releases policy 2 3
    """
    changes = app.open().releases.diff(bundle_name, before, after)
    app.show([asdict(item) for item in changes], change_lines(changes) or ["No difference."])


@click.command()
@release_argument
@sequence_option
@key_option
@click.option("--out", type=OUT, help="Also write the signed bundle to this file.")
@dry_run
@as_json
@pass_app
def sign(
    app: App,
    release_name: tuple[str, int | None],
    sequence: int | None,
    key_files: tuple[Path, ...],
    out: Path | None,
) -> None:
    """Add signatures to a release, the latest by default.

    \b
    Example:
      uvr-registry sign policy --key alice.pem --out policy.uvr
    """
    if not key_files:
        raise click.UsageError("Give --key FILE, a private key: `uvr-registry key generate`.")
    wanted, registry = one_sequence(release_name, sequence), app.open()
    keys = read_private_keys(key_files)
    info = registry.releases.sign(*wanted, actor=app.actor, keys=keys)
    verb = "Would sign" if app.dry_run else "Signed"
    lines = [f"{verb} {info.bundle}@{info.sequence} with {plural(len(info.members), 'concept')}"]
    written = write_release(app, registry, info, out)
    app.show(asdict(info), [*lines, *signed_by(info), *written])


def _thresholds(pairs: Iterable[tuple[str, float | None]]) -> dict[str, Any]:
    """Thresholds by slug: a number, None, or one for each task where tasks are named."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        slug, slash, task = name.partition("/")
        tasks = found.setdefault(slug, {}) if slash else found
        if not isinstance(tasks, dict) or (task if slash else slug) in tasks:
            raise click.UsageError(f"--threshold names '{slug}' twice.")
        tasks[task if slash else slug] = value
    return found
