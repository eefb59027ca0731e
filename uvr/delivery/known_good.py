"""The last known good: the newest bundle that was verified, from disk or from what is on offer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from concepts.bundle import Bundle
from concepts.digest import sha256
from concepts.errors import NotFoundError, RollbackError, UVRError, VerificationError
from concepts.signing.keys import KeyList
from uvr.delivery.location import Location
from uvr.delivery.offer import Offer
from uvr.delivery.status import never_expires
from uvr.delivery.trust import HostTrust

log = logging.getLogger("uvr.source")


@dataclass(frozen=True)
class Held:
    """A bundle, and how this process came by it."""

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


class KnownGood:
    """The last known good of a location: held in memory, recorded on disk.

    Args:
        location: Where newer ones are offered.
        trust: Verifies them and records what is accepted.
        clock: Says what time it is.
    """

    def __init__(self, location: Location, trust: HostTrust, clock: Callable[[], str]) -> None:
        self._location, self._trust, self._clock = location, trust, clock
        self._known: dict[str, _Seen] = {}  # by the offer's name
        self.held: Held | None = None
        self.passed_over: str | None = None
        """Why the last check took something else than an offer that it read."""

    def recover(self) -> UVRError | None:
        """Go on from the record and the last known good on disk, where they are ahead.

        Returns:
            Why there is no last known good although there should be.
        """
        stored = self._trust.state.load()
        if stored is not None:
            self._trust.accepted = stored.continued_by(self._trust.accepted)
            if self._trust.accepted.keys != stored.keys:  # A newer list was given by hand.
                self._trust.state.trust(self._trust.accepted)
        if self.held is not None and self.held.bundle.digest == self._trust.accepted.digest:
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

    def check(self) -> bool:
        """Take what the location offers now, if it is newer and valid.

        Returns:
            Whether another bundle is held now.

        Raises:
            UVRError: There is nothing to take, or it is refused; what is held stays.
        """
        before = self.held
        self.recover()
        at, keys = self._clock(), self._trust.accepted.keys
        if self.held is None or self.held.keys != keys:
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
        held = self.held
        offered = {seen.digest for seen in known.values()}
        if held is None or not {held.bundle.digest, self._trust.accepted.digest} <= offered:
            raise next(iter(refused + older), None) or self._withdrawn()
        self._trust.accepted = replace(self._trust.accepted, checked_at=at)
        self._trust.state.checked(self._trust.accepted)
        self.passed_over = str(refused[0]) if refused else None
        for problem in refused:
            log.warning("bundle source %s: passed over: %s", self._location.shown, problem)
        return before is None or held.bundle.digest != before.bundle.digest

    def _considered(self, offer: Offer, at: str) -> str:
        """Take an offer into use if it is valid and not older; returns its bundle's digest."""
        held = self.held
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
        self.held = Held(bundle, file_digest, at, self._trust.accepted.keys)
        log.info(
            "bundle source %s: release %d of %s is in use (%s)",
            self._location.shown, bundle.sequence, bundle.name, bundle.digest,
        )  # fmt: skip
        for warning in self.warnings(bundle):
            log.warning("bundle source %s: %s", self._location.shown, warning)

    def warnings(self, bundle: Bundle) -> tuple[str, ...]:
        """What leaves this host less safe with a bundle than it could be."""
        return tuple(filter(None, (never_expires(bundle), self._trust.state.folder.exposed())))

    def _withdrawn(self) -> UVRError:
        return NotFoundError(
            f"'{self._location.shown}' no longer offers release {self._trust.accepted.sequence}."
        )
