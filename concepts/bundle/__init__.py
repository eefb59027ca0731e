"""The bundle file: its members, its manifest, and the strict reader."""

from concepts.bundle.manifest import FORMAT, Bundle
from concepts.bundle.member import (
    BundleVariant,
    LockedMember,
    Member,
    lock_digest,
    locked_members,
)
from concepts.bundle.reader import MAX_BYTES, followed_keys, read_bundle, write_bundle

__all__ = [
    "FORMAT", "MAX_BYTES", "Bundle", "BundleVariant", "LockedMember", "Member",
    "followed_keys", "lock_digest", "locked_members", "read_bundle", "write_bundle",
]  # fmt: skip
