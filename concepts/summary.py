"""What a bundle holds, in plain JSON, without its vectors."""

from __future__ import annotations

from typing import Any

from concepts.bundle import Bundle, Member


def bundle_summary(bundle: Bundle) -> dict[str, Any]:
    """Name, digests, and each variant's space and members with their scoring."""
    return {
        "name": bundle.name,
        "sequence": bundle.sequence,
        "digest": bundle.digest,
        "lock_digest": bundle.lock_digest,
        "variants": [
            {
                "space": variant.space.to_dict(),
                "members": [_member(member) for member in variant.members],
            }
            for variant in bundle.variants
        ],
    }


def _member(member: Member) -> dict[str, Any]:
    names = ("slug", "name", "category", "version", "mode", "content_digest")
    return {**{name: getattr(member, name) for name in names}, **member.scorer.to_dict()}
