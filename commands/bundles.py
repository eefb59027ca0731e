"""Commands on bundle files: inspect, verify, export and fetch them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.app import App, pass_app
from commands.options import as_json, keys_option, sequence_option
from commands.output import save_bundle, silenced
from commands.parameters import (
    CHANNEL,
    OUT,
    OUT_FOLDER,
    PATH,
    RELEASE,
    Instant,
    one_sequence,
)
from commands.reading import read_bundle_file, read_key_list
from commands.table import Table
from commands.text import cell, modes_named
from concepts.errors import UVRError, VerificationError
from concepts.files import write_file
from concepts.instant import now

if TYPE_CHECKING:
    pass


@click.group()
def bundle() -> None:
    """Look into bundle files, check them, write them again.

    \b
    Example:
      uvr-registry bundle inspect policy.uvr
    """


@bundle.command("inspect")
@click.argument("file", type=PATH)
@keys_option
@as_json
@pass_app
def bundle_inspect(app: App, file: Path, keys_file: Path | None) -> None:
    """Show what a bundle holds, after checking it.

    \b
    Example:
      uvr-registry bundle inspect policy.uvr --json
    """
    from concepts.bundle.summary import bundle_summary

    summary = bundle_summary(read_bundle_file(file, read_key_list(keys_file)))
    app.show(summary, _bundle_lines(summary))


@bundle.command("sbom")
@click.argument("file", type=PATH)
@keys_option
@click.option("--out", type=OUT, help="Write it to this file.  [default: print it]")
def bundle_sbom(file: Path, keys_file: Path | None, out: Path | None) -> None:
    """Write a bundle as a CycloneDX 1.6 bill of materials, for a software inventory.

    The release is a component that depends on its versions of concepts and on the models that they
    are for, each with its digest. The same bundle gives the same bytes.

    \b
    Example:
      uvr-registry bundle sbom policy.uvr --keys keys.json --out policy.cdx.json
    """
    from concepts.bundle.bom import bundle_bom
    from concepts.digest import sha256
    from concepts.files import read_bytes

    found = read_bundle_file(file, read_key_list(keys_file))
    text = json.dumps(bundle_bom(found, sha256(read_bytes(file))), indent=2) + "\n"
    if out is None:
        click.echo(text, nl=False)
        return
    write_file(out, text.encode())
    click.echo(f"Wrote {out}")


@bundle.command("verify")
@click.argument("file", type=PATH)
@keys_option
@click.option("--at", type=Instant(), metavar="WHEN", help="When it must be valid.  [default: now]")
@click.option("--digest", metavar="SHA256", help="Also require this digest.")
@as_json
@pass_app
def bundle_verify(
    app: App, file: Path, keys_file: Path | None, at: str | None, digest: str | None
) -> None:
    """Check every byte, signature and the expiry of a bundle; exit code 6 if anything is wrong.

    Without --keys this shows that the file is whole, but not who made it.

    \b
    Examples:
      uvr-registry bundle verify policy.uvr --keys keys.json
      uvr-registry bundle verify policy.uvr --keys keys.json --at 2026-12-24
    """
    keys = read_key_list(keys_file)
    found = read_bundle_file(file, keys, at or now())
    if digest not in (None, found.digest):
        raise VerificationError(f"The digest of '{file}' is {found.digest}, expected {digest}.")
    signed = keys.follow(found.key_lists).signers(found.envelope) if keys else []
    named = ("name", "sequence", "digest", "expires")
    data = {**{name: getattr(found, name) for name in named}, "signed_by": signed}
    app.show(data, [f"OK {found.name}@{found.sequence} {found.digest}"])
    if found.expires is None:
        app.hint("It never expires: an engine that is offered nothing else keeps it for ever.")
    if keys is None:
        click.echo("Who made it was not checked: give --keys.", err=True)


@bundle.command("export")
@click.argument("release_name", metavar="[BUNDLE[@SEQUENCE]]", type=RELEASE, required=False)
@sequence_option
@click.option("--channel", "channel_name", type=CHANNEL, help="The release live there now.")
@click.option("--out", type=OUT, required=True)
@as_json
@pass_app
def bundle_export(
    app: App,
    release_name: tuple[str, int | None] | None,
    sequence: int | None,
    channel_name: str | None,
    out: Path,
) -> None:
    """Write a release's bundle to a file; the same release always gives the same bytes.

    \b
    Examples:
      uvr-registry bundle export policy@1 --out policy-1.uvr
      uvr-registry bundle export --channel prod --out /srv/bundles/prod.uvr
    """
    if (release_name is None) == (channel_name is None) or (channel_name and sequence):
        raise click.UsageError("Give BUNDLE or BUNDLE@SEQUENCE, or else --channel.")
    if release_name is not None:
        wanted, registry = one_sequence(release_name, sequence), app.open()
    else:
        registry = app.open()
        now_live = registry.channels.live(str(channel_name))
        wanted = now_live.bundle, now_live.sequence
    found = registry.releases.bundle(*wanted)
    data = {"file": str(out), "sequence": found.sequence, "digest": found.digest}
    app.show(data, [save_bundle(found, out)])


@click.command()
@click.argument("location")
@keys_option
@click.option("--unsigned", is_flag=True, help="Check no signatures: a place only you can write.")
@click.option(
    "--state", type=OUT_FOLDER, required=True, help="Folder that remembers what was accepted."
)
@click.option("--name", help="The bundle expected.  [default: the first one seen]")
@click.option("--out", type=OUT, help="Also write the bundle to this file.")
@as_json
@pass_app
def pull(
    app: App,
    location: str,
    keys_file: Path | None,
    unsigned: bool,
    state: Path,
    name: str | None,
    out: Path | None,
) -> None:
    """Fetch the newest bundle from a file, folder or URL, as an engine does.

    It must be signed, not expired, and no older than what was accepted before: --state remembers.

    \b
    Examples:
      uvr-registry pull https://bundles.example/policy.uvr --keys keys.json --state state/
      uvr-registry pull /srv/bundles --unsigned --state state/ --out policy.uvr
    """
    if (keys_file is None) == (not unsigned):
        raise click.UsageError("Give --keys FILE, or --unsigned for a place only you can write.")
    from uvr.delivery.source import BundleSource

    keys = read_key_list(keys_file)
    source = BundleSource(
        location, keys=keys, state=state, name=name, poll_seconds=0, stale="fail_closed"
    )
    with silenced("uvr.source"), source:  # What it logs is this command's error.
        status = source.status()
        if status.last_error:  # The last known good was loaded: say what is wrong with the new.
            try:
                source.refresh()
            except UVRError as error:
                kept = f"{status.bundle}@{status.sequence}, accepted earlier, stays."
                raise type(error)(f"{error} {kept}") from error
        found, status = source.current, source.status()
    for warning in status.warnings:
        app.warn(f"{warning[0].upper()}{warning[1:]}.")
    lines = [f"{found.name}@{found.sequence} {found.digest}"]
    app.show(status.to_dict(), lines + ([save_bundle(found, out)] if out is not None else []))


def _bundle_lines(summary: Mapping[str, Any]) -> list[str | Table]:
    lines: list[str | Table] = [
        f"{summary['name']}@{summary['sequence']}",
        f"digest {summary['digest']}",
    ]
    lines += [f"made {cell(summary['created'])}"] if summary["created"] else []
    lines += [f"expires {cell(summary['expires'] or 'never')}"]
    lines += [f"signed by {key_id}" for key_id in summary["signatures"]]
    lines += [f"revoked {digest}" for digest in summary["revocations"]]
    columns = ("slug", "version", "mode", "disabled_until", "rule", "seed_threshold")
    for variant in summary["variants"]:
        space = variant["space"]
        lines.append(f"{space['model']} {space['task']} at {', '.join(space['taps'])}")
        lines.append(Table((*columns, "grow_threshold"), modes_named(variant["members"])))
        lines += [
            f"{item['slug']} finds less than was approved: threshold {item['seed_threshold']:g}, "
            f"its version's own is {item['own_threshold']:g}"
            for item in variant["members"]
            if item["seed_threshold"] > item["own_threshold"]
        ]
    return lines
