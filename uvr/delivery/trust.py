"""What a host trusts: the keys and the release that it goes on from, and what may follow them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from concepts.bundle import Bundle, followed_keys, read_bundle
from concepts.errors import NotFoundError, UVRError
from concepts.files import read_bytes
from concepts.signing.keys import KeyList
from uvr.delivery.matchable import check_matchable
from uvr.delivery.state import Accepted, TrustState

log = logging.getLogger("uvr.source")


@dataclass
class HostTrust:
    """Verifies bundles against what was accepted before, and records what is accepted.

    Attributes:
        state: The folder that outlives the process.
        accepted: What this process goes on from.
        accept: Raises VerificationError for a bundle that does not fit this host.
        max_bytes: A larger bundle is refused.
    """

    state: TrustState
    accepted: Accepted
    accept: Callable[[Bundle], object] | None
    max_bytes: int

    def verified(self, data: bytes, at: str | None) -> Bundle:
        """Return the bundle of some bytes, if this host may take it; ``at`` None whatever its age.

        Raises:
            VerificationError: It may not; a newer key list that it brings is trusted all the same.
        """
        self._follow(data)
        accepted = self.accepted
        bundle = read_bundle(
            data,
            accepted.keys,
            max_bytes=self.max_bytes,
            min_sequence=accepted.floor,
            at=at,
            registry=accepted.registry or None,
        )
        accepted.check_offered(bundle.name, bundle.sequence, bundle.digest)
        if self.accept is not None:
            self.accept(bundle)
        check_matchable(bundle)
        return bundle

    def _follow(self, data: bytes) -> None:
        """Trust the newer key list that a bundle brings, even if the bundle is refused then."""
        keys = self.accepted.keys
        if keys is None:
            return
        newest = followed_keys(data, keys, max_bytes=self.max_bytes)
        if newest != keys:
            followed = replace(self.accepted, keys=newest)
            self.state.trust(followed)
            self.accepted = followed
            log.info("bundle '%s': key list %d is trusted now", self.accepted.name, newest.version)

    def record(self, bundle: Bundle, data: bytes, etag: str, at: str) -> None:
        """Accept a verified bundle, on disk first; see ``TrustState.accept`` for what may fail."""
        accepted = Accepted(
            name=bundle.name,
            registry=bundle.registry,
            sequence=bundle.sequence,
            digest=bundle.digest,
            keys=self.accepted.keys,
            signers=self.signers(bundle),
            etag=etag,
            checked_at=at,
        )
        self.state.accept(accepted, data)
        self.accepted = accepted

    def signers(self, bundle: Bundle) -> tuple[str, ...]:
        """Return the ids of the trusted keys that signed a bundle."""
        keys = self.accepted.keys
        return () if keys is None else tuple(keys.signers(bundle.envelope))


def read_keys(keys: KeyList | Path | None) -> KeyList | None:
    """Return a key list, perhaps from its file; UVRError if that cannot be read."""
    if keys is None or isinstance(keys, KeyList):
        return keys
    try:
        return KeyList.from_bytes(read_bytes(Path(keys)))
    except FileNotFoundError as error:
        raise NotFoundError(f"No key list at '{keys}'.") from error
    except OSError as error:
        raise UVRError(f"The key list '{keys}' cannot be read: {error.strerror}.") from error
