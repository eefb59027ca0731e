"""A judge's model in a folder: read without the network, and named by its weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

from concepts.errors import NotFoundError

_WEIGHTS = "*.safetensors"


def weights_version(folder: Path) -> str:
    """Name the weights in a folder by the first 12 hex digits of their SHA-256.

    Raises:
        NotFoundError: There is no such folder, or no safetensors file in it.
    """
    files = sorted(folder.glob(_WEIGHTS))
    if not files:
        raise NotFoundError(
            f"No judge at '{folder}': a folder with a model that transformers saved "
            "(config.json, *.safetensors) is expected."
        )
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]
