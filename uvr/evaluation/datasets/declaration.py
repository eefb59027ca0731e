"""A data set as it is published: which file, and which of its columns say what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TableRow = Mapping[str, Any]
"""One row of a file, by column: texts from CSV, plain values from JSON."""


@dataclass(frozen=True)
class DataSet:
    """What is known of a data set's form; see ``docs/evaluation.md`` for how it was checked.

    Attributes:
        name: What suites call it.
        home: Where its authors publish it.
        files: Patterns of its file's name in the folder; the first that something matches counts.
        prompt: Columns of the prompt, or of an edit's instruction; the first that is there counts.
        task: "t2i" or "edit".
        seed: Columns of a seed; the first that is there counts.
        category: Columns of categories; all count. A text may hold several, with commas.
        picture: Column of the path of the picture to edit, from the file's own folder.
        where: Values that columns must have in the rows that are taken.
        unfold: Makes rows of a JSON document that is no list of them; ValueError if it cannot.
    """

    name: str
    home: str
    files: tuple[str, ...]
    prompt: tuple[str, ...]
    task: str = "t2i"
    seed: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    picture: str = ""
    where: Mapping[str, str] = field(default_factory=dict)
    unfold: Callable[[Any], Sequence[TableRow]] | None = None


@dataclass(frozen=True)
class Entry:
    """One prompt of a data set.

    Attributes:
        prompt: Caption, or edit instruction.
        seed: The published one; None where the set has none.
        categories: As the set calls them.
        picture: Name of the picture to edit, as the file says it: not to be trusted.
        folder: Where the file is, which pictures must not leave.
    """

    prompt: str
    seed: int | None
    categories: tuple[str, ...]
    picture: str
    folder: Path
