"""A ledger: rows of JSON in a file, one a line, that is only ever added to.

A row is there whole or not at all: what a killed writer left of a last line is cut off.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from concepts.canonical import canonical_json
from concepts.errors import VerificationError


class Ledger:
    """Rows by the text of their field ``key``.

    Args:
        path: The file; it and its folder are made if they are not there.

    Raises:
        VerificationError: A line that is no row stands before others.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._rows: dict[str, dict[str, Any]] = {}
        if path.exists():
            self._read()

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self._rows[key]

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows and keep them as a later run reads them; their keys are new."""
        lines = [canonical_json(dict(row)) for row in rows]
        with self._path.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in lines))
        self._rows |= {row["key"]: row for row in map(json.loads, lines)}

    def _read(self) -> None:
        data = self._path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with self._path.open("r+b") as file:
                file.truncate(whole)
        for number, line in enumerate(data[:whole].splitlines(), 1):
            try:
                row = json.loads(line)
                self._rows[row["key"]] = row
            except (ValueError, LookupError, TypeError) as error:
                raise VerificationError(
                    f"{self._path}:{number}: not a row of a ledger. Remove the file, and what it "
                    "kept is made anew."
                ) from error
