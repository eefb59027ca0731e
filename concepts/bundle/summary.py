"""What a bundle holds, in plain JSON, without its vectors."""

from __future__ import annotations

from typing import Any

from concepts.bundle.manifest import Bundle, key_list_version
from concepts.bundle.member import Member


def bundle_summary(bundle: Bundle) -> dict[str, Any]:
    """Name, digests, times, keys, and each variant's space and members with their scoring."""
    plain = ("name", "sequence", "digest", "lock_digest", "registry", "previous", "created")
    return {
        **{name: getattr(bundle, name) for name in (*plain, "expires")},
        "revocations": list(bundle.revocations),
        "signatures": [signature.key_id for signature in bundle.signatures],
        "key_lists": [key_list_version(envelope) for envelope in bundle.key_lists],
        "variants": [
            {
                "space": variant.space.to_dict(),
                "members": [_member(member) for member in variant.members],
            }
            for variant in bundle.variants
        ],
    }


def _member(member: Member) -> dict[str, Any]:
    names = ("slug", "name", "category", "version", "mode", "disabled_until", "content_digest")
    effective = ("seed_threshold", "grow_threshold")  # In place of the scorer's own.
    return {
        **{name: getattr(member, name) for name in names},
        **member.scorer.to_dict(),
        **{name: getattr(member, name) for name in effective},
        "threshold": member.threshold,
        "own_threshold": member.scorer.seed_threshold,
        "prototypes": member.scorer.weights.shape[0],
        "dtype": member.scorer.weights.dtype.name,
    }
