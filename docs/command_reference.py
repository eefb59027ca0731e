"""Writes ``commands.md``, the page of all commands, from the command line itself.

``make docs`` runs it; a test compares the page that is checked in.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from cli import cli

DOCS = Path(__file__).parent
PAGE = DOCS / "commands.md"
NAME = "uvr-registry"


class Sections(click.HelpFormatter):
    """Keeps the names of the commands in each section of a group's help, and prints nothing."""

    def __init__(self) -> None:
        super().__init__(width=10_000)
        self.names: dict[str, list[str]] = {}

    def write_heading(self, heading: str) -> None:
        """Begin a section."""
        self.names[heading] = []

    def write_dl(
        self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """Take the first column of a section's rows."""
        list(self.names.values())[-1].extend(name for name, _ in rows)


def page() -> str:
    """Return the whole page as Markdown."""
    root = click.Context(cli, info_name=NAME)
    head = (DOCS / "commands_head.md").read_text(encoding="utf-8").rstrip()
    return "\n\n".join([head, *_group(root), *_sections(root)]) + "\n"


def commands(context: click.Context) -> Iterator[click.Context]:
    """All commands below a context that do something themselves, each with its own context."""
    group = context.command
    if not isinstance(group, click.Group):
        yield context
        return
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None:
            yield from commands(click.Context(command, parent=context, info_name=name))


def path(context: click.Context) -> str:
    """A command's name as it is typed after the program's: ``channel move``."""
    return context.command_path.removeprefix(NAME).strip()


def _group(root: click.Context) -> list[str]:
    return ["## Options before the command", _bullets(root)]


def _sections(root: click.Context) -> Iterator[str]:
    recorder = Sections()
    assert isinstance(root.command, click.Group)
    root.command.format_commands(root, recorder)
    known = list(commands(root))
    for title, names in recorder.names.items():
        chosen = [item for name in names for item in known if path(item).split()[0] == name]
        yield f"## {title}"
        yield "\n".join(
            ["| command | does |", "|---|---|"]
            + [f"| [`{path(item)}`](#{_anchor(item)}) | {_first(item)} |" for item in chosen]
        )
        for item in chosen:
            yield from _command(item)


def _command(context: click.Context) -> Iterator[str]:
    yield f"### {path(context)}"
    usage = " ".join(context.command.collect_usage_pieces(context))
    yield f"```text\n{context.command_path} {usage}\n```"
    yield from _paragraphs(context.command.help or "")
    yield _bullets(context)


def _paragraphs(text: str) -> Iterator[str]:
    for part in inspect.cleandoc(text).split("\n\n"):
        mark, _, rest = part.partition("\b\n")  # click's sign not to wrap what follows
        if mark or not rest:
            yield _escaped(part)
            continue
        title, *lines = rest.splitlines()
        yield title
        yield "```sh\n" + "\n".join(line.removeprefix("  ") for line in lines) + "\n```"


def _bullets(context: click.Context) -> str:
    bullets = []
    for param in context.command.params:
        record = param.get_help_record(context)
        if record is not None and (isinstance(param, click.Option) or record[1]):
            bullets.append(f"- `{record[0]}`" + f": {_escaped(record[1])}" * bool(record[1]))
    return "\n".join(bullets)


def _first(context: click.Context) -> str:
    return _escaped(context.command.get_short_help_str(limit=1000))


def _anchor(context: click.Context) -> str:
    return path(context).replace(" ", "-")


def _escaped(text: str) -> str:
    """Text that Markdown would take for markup, outside of code, as it is."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(
        part if part.startswith("`") else re.sub(r"([\[\]<>*_|])", r"\\\1", part) for part in parts
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
