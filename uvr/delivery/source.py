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
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from concepts.bundle import MAX_BYTES, Bundle
from concepts.digest import sha256
from concepts.errors import (
    ExpiredError,
    InputError,
    NotFoundError,
    RollbackError,
    UVRError,
    VerificationError,
)
from concepts.fields import SLUG
from concepts.instant import now
from concepts.signing.keys import KeyList
from uvr.delivery.location import location_key, parse_location
from uvr.delivery.offer import Offer
from uvr.delivery.poller import Poller
from uvr.delivery.state import Accepted, TrustState
from uvr.delivery.status import BundleInUse, SourceStatus, Staleness, never_expires
from uvr.delivery.trust import HostTrust, read_keys

log = logging.getLogger("uvr.source")


@dataclass(frozen=True)
class _Held:
    bundle: Bundle
    file_digest: str
    loaded_at: str
    keys: KeyList | None  # That were trusted when it was verified.


@dataclass(frozen=True)
class _Seen:
    """What the bytes behind a validator are: a bundle's digest, or why they are too old."""

    validator: str
    digest: str = ""
    too_old: str = ""


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
        self._held: _Held | None = None
        self._known: dict[str, _Seen] = {}  # by the offer's name
        self._last_error: str | None = None
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
        damage = self._recover()
        try:
            self.refresh()
        except UVRError as error:
            if self._held is None and self._require:
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
        held = self._held
        if held is None:
            why = f": {self._last_error}" if self._last_error else "; call start() first"
            raise NotFoundError(f"No bundle was loaded from '{self._location.shown}'{why}")
        stale = self._stale(held)
        self._log_staleness(stale)
        if stale and self._staleness.policy == "fail_closed":
            failed = f" The last poll failed: {self._last_error}" if self._last_error else ""
            raise ExpiredError(
                f"Release {held.bundle.sequence} of '{held.bundle.name}' is stale: {stale}. "
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
            try:
                return self._check()
            except UVRError as error:
                self._last_error = str(error)
                log.warning("bundle source %s: %s", self._location.shown, error)
                raise

    def status(self) -> SourceStatus:
        """Say how the source stands."""
        held, accepted = self._held, self._trust.accepted
        bundle = held.bundle if held else None
        stale = self._stale(held) if held else None
        return SourceStatus(
            location=self._location.shown,
            state=self._staleness.state(stale) if held else "failed",
            bundle=bundle.name if bundle else None,
            sequence=bundle.sequence if bundle else None,
            digest=bundle.digest if bundle else None,
            checked_at=accepted.checked_at or None,
            loaded_at=held.loaded_at if held else None,
            expires=bundle.expires if bundle else None,
            stale=stale,
            last_error=self._last_error,
            key_list_version=accepted.keys.version if accepted.keys else None,
            warnings=self._warnings(bundle) if bundle else (),
        )

    def _recover(self) -> UVRError | None:
        """Go on from the record and the last known good on disk, where they are ahead.

        Returns:
            Why there is no last known good although there should be.
        """
        stored = self._trust.state.load()
        if stored is not None:
            self._trust.accepted = stored.continued_by(self._trust.accepted)
            if self._trust.accepted.keys != stored.keys:  # A newer list was given by hand.
                self._trust.state.trust(self._trust.accepted)
        if self._held is not None and self._held.bundle.digest == self._trust.accepted.digest:
            return None
        data = self._trust.state.load_bundle()
        if data is None:
            return None
        try:
            # One that has expired since may be served still; the stale policy decides.
            bundle = self._trust.verified(data, at=None)
        except VerificationError as error:
            error = type(error)(f"The last known good '{self._trust.state.bundle}': {error}")
            if not self._trust.accepted.sequence:
                raise error from None
            log.error("bundle source %s: %s", self._location.shown, error)
            return error
        at, accepted = self._clock(), self._trust.accepted
        if (bundle.digest, self._trust.signers(bundle)) != (accepted.digest, accepted.signers):
            # Killed between the two writes: the bundle had been verified, the record is behind.
            # When it was confirmed is not known; the record's instant errs to the safe side.
            self._trust.record(bundle, data, "", accepted.checked_at or at)
        self._use(bundle, sha256(data), at)
        if self._trust.accepted.etag:
            self._known = {"": _Seen(self._trust.accepted.etag, bundle.digest)}
        return None

    def _check(self) -> bool:
        before = self._held
        self._recover()
        at, keys = self._clock(), self._trust.accepted.keys
        if self._held is None or self._held.keys != keys:
            self._known = {}  # By other keys everything is to be verified again.
        known: dict[str, _Seen] = {}
        refused: list[UVRError] = []
        older: list[UVRError] = []
        for offer in self._location.offers({name: s.validator for name, s in self._known.items()}):
            try:
                known[offer.name] = _Seen(offer.validator, self._considered(offer, at))
            except RollbackError as error:
                # Older releases may lie beside the newest; there is no need to read them again.
                known[offer.name] = _Seen(offer.validator, too_old=str(error))
                older.append(error)
            except UVRError as error:
                refused.append(error)
        # What was too old may be new by a key list that came in this poll.
        self._known = known if self._trust.accepted.keys == keys else {}
        held = self._held
        offered = {seen.digest for seen in known.values()}
        if held is None or not {held.bundle.digest, self._trust.accepted.digest} <= offered:
            raise next(iter(refused + older), None) or self._withdrawn()
        self._trust.accepted = replace(self._trust.accepted, checked_at=at)
        self._trust.state.checked(self._trust.accepted)
        self._last_error = str(refused[0]) if refused else None
        for problem in refused:
            log.warning("bundle source %s: passed over: %s", self._location.shown, problem)
        return before is None or held.bundle.digest != before.bundle.digest

    def _considered(self, offer: Offer, at: str) -> str:
        """Take an offer into use if it is valid and not older; returns its bundle's digest."""
        held = self._held
        if offer.read is None:
            seen = self._known[offer.name]
            if seen.too_old:
                raise RollbackError(seen.too_old)
            # By a key list that came in this poll, it is to be verified again: in the next one.
            return (
                seen.digest if held is not None and held.keys == self._trust.accepted.keys else ""
            )
        data = offer.read()
        found = (sha256(data), self._trust.accepted.digest, self._trust.accepted.keys)
        if held is not None and found == (held.file_digest, held.bundle.digest, held.keys):
            return held.bundle.digest
        bundle = self._trust.verified(data, at)
        self._trust.record(bundle, data, offer.validator if not offer.name else "", at)
        self._use(bundle, found[0], at)
        return bundle.digest

    def _use(self, bundle: Bundle, file_digest: str, at: str) -> None:
        self._held = _Held(bundle, file_digest, at, self._trust.accepted.keys)
        log.info(
            "bundle source %s: release %d of %s is in use (%s)",
            self._location.shown, bundle.sequence, bundle.name, bundle.digest,
        )  # fmt: skip
        for warning in self._warnings(bundle):
            log.warning("bundle source %s: %s", self._location.shown, warning)

    def _warnings(self, bundle: Bundle) -> tuple[str, ...]:
        return tuple(filter(None, (never_expires(bundle), self._trust.state.folder.exposed())))

    def _withdrawn(self) -> UVRError:
        return NotFoundError(
            f"'{self._location.shown}' no longer offers release {self._trust.accepted.sequence}."
        )

    def _stale(self, held: _Held) -> str | None:
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
            self._last_error = f"{type(error).__name__}: {error}"
            log.exception("bundle source %s", self._location.shown)
            return False
        return True
