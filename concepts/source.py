"""A source of bundles: polls a location, verifies what it offers, keeps the last known good.

1. ``start`` verifies the last known good on disk again, in full, then asks the location.
2. A poll reads what is on offer, verifies it before anything is parsed, refuses what is older than
   anything accepted before, and records it on disk; then one reference is swapped, so that whoever
   took ``current`` keeps theirs.
3. A poll that fails changes nothing; the next ones come later and later.
4. A bundle that has expired, or was not confirmed for ``max_age``, is stale: a warning, a degraded
   service, or an error, as the host chose.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from concepts.bundle import MAX_BYTES, Bundle, read_bundle
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
from concepts.keys import KeyList
from concepts.location import Offer, location_key, parse_location
from concepts.matchable import check_matchable
from concepts.trust import Accepted, TrustState, two_releases

STALE_POLICIES = ("warn", "degraded", "fail_closed")
JITTER = 0.2
MAX_BACKOFF = 10
CLOSE_SECONDS = 2.0

log = logging.getLogger("uvr.source")


@dataclass(frozen=True)
class SourceStatus:
    """How a source stands.

    Attributes:
        location: Where bundles come from, without a password.
        state: "ok"; "stale" or "degraded" when the bundle is stale and served all the same;
            "failed" when there is none to serve.
        bundle: Name of the bundle in use.
        sequence: Its release number.
        digest: Its digest.
        checked_at: When the location was last seen to offer it.
        loaded_at: When this process took it into use.
        expires: When it expires.
        stale: Why it is stale.
        last_error: What went wrong in the last poll.
        key_list_version: Version of the key list that is trusted now.
    """

    location: str
    state: str
    bundle: str | None
    sequence: int | None
    digest: str | None
    checked_at: str | None
    loaded_at: str | None
    expires: str | None
    stale: str | None
    last_error: str | None
    key_list_version: int | None

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


@dataclass(frozen=True)
class _Held:
    bundle: Bundle
    file_digest: str
    loaded_at: str


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
        max_bytes: Larger files are refused unread.
        timeout: Seconds without a byte after which a server is given up.
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
        max_bytes: int = MAX_BYTES,
        timeout: float = 30.0,
        clock: Callable[[], str] = now,
    ) -> None:
        if stale not in STALE_POLICIES:
            raise ValueError(f"stale is {stale!r}, allowed: {', '.join(STALE_POLICIES)}")
        if name is not None and not SLUG.fullmatch(name):
            raise InputError(
                f"{name!r} is not the name of a bundle: lower-case words joined by hyphens."
            )
        self._location = parse_location(location, max_bytes, timeout)
        self._state = TrustState(Path(state) / (name or location_key(self._location)))
        self._accepted = Accepted(name=name or "", keys=_key_list(keys))
        self._poll_seconds, self._max_age = poll_seconds, max_age
        self._stale_policy, self._require = stale, require
        self._clock = clock
        self._held: _Held | None = None
        self._known: dict[str, tuple[str, str]] = {}  # validator and digest of each offer
        self._last_error: str | None = None
        self._logged: str | None = None
        self._refreshing = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Load the last known good, ask the location, and begin to poll.

        Raises:
            VerificationError: The state is damaged, or there is no valid bundle and ``require``
                holds: the reason why the one on offer, or else the last known good, was refused.
            UVRError: There is no bundle, the location cannot be reached, and ``require`` holds.
        """
        if self._thread is not None:
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
        self._closed.clear()
        if self._poll_seconds > 0:
            self._thread = threading.Thread(target=self._poll, name="uvr-source", daemon=True)
            self._thread.start()
        return self

    def close(self) -> None:
        """Stop polling; the current bundle stays usable."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)
            self._thread = None

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
        held = self._held
        if held is None:
            why = f": {self._last_error}" if self._last_error else "; call start() first"
            raise NotFoundError(f"No bundle was loaded from '{self._location.shown}'{why}")
        stale = self._staleness(held)
        self._log_staleness(stale)
        if stale and self._stale_policy == "fail_closed":
            raise ExpiredError(
                f"Release {held.bundle.sequence} of '{held.bundle.name}' is stale: {stale}. "
                f"Publish a release at '{self._location.shown}', or see why it cannot be reached."
            )
        return held.bundle

    def refresh(self) -> bool:
        """Poll once, in the caller's thread.

        Returns:
            Whether another release is in use now.

        Raises:
            UVRError: The poll failed; the bundle in use stays.
        """
        with self._refreshing:
            try:
                return self._check()
            except UVRError as error:
                self._last_error = str(error)
                log.warning("bundle source %s: %s", self._location.shown, error)
                raise

    def status(self) -> SourceStatus:
        """Say how the source stands."""
        held, accepted = self._held, self._accepted
        bundle = held.bundle if held else None
        stale = self._staleness(held) if held else None
        return SourceStatus(
            location=self._location.shown,
            state=self._state_word(held, stale),
            bundle=bundle.name if bundle else None,
            sequence=bundle.sequence if bundle else None,
            digest=bundle.digest if bundle else None,
            checked_at=accepted.checked_at or None,
            loaded_at=held.loaded_at if held else None,
            expires=bundle.expires if bundle else None,
            stale=stale,
            last_error=self._last_error,
            key_list_version=accepted.keys.version if accepted.keys else None,
        )

    def _state_word(self, held: _Held | None, stale: str | None) -> str:
        if held is None:
            return "failed"
        words = {"warn": "stale", "degraded": "degraded", "fail_closed": "failed"}
        return words[self._stale_policy] if stale else "ok"

    def _recover(self) -> UVRError | None:
        """Take up the last known good; returns why there is none although there should be."""
        stored = self._state.load()
        if stored is not None:
            self._accepted = stored.continued_by(self._accepted)
        data = self._state.load_bundle()
        if data is None:
            return None
        try:
            # One that has expired since may be served still; the stale policy decides.
            bundle = self._verified(data, at=None)
        except VerificationError as error:
            error = VerificationError(f"The last known good '{self._state.bundle}': {error}")
            if stored is None:
                raise error from None
            log.error("bundle source %s: %s", self._location.shown, error)
            return error
        at = self._clock()
        if (bundle.sequence, bundle.digest) != (self._accepted.sequence, self._accepted.digest):
            # Killed between the two writes: the bundle had been verified, the record is behind.
            # When it was confirmed is not known; the record's instant errs to the safe side.
            self._accept(bundle, data, "", self._accepted.checked_at or at)
        self._held = _Held(bundle, sha256(data), at)
        if self._accepted.etag:
            self._known = {"": (self._accepted.etag, bundle.digest)}
        return None

    def _check(self) -> bool:
        at, before = self._clock(), self._held
        known: dict[str, tuple[str, str]] = {}
        refused: list[UVRError] = []
        older: list[UVRError] = []
        for offer in self._location.offers({name: v for name, (v, _) in self._known.items()}):
            try:
                known[offer.name] = (offer.validator, self._considered(offer, at))
            except RollbackError as error:
                # Older releases may lie beside the newest; there is no need to read them again.
                known[offer.name] = (offer.validator, "")
                older.append(error)
            except UVRError as error:
                refused.append(error)
        self._known = known
        held = self._held
        if held is None or held.bundle.digest not in {digest for _, digest in known.values()}:
            raise next(iter(refused + older), None) or self._withdrawn()
        self._accepted = replace(self._accepted, checked_at=at)
        self._state.checked(self._accepted)
        self._last_error = str(refused[0]) if refused else None
        for problem in refused:
            log.warning("bundle source %s: passed over: %s", self._location.shown, problem)
        return before is None or held.bundle.digest != before.bundle.digest

    def _considered(self, offer: Offer, at: str) -> str:
        """Take an offer into use if it is valid and not older; returns its bundle's digest."""
        if offer.read is None:
            return self._known[offer.name][1]
        data = offer.read()
        held = self._held
        file_digest = sha256(data)
        if held is not None and file_digest == held.file_digest:
            return held.bundle.digest
        bundle = self._verified(data, at)
        self._accept(bundle, data, offer.validator if not offer.name else "", at)
        self._held = _Held(bundle, file_digest, at)
        log.info(
            "bundle source %s: release %d of %s is in use (%s)",
            self._location.shown, bundle.sequence, bundle.name, bundle.digest,
        )  # fmt: skip
        return bundle.digest

    def _verified(self, data: bytes, at: str | None) -> Bundle:
        accepted = self._accepted
        bundle = read_bundle(
            data,
            accepted.keys,
            max_bytes=self._location.max_bytes,
            min_sequence=accepted.sequence,
            at=at,
            registry=accepted.registry or None,
        )
        if accepted.name not in ("", bundle.name):
            raise VerificationError(
                f"The bundle is named '{bundle.name}', '{accepted.name}' is expected: releases of "
                "different bundles are numbered apart and cannot follow each other."
            )
        if bundle.sequence == accepted.sequence and bundle.digest != accepted.digest:
            raise two_releases(bundle.sequence, accepted.digest, bundle.digest)
        check_matchable(bundle)
        return bundle

    def _accept(self, bundle: Bundle, data: bytes, etag: str, at: str) -> None:
        keys = self._accepted.keys
        newest = None if keys is None else bundle.key_list_after(keys)
        accepted = Accepted(
            bundle.name, bundle.registry, bundle.sequence, bundle.digest, newest, etag, at
        )
        self._state.accept(accepted, data)
        self._accepted = accepted

    def _withdrawn(self) -> UVRError:
        return NotFoundError(
            f"'{self._location.shown}' no longer offers release {self._accepted.sequence}."
        )

    def _staleness(self, held: _Held) -> str | None:
        at, expires = self._clock(), held.bundle.expires
        if expires is not None and at >= expires:
            return f"it expired at {expires}"
        checked = self._accepted.checked_at
        if self._max_age is None or _seconds(at) - _seconds(checked) <= self._max_age:
            return None
        return f"it was last confirmed at {checked}, more than {self._max_age:g} seconds ago"

    def _log_staleness(self, stale: str | None) -> None:
        if stale and stale != self._logged:
            log.warning("bundle source %s: the bundle is stale: %s", self._location.shown, stale)
        self._logged = stale

    def _poll(self) -> None:
        failures = 0
        while not self._closed.wait(pause(self._poll_seconds, failures)):
            try:
                self.refresh()
                failures = 0
            except UVRError:  # It is logged and in the status.
                failures += 1
            # A thread that ended would never see another release, and nobody would know.
            except Exception as error:
                failures += 1
                self._last_error = f"{type(error).__name__}: {error}"
                log.exception("bundle source %s", self._location.shown)


def pause(poll_seconds: float, failures: int) -> float:
    """Seconds to the next poll: doubled with each failure in a row, and never in step."""
    factor = min(2.0 ** min(failures, 10), MAX_BACKOFF)
    spread = random.uniform(1 - JITTER, 1 + JITTER)
    return min(factor * spread, MAX_BACKOFF) * poll_seconds


def _key_list(keys: KeyList | Path | None) -> KeyList | None:
    if keys is None or isinstance(keys, KeyList):
        return keys
    try:
        return KeyList.from_bytes(Path(keys).read_bytes())
    except FileNotFoundError as error:
        raise NotFoundError(f"No key list at '{keys}'.") from error
    except OSError as error:
        raise UVRError(f"The key list '{keys}' cannot be read: {error.strerror}.") from error


def _seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()
