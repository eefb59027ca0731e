"""Files of rows, CSV, JSON and JSON Lines, read whole with a cap in bytes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from concepts.errors import InputError
from concepts.files import open_file
from uvr.evaluation.datasets.declaration import TableRow

MAX_BYTES = 128 << 20
"""COCO's captions of 2014 have 67 MB, the largest file that is known here."""

Unfold = Callable[[Any], Sequence[TableRow]]

PARQUET = (
    "Parquet is not read here, so that nobody needs pyarrow: write it as CSV or JSON Lines, as "
    "docs/evaluation.md says under 'Published data sets'."
)


def read_table(path: Path, unfold: Unfold | None = None) -> list[TableRow]:
    """Read the rows of a file.

    Args:
        path: A ``.csv``, ``.json`` or ``.jsonl`` file.
        unfold: Makes rows of a JSON document that is no list of them.

    Raises:
        InputError: The file is of another kind, too large, no UTF-8, or not of its kind's form.
        OSError: It cannot be opened.
    """
    kind = path.suffix.lower()
    if kind not in (".csv", ".json", ".jsonl"):
        hint = f" {PARQUET}" if kind in (".parquet", ".arrow") else ""
        raise InputError(f"'{path}' is no .csv, .json or .jsonl file.{hint}")
    text = _text(path)
    try:
        if kind == ".csv":
            return _csv_rows(text)
        if kind == ".jsonl":
            return _checked(_lines(text))
        document = json.loads(text)
        return _checked(document if unfold is None else unfold(document))
    except (csv.Error, ValueError, RecursionError) as error:
        raise InputError(f"'{path}' cannot be read as {kind[1:].upper()}: {error}.") from error


def _text(path: Path) -> str:
    with open_file(path) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError(
            f"'{path}' is larger than {MAX_BYTES >> 20} MiB, which no data set is that is known "
            "here: give a part of it."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"'{path}' is not UTF-8 text (byte {error.start}).") from error


def _csv_rows(text: str) -> list[TableRow]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows: list[TableRow] = []
    for row in reader:
        if None in row:
            raise ValueError(f"line {reader.line_num} has more values than the header has columns")
        rows.append(row)
    return rows


def _lines(text: str) -> list[Any]:
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                found.append(json.loads(line))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
    return found


def _checked(rows: Any) -> list[TableRow]:
    if not isinstance(rows, list):
        raise ValueError("a list of objects is expected")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(f"row {number} is no object of columns and values")
    return rows
