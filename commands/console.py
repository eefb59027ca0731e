"""The command that serves the console."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from commands.app import App, pass_app
from commands.parameters import PATH
from concepts.errors import InputError, UVRError

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=8642, show_default=True)
@click.option("--address", default="127.0.0.1", show_default=True, help="IP address to listen on.")
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    metavar="ADDRESS",
    help="IP address of a proxy that logs people in; repeat it.",
)
@click.option("--user-header", default="", metavar="NAME", help="Where the proxy names the user.")
@click.option(
    "--host-name",
    "host_names",
    multiple=True,
    metavar="NAME",
    help="Name by which browsers reach it through the proxy; repeat it.",
)
@click.option("--oidc-issuer", default="", metavar="ADDRESS", help="Provider that logs people in.")
@click.option("--oidc-client", default="", metavar="NAME", help="What it calls this console.")
@click.option(
    "--oidc-secret",
    "secret_file",
    type=PATH,
    help="File of the secret that it gave; or set UVR_OIDC_SECRET to the secret itself.",
)
@click.option(
    "--oidc-claim",
    default="email",
    show_default=True,
    metavar="NAME",
    help="What it says of people that is an actor's name.",
)
@click.option(
    "--decisions", type=PATH, help="An engine's log of verdicts, to show hits and to look up."
)
@pass_app
def console(
    app: App,
    port: int,
    address: str,
    proxies: tuple[str, ...],
    user_header: str,
    host_names: tuple[str, ...],
    oidc_issuer: str,
    oidc_client: str,
    secret_file: Path | None,
    oidc_claim: str,
    decisions: Path | None,
) -> None:
    """Serve the registry to browsers: what is live, reviews, releases, the audit trail.

    A registry without actors acts as you, and only this machine reaches the console. A team's
    needs a proxy that logs people in and names each in a header, or a provider of OpenID Connect
    that does; either must give an actor's name.

    \b
    Examples:
      uvr-registry console
      uvr-registry console --proxy 127.0.0.1 --user-header X-User --host-name policy.example.org
      uvr-registry console --oidc-issuer https://id.example.org --oidc-client uvr-console \\
        --oidc-secret secret.txt --proxy 127.0.0.1 --host-name policy.example.org
    """
    try:
        from console.server import serve
        from console.settings import OpenID, Settings
    except ModuleNotFoundError as error:
        raise UVRError(
            f"The console needs {error.name}, of the extra 'console': "
            "`pip install 'uvr-registry[console]'`."
        ) from error
    openid = None
    if oidc_issuer or oidc_client or secret_file:
        openid = OpenID(oidc_issuer, oidc_client, _secret(secret_file), oidc_claim)
    settings = Settings(
        actor=app.actor, address=address, port=port, proxies=proxies, user_header=user_header,
        host_names=host_names, openid=openid, decisions=decisions,
    )  # fmt: skip
    serve(app.open(), settings, lambda url: click.echo(f"The console is at {url}", err=True))


def _secret(file: Path | None) -> str:
    """The secret that a provider gave; "" for none."""
    if file is None:
        return os.environ.get("UVR_OIDC_SECRET", "")
    from concepts.files import read_bytes

    try:
        secret = read_bytes(file).decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise InputError(f"'{file}' holds no secret: a line of ASCII was expected.") from error
    if not secret:
        raise InputError(f"'{file}' is empty: the provider's secret was expected.")
    return secret
