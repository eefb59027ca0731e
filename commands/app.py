"""What the commands share: the options before the command, and how they read and print."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from commands.table import Table
from concepts.printable import printable

if TYPE_CHECKING:
    from registry.registry import Registry


@dataclass
class App:
    """What the options before the command, and those that commands share, say."""

    home: Path | None = None
    named_actor: str | None = None
    json: bool = False
    dry_run: bool = False
    yes: bool = False

    @property
    def actor(self) -> str:
        """Who acts: the one named, else the system's user."""
        if self.named_actor:
            return self.named_actor
        try:
            return getpass.getuser()
        except (KeyError, OSError):  # a container without a user entry
            return f"uid-{os.getuid()}"

    def folder(self) -> Path:
        """Return the registry's folder."""
        from registry.store.db import default_home

        return self.home or default_home()

    def check_output(self, path: Path) -> None:
        """Check a place that a command is to write; ConflictError for the registry's own files."""
        from sqlalchemy import make_url

        from registry.store.db import database_url
        from registry.store.home import refuse_own_file

        home = self.folder()
        refuse_own_file(path, home, make_url(database_url(home)))

    def open(self) -> Registry:
        """Open the registry."""
        from registry.registry import Registry

        return Registry.open(self.folder(), dry_run=self.dry_run)

    def show(self, data: Any, lines: Iterable[str | Table]) -> None:
        """Print the result as JSON, or as lines and tables that fit the terminal."""
        if self.json:
            click.echo(json.dumps(data, indent=2, default=str))
        else:
            click.echo(_text(lines, sys.stdout))
        if self.dry_run:
            click.echo("Dry run: nothing was changed.", err=True)

    def warn(self, text: str) -> None:
        """Say what went well, and may still not be what was meant."""
        click.echo(f"Warning: {printable(text)}", err=True)

    def hint(self, text: str) -> None:
        """Say what usually comes next, to a person."""
        if sys.stderr.isatty() and not self.json:
            click.echo(printable(text), err=True)

    def confirm(
        self, question: str, instead: str = "--yes", about: Iterable[str | Table] = ()
    ) -> None:
        """Show what it is about and ask; without a terminal an option must answer.

        A dry run shows it too, and asks nothing.
        """
        if self.yes:
            return
        if not (self.dry_run or sys.stdin.isatty()):
            raise click.UsageError(f"{question} There is no terminal to ask on: give {instead}.")
        if text := _text(about, sys.stderr):
            click.echo(text, err=True)
        if not self.dry_run:
            click.confirm(question, abort=True, err=True)


def _text(lines: Iterable[str | Table], stream: TextIO) -> str:
    """Return lines and tables as a stream shows them: a terminal has a width."""
    width = shutil.get_terminal_size().columns if stream.isatty() else None
    texts = (item.lines(width) if isinstance(item, Table) else [printable(item)] for item in lines)
    return "\n".join(chain.from_iterable(texts))


pass_app = click.make_pass_decorator(App)
