"""The registry: concepts, versions and releases in SQL, anchors as blobs, search by FAISS.

A package whose name is a noun of the registry keeps what ``Registry`` offers of it in its
``service`` module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registry.registry import Registry

__all__ = ["Registry"]


def __getattr__(name: str) -> Any:
    # SQL takes half a second to load, which `import registry` alone should not pay for.
    if name == "Registry":
        from registry.registry import Registry  # noqa: PLC0415

        return Registry
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
