"""The command that serves the console."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from commands.app import App, pass_app
from commands.parameters import PATH
from concepts.errors import UVRError

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
    decisions: Path | None,
) -> None:
    """Serve the registry to browsers: what is live, reviews, releases, the audit trail.

    A registry without actors acts as you, and only this machine reaches the console. A team's
    needs a proxy that logs people in and names each in a header, which must be an actor's name.

    \b
    Examples:
      uvr-registry console
      uvr-registry console --proxy 127.0.0.1 --user-header X-User --host-name policy.example.org
    """
    try:
        from console.server import serve
        from console.settings import Settings
    except ModuleNotFoundError as error:
        raise UVRError(
            f"The console needs {error.name}, of the extra 'console': "
            "`pip install 'uvr-registry[console]'`."
        ) from error
    settings = Settings(
        actor=app.actor, address=address, port=port, proxies=proxies, user_header=user_header,
        host_names=host_names, decisions=decisions,
    )  # fmt: skip
    serve(app.open(), settings, lambda url: click.echo(f"The console is at {url}", err=True))
