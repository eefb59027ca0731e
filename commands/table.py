"""Tables: as wide as the terminal, or in full where a script reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from commands.text import cell
from concepts.printable import printable

_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
_UNBROKEN = re.compile(r"[0-9a-f.]*|[0-9-]{10}T[0-9:]{8}Z")  # numbers, digests, instants
GAP = 2  # spaces between columns
LEAST = 12  # no text is folded to less


@dataclass(frozen=True)
class Table:
    """Rows under their columns; digests are shortened, since JSON has them whole.

    Attributes:
        columns: Names of the columns, which are keys of each row.
        rows: The rows.
        empty: What to say where there are none.
    """

    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    empty: str = "None."

    def lines(self, width: int | None = None) -> list[str]:
        """Return the table's lines, at most so many columns wide; None for no limit."""
        if not self.rows:
            return [self.empty]
        head = [column.replace("_", " ") for column in self.columns]
        body = [[_short(cell(row[column])) for column in self.columns] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
        if width is None or sum(widths) + GAP * (len(widths) - 1) <= width:
            gap = " " * GAP
            return [gap.join(map(str.ljust, line, widths)).rstrip() for line in (head, *body)]
        narrow = _narrowed(head, body, widths, width)
        if narrow is None:
            return [f"{name}: {text}" for row in body for name, text in zip(head, row, strict=True)]
        return _folded(head, body, narrow)


def _short(text: str) -> str:
    return printable(_DIGEST.sub(lambda match: match[0][:12], text))


def _narrowed(
    head: list[str], body: list[list[str]], widths: list[int], width: int
) -> list[int] | None:
    """Return widths that fit, the longest texts folded most; None where no widths do.

    Digests, numbers and instants stay whole.
    """
    narrow = []
    for name, *texts in zip(head, *body, strict=True):
        whole = all(_UNBROKEN.fullmatch(text) for text in texts)
        pieces = [*name.split(), *(texts if whole else [])]
        narrow.append(max(LEAST, *map(len, pieces)))
    narrow = list(map(min, narrow, widths))
    spare = width - sum(narrow) - GAP * (len(narrow) - 1)
    if spare < 0:
        return None
    for _ in range(spare):
        lacking = [full - now for full, now in zip(widths, narrow, strict=True)]
        narrow[lacking.index(max(lacking))] += 1
    return narrow


def _folded(head: list[str], body: list[list[str]], widths: list[int]) -> list[str]:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    table = RichTable(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for name, width in zip(head, widths, strict=True):
        table.add_column(Text(name), overflow="fold", width=width)
    for row in body:
        table.add_row(*map(Text, row))
    console = Console(width=sum(widths) + GAP * len(widths), color_system=None)
    with console.capture() as capture:
        console.print(table)
    return [line.rstrip() for line in capture.get().splitlines()]
