"""The releases of a registry: made, rolled back, signed, read, and what they leave uncovered."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from registry.answers import Difference, NewRelease, ReleaseInfo, ReleaseSummary
from registry.change.workspace import Workspace
from registry.releases.assemble import read_bundle_of, released_members, trial_bundle
from registry.releases.changes import Changes
from registry.releases.diff import differences, release_before
from registry.releases.gaps import coverage, gaps
from registry.releases.lineup import Wanted
from registry.releases.reading import find_release, list_releases, release_info, summaries
from registry.releases.release import add_release, roll_back
from registry.releases.shrink import Asked
from registry.releases.signatures import add_signatures
from registry.store.models import BundleRow, Release
from registry.versions.reading import find_concept, find_version

if TYPE_CHECKING:  # Reading releases needs neither.
    from concepts.bundle import Bundle
    from concepts.signing.ed25519 import PrivateKey


INCLUDED = ("last", "approved", "all")


class Releases:
    """The releases of a registry's bundles."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def add(
        self,
        bundle_name: str,
        members: Sequence[str] = (),
        *,
        actor: str,
        include: str = "last",
        drop: Collection[str] = (),
        modes: Mapping[str, str] | None = None,
        thresholds: Mapping[str, Any] | None = None,
        disabled: Mapping[str, str | None] | None = None,
        allow_shrink: bool = False,
        enforce_nothing: bool = False,
        expires: str | None = None,
        note: str = "",
        keys: Sequence[PrivateKey] = (),
        expect_digest: str | None = None,
        expect_lock: str | None = None,
    ) -> NewRelease:
        """Release versions of concepts as the next release of a bundle.

        Args:
            bundle_name: The bundle; a new name begins a new one.
            members: Concepts to take in beside those of the release before, "slug" for the
                newest version that may be released or "slug@3".
            actor: Who does it.
            include: What is taken without being named: "last", the members of the release before
                (a first release takes "all" unless members are named); "approved", the newest
                approved version of every concept; "all", drafts too where the policy asks for no
                approvals.
            drop: Members to leave out, by slug.
            modes: "enforce", "log" or "shadow" by slug; else as in the release before.
            thresholds: Seed threshold by slug: a number, one for each task or space digest, or
                None for the scorer's own.
            disabled: Instant until which a concept is not enforced, by slug; None enables it.
            allow_shrink: Let members be enforced less: by mode, threshold, or a version with
                anchors for fewer tasks.
            enforce_nothing: Let the release enforce no concept at all.
            expires: Instant, or time from now such as "30d", after which engines refuse it.
            note: Why; a threshold above its version's own needs it.
            keys: Private keys of the current key list that sign at once.
            expect_digest: Bundle digest that the release before must have, "" for none.
            expect_lock: Lock digest that the release must have, as a dry run told it.

        Raises:
            NotFoundError: If a concept or version does not exist.
            ConflictError: If the release before, or what would be released, is not the one
                expected.
            PolicyError: If there is nothing to release, a member may not be released, more would
                be enforced less than was asked for, a threshold lies above what any anchor
                scores, or anchors of one model and task come from different taps, noise levels
                or weights.
        """
        if include not in INCLUDED:
            raise ValueError(f"include is {include!r}, allowed: {', '.join(INCLUDED)}")
        paused = frozenset(slug for slug, until in (disabled or {}).items() if until is not None)
        asked = Asked(frozenset(drop), paused, allow_shrink, enforce_nothing, note)
        with self._workspace.work(actor, "publisher") as unit:
            rows = add_release(
                unit, self._workspace.store, bundle_name,
                Wanted(tuple(members), include, frozenset(drop)),
                Changes(modes or {}, thresholds or {}, disabled or {}), asked, expires=expires,
                keys=keys, expect_digest=expect_digest, expect_lock=expect_lock,
            )  # fmt: skip
            return _told(unit.session, *rows)

    def roll_back(
        self,
        bundle_name: str,
        sequence: int,
        *,
        actor: str,
        reason: str,
        drop: Collection[str] = (),
        allow_shrink: bool = False,
        enforce_nothing: bool = False,
        expires: str | None = None,
        keys: Sequence[PrivateKey] = (),
        expect_digest: str | None = None,
    ) -> NewRelease:
        """Release the members of an earlier release again, under the next number.

        ``drop`` names the concepts that may go since the earlier release lacks them; the other
        arguments are those of ``add``.

        Raises:
            NotFoundError: If there is no such bundle or release.
            ConflictError: If it is the newest, or holds a concept that is to go.
            PolicyError: If a member was revoked meanwhile, or more would be enforced less than was
                asked for.
        """
        asked = Asked(frozenset(drop), frozenset(), allow_shrink, enforce_nothing, reason)
        with self._workspace.work(actor, "publisher") as unit:
            rows = roll_back(
                unit, self._workspace.store, bundle_name, sequence, asked, expires=expires,
                keys=keys, expect_digest=expect_digest,
            )  # fmt: skip
            return _told(unit.session, *rows)

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

    def summaries(self) -> builtins.list[ReleaseSummary]:
        """Return all releases in short, by bundle and sequence."""
        with self._workspace.read() as session:
            return summaries(session)

    def get(self, bundle_name: str, sequence: int | None = None) -> NewRelease:
        """Return a release, the newest by default, as it was told when it was made.

        What it leaves uncovered is told as of now.

        Raises:
            NotFoundError: If there is no such bundle or release.
        """
        with self._workspace.read() as session:
            return _told(session, *find_release(session, bundle_name, sequence))

    def diff(self, bundle_name: str, before: int, after: int) -> tuple[Difference, ...]:
        """Return what differs between two releases of a bundle, by slug.

        Raises:
            NotFoundError: If there is no such bundle or release.
        """
        with self._workspace.read() as session:
            row, old = find_release(session, bundle_name, before)
            _, new = find_release(session, bundle_name, after)
            return differences(session, row, old, new)

    def bundle(self, bundle_name: str, sequence: int | None = None) -> Bundle:
        """Return a release's bundle, the newest by default, with its signatures.

        Raises:
            NotFoundError: If there is no such bundle or release.
            VerificationError: If stored bytes are damaged.
        """
        with self._workspace.read() as session:
            rows = find_release(session, bundle_name, sequence)
            return read_bundle_of(session, self._workspace.store, *rows)

    def trial(self, slug: str, number: int | None = None) -> Bundle:
        """Return an unsigned bundle of one version, the newest by default, to measure it.

        Its state does not matter: a draft is measured before anyone approves it.

        Raises:
            NotFoundError: If there is no such version.
            VerificationError: If stored bytes are damaged.
        """
        with self._workspace.read() as session:
            concept = find_concept(session, slug)
            version = find_version(session, concept, number)
            return trial_bundle(session, self._workspace.store, concept, version)


def _told(session: Session, row: BundleRow, release: Release) -> NewRelease:
    """Return a release with what it changes and what it leaves uncovered."""
    members = released_members(session, release)
    info = release_info(session, row, release, members)
    changes = differences(session, row, release_before(session, release), release, members)
    left_out = tuple(gaps(session, release, members))
    return NewRelease(
        **vars(info), changes=changes, left_out=left_out, coverage=coverage(session, members)
    )
