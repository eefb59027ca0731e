"""A source of bundles: polls a location, verifies what it offers, keeps the last known good.

1. ``start`` verifies the last known good on disk again, in full, then asks the location.
2. A poll goes on from what other workers have recorded in the meantime. It reads what is on offer
   and keeps a newer key list that it brings, signed for itself, before all else.
3. It verifies the bundle before anything is parsed, refuses what is older than anything accepted
   before or does not fit this host, and records it on disk; then one reference is swapped, so that
   whoever took ``current`` keeps theirs.
4. A poll that fails leaves the bundle in use; the next ones come later and later.
5. A bundle that has expired, or was not confirmed for ``max_age``, is stale: a warning, a degraded
   service, or an error, as the host chose.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from concepts.bundle import MAX_BYTES, Bundle
from concepts.errors import (
    ExpiredError,
    InputError,
    NotFoundError,
    UVRError,
    VerificationError,
)
from concepts.fields import SLUG
from concepts.instant import now
from concepts.signing.keys import KeyList
from uvr.delivery.known_good import Held, KnownGood
from uvr.delivery.location import location_key, parse_location
from uvr.delivery.poller import Poller
from uvr.delivery.state import Accepted, TrustState
from uvr.delivery.status import BundleInUse, SourceStatus, Staleness
from uvr.delivery.trust import HostTrust, read_keys

log = logging.getLogger("uvr.source")


class BundleSource:
    """Bundles from a location, each verified; a context manager that polls in the background.

    Args:
        location: A file, a folder (the newest release among its ``*.uvr``), or a URL: ``file``,
            ``http``, ``https``, or any other scheme that fsspec reads.
        keys: Who may sign, or a file with their key list. None checks the integrity alone: only
            for a location that nobody else can write.
        state: Folder for what was accepted; must outlive the process, or an old release could be
            passed off as new.
        name: The bundle expected; by default the first one seen.
        poll_seconds: Mean time between polls; 0 polls only when ``refresh`` is called.
        max_age: Seconds after which a bundle that the location no longer confirms is stale.
        stale: What a stale bundle means: "warn" serves it and logs, "degraded" serves it and says
            so in every report, "fail_closed" refuses it.
        require: Whether ``start`` raises without a valid bundle.
        accept: Called with each verified bundle before it is taken into use; raises
            VerificationError for one that does not fit this host, and the one in use stays.
        max_bytes: Larger files are refused unread.
        timeout: Seconds that a web server has in all; see ``uvr.delivery.http``.
        clock: Says what time it is.

    Raises:
        VerificationError: ``keys`` names a file that holds no key list.
    """

    def __init__(
        self,
        location: str | Path,
        *,
        keys: KeyList | Path | None,
        state: Path,
        name: str | None = None,
        poll_seconds: float = 60.0,
        max_age: float | None = None,
        stale: str = "warn",
        require: bool = True,
        accept: Callable[[Bundle], object] | None = None,
        max_bytes: int = MAX_BYTES,
        timeout: float = 30.0,
        clock: Callable[[], str] = now,
    ) -> None:
        if name is not None and not SLUG.fullmatch(name):
            raise InputError(
                f"{name!r} is not the name of a bundle: lower-case words joined by hyphens."
            )
        self._location = parse_location(location, max_bytes, timeout)
        self._trust = HostTrust(
            TrustState(Path(state) / (name or location_key(self._location))),
            Accepted(name=name or "", keys=read_keys(keys)),
            accept,
            max_bytes,
        )
        self._staleness = Staleness(stale, max_age)
        self._require = require
        self._clock = clock
        self._good = KnownGood(self._location, self._trust, clock)
        self._last_error: str | None = None
        self._polls = self._polls_failed = 0
        self._logged: str | None = None
        self._poller = Poller(self._poll, poll_seconds)

    def start(self) -> Self:
        """Load the last known good, ask the location, and begin to poll.

        Raises:
            VerificationError: The state is damaged, or there is no valid bundle and ``require``
                holds: the reason why the one on offer, or else the last known good, was refused.
            UVRError: There is no bundle, the location cannot be reached, and ``require`` holds.
        """
        if self._poller.running:
            return self
        damage = self._good.recover()
        try:
            self.refresh()
        except UVRError as error:
            if self._good.held is None and self._require:
                verified = isinstance(error, VerificationError)
                raise error if verified or damage is None else damage from error
        if self._require:
            _ = self.current  # A stale bundle is no bundle where the host fails closed.
        self._poller.start()
        return self

    def close(self) -> None:
        """Stop polling; the current bundle stays usable."""
        self._poller.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def current(self) -> Bundle:
        """The bundle in use; keep the returned one for as long as a request takes.

        Raises:
            NotFoundError: No bundle was loaded yet.
            ExpiredError: It is stale, and this host fails closed.
        """
        return self.in_use().bundle

    def in_use(self) -> BundleInUse:
        """Return ``current`` together with how it stands; raises what ``current`` raises."""
        held = self._good.held
        if held is None:
            why = f": {self._last_error}" if self._last_error else "; call start() first"
            raise NotFoundError(f"No bundle was loaded from '{self._location.shown}'{why}")
        stale = self._stale(held)
        self._log_staleness(stale)
        if stale and self._staleness.policy == "fail_closed":
            failed = f" The last poll failed: {self._last_error}" if self._last_error else ""
            raise ExpiredError(
                f"{held.bundle.name}@{held.bundle.sequence} is stale: {stale}. "
                f"Publish a release at '{self._location.shown}', or see why none is taken.{failed}"
            )
        return BundleInUse(held.bundle, self._staleness.state(stale), stale)

    def refresh(self) -> bool:
        """Poll once, in the caller's thread.

        Returns:
            Whether another release is in use now.

        Raises:
            UVRError: The poll failed; the bundle in use stays.
        """
        with self._poller.turn:
            self._polls += 1
            try:
                changed = self._good.check()
            except UVRError as error:
                self._polls_failed += 1
                self._last_error = str(error)
                log.warning("bundle source %s: %s", self._location.shown, error)
                raise
            self._last_error = self._good.passed_over
            return changed

    def status(self) -> SourceStatus:
        """Say how the source stands."""
        held, accepted = self._good.held, self._trust.accepted
        bundle = held.bundle if held else None
        stale = self._stale(held) if held else None
        return SourceStatus(
            location=self._location.shown,
            state=self._staleness.state(stale) if held else "failed",
            bundle=bundle.name if bundle else None,
            sequence=bundle.sequence if bundle else None,
            digest=bundle.digest if bundle else None,
            created=bundle.created if bundle else None,
            checked_at=accepted.checked_at or None,
            loaded_at=held.loaded_at if held else None,
            expires=bundle.expires if bundle else None,
            stale=stale,
            last_error=self._last_error,
            key_list_version=accepted.keys.version if accepted.keys else None,
            polls=self._polls,
            polls_failed=self._polls_failed,
            warnings=self._good.warnings(bundle) if bundle else (),
        )

    def _stale(self, held: Held) -> str | None:
        return self._staleness.reason(held.bundle, self._trust.accepted.checked_at, self._clock())

    def _log_staleness(self, stale: str | None) -> None:
        if stale and stale != self._logged:
            log.warning("bundle source %s: the bundle is stale: %s", self._location.shown, stale)
        self._logged = stale

    def _poll(self) -> bool:
        try:
            self.refresh()
        except UVRError:  # It is logged and in the status.
            return False
        # A thread that ended would never see another release, and nobody would know.
        except Exception as error:
            self._polls_failed += 1
            self._last_error = f"{type(error).__name__}: {error}"
            log.exception("bundle source %s", self._location.shown)
            return False
        return True
