"""A file of verdicts, one line of JSON for each picture."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from concepts.files import check_writable
from concepts.instant import now
from uvr.verdict import Verdict


class VerdictLog:
    """Appends verdicts to a file: ``Regulator(..., on_verdict=VerdictLog("verdicts.jsonl"))``.

    A line holds no prompt and no pixels. Each is one write to a file that is opened to append, so
    that the lines of several processes on one machine do not mix.

    Args:
        path: The file; it is made with the first verdict, and its folder now.

    Raises:
        OSError: No file can be written there.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        check_writable(self.path)
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def __call__(self, verdict: Verdict) -> None:
        """Append one verdict."""
        self.write(verdict)

    def write(self, verdict: Verdict, **about: Any) -> None:
        """Append one verdict, with what the caller wants beside it: a request's id, its prompt."""
        line = json.dumps({"time": now(), **verdict.to_dict(), **about}, allow_nan=False) + "\n"
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)
