"""Commands on releases: make, roll back, list and sign them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.app import App, pass_app
from commands.options import (
    allow_shrink_option,
    as_json,
    dry_run,
    expect_digest,
    expires_option,
    key_option,
    reason_required,
    sequence_option,
)
from commands.output import save_bundle
from commands.parameters import BUNDLE, NUMBER, OUT, Instant, Pair, Threshold
from commands.reading import read_private_keys
from commands.table import Table
from commands.text import plural
from concepts.errors import UVRError
from concepts.words import MODES

if TYPE_CHECKING:
    from registry.answers import ReleaseInfo
    from registry.registry import Registry
    from registry.releases.gaps import Gap


@click.command()
@click.argument("bundle_name", metavar="BUNDLE", type=BUNDLE)
@click.option(
    "--concept",
    "members",
    multiple=True,
    metavar="SLUG[@NUMBER]",
    help="Repeat it.  [default: the newest version of each that may be released]",
)
@click.option(
    "--mode",
    "modes",
    multiple=True,
    type=Pair("SLUG=MODE", click.Choice(MODES)),
    metavar="SLUG=MODE",
    help="enforce, log (report only) or shadow (measure only).",
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
@expires_option
@click.option("--note", default="", help="Why, for the record.")
@key_option
@click.option("--out", type=OUT, help="Also write the bundle to this file.")
@expect_digest
@dry_run
@as_json
@pass_app
def release(
    app: App,
    /,
    bundle_name: str,
    members: tuple[str, ...],
    modes: tuple[tuple[str, str], ...],
    thresholds: tuple[tuple[str, float | None], ...],
    disable: tuple[tuple[str, str], ...],
    enable: tuple[str, ...],
    key_files: tuple[Path, ...],
    out: Path | None,
    **options: Any,
) -> None:
    """Release approved versions as the next release of a bundle.

    Modes, thresholds and pauses stay as in the release before unless given. Where the policy asks
    for no approvals, drafts are approved as a part of the release.

    \b
    Examples:
      uvr-registry release policy --out policy.uvr
      uvr-registry release weapons --concept pistol@3 --concept knife --mode knife=shadow
      uvr-registry release policy --disable pistol=7d --expires 90d --key alice.pem
    """
    disabled = {**dict(disable), **dict.fromkeys(enable)}
    if len(disabled) < len(disable) + len(enable):
        raise click.UsageError("--disable and --enable name a concept twice.")
    registry = app.open()
    info = registry.releases.add(
        bundle_name,
        list(members) or None,
        actor=app.actor,
        modes=dict(modes),
        thresholds=_thresholds(thresholds),
        disabled=disabled,
        keys=read_private_keys(key_files),
        **options,
    )
    _show_new_release(app, registry, info, "Released", out, named=bool(members))
    if info.expires_at is None:
        app.hint("It never expires: with --expires 90d, engines notice when they get nothing new.")
    signed, needed = len(info.signatures), registry.team.policy().signatures
    if signed < needed:
        name = f"{info.bundle} --sequence {info.sequence}"
        app.hint(f"{signed} of {needed} signatures so far: uvr-registry sign {name} --key FILE")


@click.command()
@click.argument("bundle_name", metavar="BUNDLE", type=BUNDLE)
@click.argument("sequence", type=NUMBER)
@reason_required
@allow_shrink_option
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
    bundle_name: str,
    sequence: int,
    key_files: tuple[Path, ...],
    out: Path | None,
    **options: Any,
) -> None:
    """Release the members of an earlier release again, under the next number.

    \b
    Example:
      uvr-registry rollback policy 3 --reason "release 4 fires on cups" --out policy.uvr
    """
    registry = app.open()
    info = registry.releases.roll_back(
        bundle_name, sequence, actor=app.actor, keys=read_private_keys(key_files), **options
    )
    _show_new_release(app, registry, info, "Rolled back to", out, named=False)


@click.command()
@click.argument("bundle_name", metavar="[BUNDLE]", type=BUNDLE, required=False)
@as_json
@pass_app
def releases(app: App, bundle_name: str | None) -> None:
    """List the releases of a bundle, or of all.

    \b
    Example:
      uvr-registry releases policy --json
    """
    found = [asdict(info) for info in app.open().releases.list(bundle_name)]
    rows = [
        {**item, "concepts": len(item["members"]), "signed": len(item["signatures"])}
        for item in found
    ]
    columns = ("bundle", "sequence", "concepts", "signed", "created_at", "created_by", "note")
    app.show(found, [Table((*columns, "bundle_digest"), rows, "No releases yet.")])


@click.command()
@click.argument("bundle_name", metavar="BUNDLE", type=BUNDLE)
@sequence_option
@key_option
@click.option("--out", type=OUT, help="Also write the signed bundle to this file.")
@dry_run
@as_json
@pass_app
def sign(
    app: App, bundle_name: str, sequence: int | None, key_files: tuple[Path, ...], out: Path | None
) -> None:
    """Add signatures to a release, the latest by default.

    \b
    Example:
      uvr-registry sign policy --key alice.pem --out policy.uvr
    """
    if not key_files:
        raise click.UsageError("Give --key FILE, a private key: `uvr-registry key generate`.")
    registry = app.open()
    keys = read_private_keys(key_files)
    info = registry.releases.sign(bundle_name, sequence, actor=app.actor, keys=keys)
    _show_release(app, info, "Signed", _write_release(app, registry, info, out))


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


def _show_release(
    app: App,
    info: ReleaseInfo,
    verb: str,
    written: list[str],
    left_out: Sequence[Gap] | None = None,
) -> None:
    target = info.rollback_of if info.rollback_of and verb != "Signed" else info.sequence
    again = f", as release {info.sequence}" if target != info.sequence else ""
    lines = [
        f"{verb} {info.bundle} {target}{again} with {plural(len(info.members), 'concept')}",
        *([f"Signed by {', '.join(info.signatures)}"] if info.signatures else []),
    ]
    gaps = {} if left_out is None else {"left_out": list(map(asdict, left_out))}
    app.show({**asdict(info), **gaps}, [*lines, *written])


def _show_new_release(
    app: App, registry: Registry, info: ReleaseInfo, verb: str, out: Path | None, *, named: bool
) -> None:
    """Write a new release's bundle, show it, and say what it leaves uncovered."""
    written = _write_release(app, registry, info, out)
    left_out = None if app.dry_run else registry.releases.gaps(info.bundle, info.sequence)
    _show_release(app, info, verb, written, left_out)
    for gap in left_out or []:
        if not (named and gap.why == "not asked for"):
            app.warn(f"{gap.slug} is not banned everywhere by this release: {gap.why}.")


def _write_release(app: App, registry: Registry, info: ReleaseInfo, out: Path | None) -> list[str]:
    """Write the bundle of a release that was recorded, and say so."""
    if out is None or app.dry_run:
        return []
    try:
        return [save_bundle(registry.releases.bundle(info.bundle, info.sequence), out)]
    except OSError as error:
        raise UVRError(
            f"Release {info.sequence} of '{info.bundle}' is recorded, but '{out}' cannot be "
            f"written: {error.strerror or error}. Write it with `uvr-registry bundle export "
            f"{info.bundle} --sequence {info.sequence} --out FILE`."
        ) from error
