"""Decision logs read back: every whole line, from full files too, with a count of what is missing.

Reading needs no torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from io import BufferedReader
from itertools import islice
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
        for path in paths:
            if not (path.is_file() or full_files(path)):
                raise NotFoundError(f"No decision log at '{path}'.")
        self._paths = tuple(paths)
        self.read = 0
        """Decisions that were read."""
        self.dropped = 0
        """Decisions that the logs say they dropped, as far as they were read."""
        self.unreadable = 0
        """Lines that are no decisions, such as one that a writer was killed within."""
        self.removed = 0
        """Full files that a writer removed, as the oldest, before they could be read."""

    def __iter__(self) -> Iterator[Decision]:
        self.read = self.dropped = self.unreadable = self.removed = 0
        for path in self._paths:
            with ExitStack() as stack:
                for file in self._opened(path, stack):
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
        if self.removed:
            told.append(f"full files that were removed before they could be read: {self.removed}")
        return told

    def of_request(self, name: str) -> list[Decision]:
        """Return the decisions of one request."""
        return [item for item in self if item.request == name]

    def of_picture(self, pixels: str, most: int) -> list[Decision]:
        """Return the first decisions on a picture, by the digest of its pixels.

        Those on grey pictures, which take the place of blocked ones, may be very many.
        """
        return list(islice((item for item in self if item.pixels == pixels), most))

    def _opened(self, path: Path, stack: ExitStack) -> list[BufferedReader]:
        """Open all files of a log, oldest first, before the first is read.

        Writers go on meanwhile. The newest is opened first: one that is put aside then is met
        twice and read once, and none is passed over.
        """
        found: dict[tuple[int, int], BufferedReader] = {}
        with suppress(FileNotFoundError):  # It was put aside, and no new one begun.
            _open(path, stack, found)
        for full in reversed(full_files(path)):
            try:
                _open(full, stack, found)
            except FileNotFoundError:
                self.removed += 1
        return list(found.values())[::-1]

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


def _open(path: Path, stack: ExitStack, found: dict[tuple[int, int], BufferedReader]) -> None:
    """Open a file until the stack ends, and add it to those found by where it is on the disk."""
    file = stack.enter_context(open_file(path))
    about = os.fstat(file.fileno())
    place = (about.st_dev, about.st_ino)
    found.pop(place, None)  # Met again, it is older than whatever was found meanwhile.
    found[place] = file
