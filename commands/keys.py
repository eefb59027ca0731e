"""Commands on signing keys and key lists."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.app import App, pass_app
from commands.options import as_json, dry_run, key_option, yes
from commands.parameters import FILE, NUMBER, OUT_FILE
from commands.reading import read_file, read_private_keys
from commands.table import Table
from commands.text import plural
from concepts.errors import NotFoundError
from concepts.files import write_file

if TYPE_CHECKING:
    pass


@click.group()
def key() -> None:
    """Make signing keys, and say which of them engines should trust.

    \b
    Examples:
      uvr-registry key generate alice
      uvr-registry key list
    """


@key.command("generate")
@click.argument("name")
@click.option("--out", type=OUT_FILE, help="Private key.  [default: NAME.pem]")
@as_json
@pass_app
def key_generate(app: App, name: str, out: Path | None) -> None:
    """Make a pair of keys: OUT, which stays with you, and OUT.pub, the public half.

    UVR_KEY_PASSPHRASE encrypts the private key; on a terminal you are asked for a passphrase.

    \b
    Example:
      uvr-registry key generate alice --out alice.pem
    """
    from concepts.signing.keys import PrivateKey

    out = out or Path(f"{name}.pem")
    public = out.with_name(f"{out.name}.pub")
    for path in (out, public):
        if path.exists():
            raise click.UsageError(f"'{path}' exists, and a key is never overwritten.")
    made = PrivateKey.generate()
    _write_private(out, made.pem(_new_passphrase()))
    write_file(public, made.public.pem().encode())
    app.show(
        {"name": name, "key_id": made.public.key_id, "private": str(out), "public": str(public)},
        [
            f"Wrote {out}, which nobody else should see, and {public}",
            f"key id {made.public.key_id}",
            f"An admin adds it with `uvr-registry key add {name} {public}`.",
        ],
    )


@key.command("add")
@click.argument("name")
@click.argument("file", type=FILE)
@dry_run
@as_json
@pass_app
def key_add(app: App, name: str, file: Path) -> None:
    """Add a public key by name; it may sign once `key rotate` lists it.

    \b
    Example:
      uvr-registry key add alice alice.pem.pub
    """
    from concepts.signing.keys import PublicKey

    public = PublicKey.from_pem(read_file(file, "public key"))
    info = app.open().keys.add(name, public, actor=app.actor)
    app.show(asdict(info), [f"Added key {info.name} ({info.key_id})"])


@key.command("rotate")
@click.option("--add", multiple=True, metavar="NAME", help="List this key; repeat it.")
@click.option(
    "--remove", multiple=True, metavar="NAME", help="Take this key off the list; it may come back."
)
@click.option("--revoke", multiple=True, metavar="NAME", help="Never trust this key again.")
@click.option("--threshold", type=NUMBER, help="How many keys must sign a bundle.")
@key_option
@yes
@dry_run
@as_json
@pass_app
def key_rotate(app: App, /, key_files: tuple[Path, ...], **options: Any) -> None:
    """Make the next key list, signed by keys of the list before and by its own.

    \b
    Examples:
      uvr-registry key rotate --add alice --key alice.pem
      uvr-registry key rotate --add bob --revoke alice --key alice.pem --key bob.pem --yes
    """
    if not key_files:
        raise click.UsageError("Give --key FILE: keys of the list sign it.")
    if options["revoke"]:
        app.confirm(f"Revoke {', '.join(options['revoke'])} for good?")
    signers = read_private_keys(key_files)
    made = app.open().keys.rotate(actor=app.actor, signers=signers, **options)
    lines = [
        f"Key list {made.version}: {made.threshold} of {plural(len(made.keys), 'key')} must sign"
    ]
    app.show(made.to_dict(), lines)


@key.command("list")
@as_json
@pass_app
def key_list(app: App) -> None:
    """List the keys, and whether they may sign.

    \b
    Example:
      uvr-registry key list
    """
    rows = [asdict(info) for info in app.open().keys.list()]
    columns = ("name", "state", "created_at", "created_by", "key_id")
    app.show(rows, [Table(columns, rows, "No keys yet: `uvr-registry key generate`.")])


@key.command("export")
@click.option("--out", type=OUT_FILE, required=True)
@as_json
@pass_app
def key_export(app: App, out: Path) -> None:
    """Write the key list that engines should trust, for `--keys` and `BundleSource`.

    \b
    Example:
      uvr-registry key export --out keys.json
    """
    keys = app.open().keys.current()
    if keys is None:
        raise NotFoundError("There is no key list yet. Make one with `uvr-registry key rotate`.")
    write_file(out, keys.to_bytes())
    app.show(
        {"file": str(out), "digest": keys.digest, **keys.to_dict()},
        [f"Wrote {out} (key list {keys.version}, digest {keys.digest})"],
    )


def _new_passphrase() -> str | None:
    given = os.environ.get("UVR_KEY_PASSPHRASE")
    if given or not sys.stdin.isatty():
        return given or None
    text = "Passphrase for the private key, empty for none"
    asked: str = click.prompt(
        text, hide_input=True, confirmation_prompt=True, default="", show_default=False, err=True
    )
    return asked or None


def _write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, and that was not there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
