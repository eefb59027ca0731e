"""The releases of a registry: made, rolled back, signed, read, and what they leave uncovered."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from registry.answers import ReleaseInfo
from registry.change.workspace import Workspace
from registry.releases.assemble import read_bundle_of
from registry.releases.gaps import Gap, gaps
from registry.releases.reading import find_release, list_releases, release_info
from registry.releases.release import add_release, roll_back
from registry.releases.signatures import add_signatures

if TYPE_CHECKING:  # Reading releases needs neither.
    from concepts.bundle import Bundle
    from concepts.signing.ed25519 import PrivateKey


class Releases:
    """The releases of a registry's bundles."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def add(
        self,
        bundle_name: str,
        members: Sequence[str] | None = None,
        *,
        actor: str,
        modes: Mapping[str, str] | None = None,
        thresholds: Mapping[str, Any] | None = None,
        disabled: Mapping[str, str | None] | None = None,
        allow_shrink: bool = False,
        expires: str | None = None,
        note: str = "",
        keys: Sequence[PrivateKey] = (),
        expect_digest: str | None = None,
    ) -> ReleaseInfo:
        """Release versions of concepts as the next release of a bundle.

        Args:
            bundle_name: The bundle; a new name begins a new one.
            members: Concepts, "slug" for the newest version that may be released or "slug@3";
                by default every concept that has one.
            actor: Who does it.
            modes: "enforce", "log" or "shadow" by slug; else as in the release before.
            thresholds: Seed threshold by slug: a number, one for each task or space digest, or
                None for the scorer's own.
            disabled: Instant until which a concept is not enforced, by slug; None enables it.
            allow_shrink: Let the release enforce fewer concepts than the one before.
            expires: Instant, or time from now such as "30d", after which engines refuse it.
            note: Why.
            keys: Private keys of the current key list that sign at once.
            expect_digest: Bundle digest that the release before must have, "" for none.

        Raises:
            NotFoundError: If a concept or version does not exist.
            ConflictError: If the release before is not the one expected.
            PolicyError: If there is nothing to release, a member may not be released, too many
                enforced concepts would go, or anchors of one model and task come from different
                taps, noise levels or weights.
        """
        with self._workspace.work(actor, "publisher") as unit:
            rows = add_release(
                unit, self._workspace.store, bundle_name, members, modes=modes or {},
                thresholds=thresholds or {}, disabled=disabled or {}, allow_shrink=allow_shrink,
                expires=expires, note=note, keys=keys, expect_digest=expect_digest,
            )  # fmt: skip
            return release_info(unit.session, *rows)

    def roll_back(
        self,
        bundle_name: str,
        sequence: int,
        *,
        actor: str,
        reason: str,
        allow_shrink: bool = False,
        expires: str | None = None,
        keys: Sequence[PrivateKey] = (),
        expect_digest: str | None = None,
    ) -> ReleaseInfo:
        """Release the members of an earlier release again, under the next number.

        Raises:
            NotFoundError: If there is no such bundle or release.
            PolicyError: If a member was revoked meanwhile, or enforced concepts would go.
        """
        with self._workspace.work(actor, "publisher") as unit:
            rows = roll_back(
                unit, self._workspace.store, bundle_name, sequence, reason=reason,
                allow_shrink=allow_shrink, expires=expires, keys=keys,
                expect_digest=expect_digest,
            )  # fmt: skip
            return release_info(unit.session, *rows)

    def sign(
        self,
        bundle_name: str,
        sequence: int | None = None,
        *,
        actor: str,
        keys: Sequence[PrivateKey],
    ) -> ReleaseInfo:
        """Add signatures to a release, the newest by default.

        Raises:
            NotFoundError: If there is no such bundle or release.
            PolicyError: If a key is not in the current key list, or was not listed yet when the
                release was made.
            ConflictError: If a key signed the release before.
            VerificationError: If the release's stored bytes are damaged.
        """
        if not keys:
            raise ValueError("keys must hold one or more private keys")
        with self._workspace.work(actor, "publisher") as unit:
            row, release = find_release(unit.session, bundle_name, sequence)
            bundle = read_bundle_of(unit.session, self._workspace.store, row, release)
            signed = add_signatures(unit, release, bundle, keys)
            unit.record(
                "release.sign", f"{row.name}#{release.sequence}",
                bundle_digest=release.bundle_digest, signed_by=signed,
            )  # fmt: skip
            return release_info(unit.session, row, release)

    def list(self, bundle_name: str | None = None) -> builtins.list[ReleaseInfo]:
        """Return all releases, or those of one bundle, by bundle and sequence."""
        with self._workspace.read() as session:
            return list_releases(session, bundle_name)

    def gaps(self, bundle_name: str, sequence: int | None = None) -> builtins.list[Gap]:
        """Return what a release, the newest by default, leaves uncovered.

        Raises:
            NotFoundError: If there is no such bundle or release.
        """
        with self._workspace.read() as session:
            return gaps(session, find_release(session, bundle_name, sequence)[1])

    def bundle(self, bundle_name: str, sequence: int | None = None) -> Bundle:
        """Return a release's bundle, the newest by default, with its signatures.

        Raises:
            NotFoundError: If there is no such bundle or release.
            VerificationError: If stored bytes are damaged.
        """
        with self._workspace.read() as session:
            rows = find_release(session, bundle_name, sequence)
            return read_bundle_of(session, self._workspace.store, *rows)
