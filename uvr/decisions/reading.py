"""Decision logs read back: every whole line, from full files too, with a count of what is missing.

Reading needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from concepts.errors import NotFoundError
from concepts.files import open_file
from uvr.decisions.decision import Decision
from uvr.decisions.log import GAP
from uvr.decisions.rolling_file import full_files


class LoggedDecisions:
    """The decisions in some logs, oldest first in each.

    Args:
        paths: Logs; the full files beside each are read first.

    Raises:
        NotFoundError: There is no such log.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files = [file for path in paths for file in _files(path)]
        self.read = 0
        """Decisions that were read."""
        self.dropped = 0
        """Decisions that the logs say they dropped, as far as they were read."""
        self.unreadable = 0
        """Lines that are no decisions, such as one that a writer was killed within."""

    def __iter__(self) -> Iterator[Decision]:
        self.read = self.dropped = self.unreadable = 0
        for path in self._files:
            with open_file(path) as file:
                for line in file:
                    if (decision := self._decision(line)) is not None:
                        self.read += 1
                        yield decision

    def missing(self) -> list[str]:
        """Say what was missing in what was read, a sentence each without a full stop."""
        told = []
        if self.dropped:
            told.append(f"decisions that the log says were dropped, not written: {self.dropped}")
        if self.unreadable:
            told.append(f"lines that could not be read as decisions: {self.unreadable}")
        return told

    def of_request(self, name: str) -> list[Decision]:
        """Return the decisions of one request."""
        return [item for item in self if item.request == name]

    def of_picture(self, pixels: str) -> list[Decision]:
        """Return the decisions on a picture, by the digest of its pixels."""
        return [item for item in self if item.pixels == pixels]

    def _decision(self, line: bytes) -> Decision | None:
        try:
            data: Any = json.loads(line)
            if data["schema"] == GAP:
                self.dropped += int(data["dropped"])
                return None
            return Decision.from_dict(data)
        except (ValueError, LookupError, TypeError, AttributeError):
            self.unreadable += bool(line.strip())
            return None


def _files(path: Path) -> list[Path]:
    found = [*full_files(path), *([path] if path.is_file() else [])]
    if not found:
        raise NotFoundError(f"No decision log at '{path}'.")
    return found
