"""The decision log that a console was given: hits counted beside the requests, and looked up in."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from concepts.errors import InputError, UVRError
from concepts.instant import now
from uvr.decisions.hits import Hits, count_hits
from uvr.decisions.reading import LoggedDecisions

RECOUNT = 60.0
"""Seconds after which hits are counted anew, once somebody asks for them."""
NO_LOG = (
    "This console has no decision log to look it up in: start it with `uvr-registry console "
    "--decisions FILE`."
)
logger = logging.getLogger("uvr.console")


@dataclass(frozen=True)
class Counted:
    """Hits of a log.

    Attributes:
        at: When they were counted.
        pictures: How many pictures the log tells of.
        hits: By concept.
        missing: What the log says it lacks, a sentence each.
    """

    at: str
    pictures: int
    hits: Mapping[str, Hits] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


class DecisionLog:
    """A log of decisions, which may be long: counting it never holds up a page.

    Args:
        path: The log; None for none.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._counted: Counted | None = None
        self._due = 0.0
        self._lock = threading.Lock()

    def counted(self) -> Counted | None:
        """Return the hits as counted last, None before that; a count that is old is renewed."""
        with self._lock:
            due = self.path is not None and time.monotonic() >= self._due
            if due:
                self._due = time.monotonic() + RECOUNT
        if due:
            threading.Thread(target=self._count, daemon=True).start()
        return self._counted

    def read(self) -> LoggedDecisions:
        """Open the log; InputError where there is none."""
        if self.path is None:
            raise InputError(NO_LOG)
        return LoggedDecisions([self.path])

    def _count(self) -> None:
        try:
            log = self.read()
            hits = count_hits(log, by_day=False)
            pictures = max((item.of for item in hits), default=0)
            by_concept = {item.concept: item for item in hits if item.concept is not None}
            self._counted = Counted(now(), pictures, by_concept, tuple(log.missing()))
        except (UVRError, OSError) as error:
            logger.warning("the decision log was not counted: %s", error)
