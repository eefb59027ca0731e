"""Read a data set from the path that the user gives: find its file, take what its columns say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from concepts.errors import InputError, NotFoundError, did_you_mean
from uvr.evaluation.datasets.declaration import DataSet, Entry, TableRow
from uvr.evaluation.datasets.tables import PARQUET, read_table

MAX_SEED = 2**63 - 1
SHOWN = 8
"""So many of the names that were found are told in an error."""


def read_entries(
    data_set: DataSet, path: Path | None, *, file: str | None = None, prompt: str | None = None
) -> list[Entry]:
    """Read the prompts of a data set, in the order of its file.

    Rows without a prompt ask for nothing and are left out.

    Args:
        data_set: Its form.
        path: Its file, or the folder with it, as the user gives it; None if nothing was given.
        file: The pattern of the file in the folder, in place of the data set's own.
        prompt: The prompts' column, in place of the data set's own.

    Raises:
        NotFoundError: No path was given, or nothing of the data set is there.
        InputError: What is there is not of the published form.
    """
    if prompt is not None:
        data_set = replace(data_set, prompt=(prompt,))
    found = _find(data_set, path, file)
    try:
        rows = read_table(found, data_set.unfold)
    except OSError as error:
        raise InputError(f"'{found}' cannot be read: {error.strerror}.") from error
    entries = _entries(data_set, rows, found)
    if not entries:
        raise InputError(
            f"'{found}' has no row of the data set '{data_set.name}': {len(rows)} rows were found, "
            f"none with a prompt{_where(data_set)}."
        )
    return entries


def of_categories(entries: Sequence[Entry], wanted: Sequence[str]) -> list[Entry]:
    """Entries of any of the categories; all of them where none is wanted.

    Raises:
        InputError: No entry is of one of the categories.
    """
    if not wanted:
        return list(entries)
    known = sorted({name for entry in entries for name in entry.categories})
    for name in wanted:
        if name not in known:
            hint = did_you_mean(name, known)
            raise InputError(f"No row of the category {name!r}; there are: {_list(known)}.{hint}")
    return [entry for entry in entries if set(wanted) & set(entry.categories)]


def _find(data_set: DataSet, path: Path | None, file: str | None) -> Path:
    patterns = data_set.files if file is None else (file,)
    expected = " or ".join(patterns)
    published = f"It is published at {data_set.home}."
    if path is None:
        raise NotFoundError(
            f"The data set '{data_set.name}' is read from a path: give --data PATH, its file or "
            f"the folder with {expected}. {published}"
        )
    if path.is_file():
        if file is None or path.match(file):
            return path
        raise InputError(f"'{path}' was given, but the suite reads {file}: give its folder.")
    if not path.is_dir():
        raise NotFoundError(f"No file or folder at '{path}'. {published}")
    for pattern in patterns:
        found = sorted(path.glob(pattern))
        if len(found) > 1:
            names = _list([str(each.relative_to(path)) for each in found])
            raise InputError(f"'{path}' has several files {pattern}: {names}. Give one of them.")
        if found:
            return found[0]
    there = sorted(each.name for each in path.iterdir())
    parquet = any([*path.glob("*.parquet"), *path.glob("*/*.parquet")])
    raise NotFoundError(
        f"Nothing of the data set '{data_set.name}' in '{path}': found {_list(there)}; expected "
        f"{expected}. {published}{f' {PARQUET}' if parquet else ''}"
    )


def _entries(data_set: DataSet, rows: Sequence[TableRow], found: Path) -> list[Entry]:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    needed = [data_set.prompt, *([name] for name in (data_set.picture, *data_set.where) if name)]
    for names in needed if rows else ():
        if not set(names) & set(columns):
            raise InputError(
                f"'{found}' is not of the data set '{data_set.name}': found the columns "
                f"{_list(columns)}; expected {' or '.join(names)}."
            )
    prompts, seeds = (
        next((name for name in names if name in columns), "")
        for names in (data_set.prompt, data_set.seed)
    )
    entries = []
    for number, row in enumerate(rows, start=1):
        place = f"'{found}', row {number}"
        prompt = _text(row, prompts, place)
        if not prompt or any(row.get(name) != value for name, value in data_set.where.items()):
            continue
        picture = _text(row, data_set.picture, place)
        if data_set.picture and not picture:
            raise InputError(f"{place}: no picture under {data_set.picture!r}.")
        categories = tuple(
            name for column in data_set.category for name in _names(row, column, place)
        )
        seed = _seed(row, seeds, place)
        entries.append(Entry(prompt, seed, categories, picture, found.parent))
    return entries


def _value(row: TableRow, column: str) -> Any:
    """A value; None for a column that the set has not, since pandas writes one without a name."""
    return row.get(column) if column else None


def _text(row: TableRow, column: str, place: str) -> str:
    return _stripped(_value(row, column), column, place)


def _stripped(value: Any, column: str, place: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(f"{place}: found {str(value)[:40]!r} under {column!r}, expected text.")
    if not value.isprintable() and any(0xD800 <= ord(letter) < 0xE000 for letter in value):
        raise InputError(f"{place}: half a character under {column!r}, which no file can hold.")
    return value.strip()


def _names(row: TableRow, column: str, place: str) -> list[str]:
    value = _value(row, column)
    parts = value if isinstance(value, list) else _stripped(value, column, place).split(",")
    return [name for part in parts if (name := _stripped(part, column, place))]


def _seed(row: TableRow, column: str, place: str) -> int | None:
    """A seed; a table in which one is missing may hold the others as 7.0."""
    value = _value(row, column)
    said = "" if value is None else str(value).strip().removesuffix(".0")
    if not said:
        return None
    if not (said.isascii() and said.isdigit() and len(said) < 20 and int(said) <= MAX_SEED):
        raise InputError(
            f"{place}: found {said[:40]!r} under {column!r}, expected a whole number from 0 to "
            f"{MAX_SEED}."
        )
    return int(said)


def _where(data_set: DataSet) -> str:
    return "".join(f" and {name} = {value!r}" for name, value in data_set.where.items())


def _list(names: Iterable[str]) -> str:
    known = list(names)
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return (", ".join(known[:SHOWN]) or "nothing") + more
