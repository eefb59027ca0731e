"""Commands on the audit trail."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.app import App, pass_app
from commands.options import as_json, dry_run
from commands.output import show_events
from commands.parameters import FILE, NUMBER, OUT_FILE, Instant
from commands.reading import read_key_list, read_private_keys
from commands.text import plural
from concepts.files import write_file

if TYPE_CHECKING:
    pass


@click.group()
def audit() -> None:
    """Read, verify, sign and export the audit trail.

    \b
    Examples:
      uvr-registry audit log --limit 50
      uvr-registry audit verify
    """


@audit.command("log")
@click.option("--limit", type=NUMBER, default=20, show_default=True)
@click.option("--subject", help="Only events about this, such as pistol, pistol@2 or policy@3.")
@click.option("--by", "actor", metavar="NAME", help="Only what this actor did.")
@click.option("--action", help="Only this, such as channel.move, or all of a kind: release.")
@click.option("--since", type=Instant(), metavar="WHEN", help="Only from then on.")
@as_json
@pass_app
def audit_log(
    app: App,
    limit: int,
    subject: str | None,
    actor: str | None,
    action: str | None,
    since: str | None,
) -> None:
    """List the newest events, the newest last.

    \b
    Examples:
      uvr-registry audit log --subject testbed-pistol@1
      uvr-registry audit log --by ann --action release
    """
    trail = app.open().audit
    show_events(app, trail.events(limit, subject, since, actor=actor, action=action))


@audit.command("verify")
@click.option("--against", type=FILE, help="A checkpoint that was kept elsewhere.")
@click.option("--keys", "keys_file", type=FILE, help="Key list that must have signed it.")
@as_json
@pass_app
def audit_verify(app: App, against: Path | None, keys_file: Path | None) -> None:
    """Check every event; exit code 6 names the one that was changed, removed or inserted.

    A trail that was rewritten from the beginning looks whole: only a checkpoint that was kept
    elsewhere shows the change.

    \b
    Examples:
      uvr-registry audit verify
      uvr-registry audit verify --against checkpoint.json --keys keys.json
    """
    if keys_file is not None and against is None:
        raise click.UsageError("--keys needs --against.")
    found = app.open().audit.verify(against, read_key_list(keys_file))
    agrees = f", as checkpoint {found.against} says" if found.against is not None else ""
    lines = [f"OK {plural(found.events, 'event')}{agrees}, head {found.digest}"]
    app.show(asdict(found), lines)
    if against is not None and keys_file is None:
        click.echo("Who signed the checkpoint was not checked: give --keys.", err=True)


@audit.command("checkpoint")
@click.option("--key", "key_file", type=FILE, required=True, help="Private key that signs it.")
@click.option("--out", type=OUT_FILE, required=True)
@dry_run
@as_json
@pass_app
def audit_checkpoint(app: App, key_file: Path, out: Path) -> None:
    """Sign where the trail stands, to be kept elsewhere.

    \b
    Example:
      uvr-registry audit checkpoint --key alice.pem --out checkpoint.json
    """
    data = app.open().audit.checkpoint(actor=app.actor, key=read_private_keys([key_file])[0])
    if not app.dry_run:
        write_file(out, data)
    app.show(
        {"file": str(out)}, [f"Wrote {out}: keep it where this registry's admins cannot write"]
    )


@audit.command("export")
@click.option("--out", type=OUT_FILE, help="[default: print it]")
@pass_app
def audit_export(app: App, out: Path | None) -> None:
    """Write every event as one line of JSON.

    \b
    Example:
      uvr-registry audit export --out audit.jsonl
    """
    lines = app.open().audit.export()
    if out is None:
        for line in lines:
            click.echo(line.rstrip("\n"))
        return
    write_file(out, "".join(line.rstrip("\n") + "\n" for line in lines).encode())
    click.echo(f"Wrote {out}")
