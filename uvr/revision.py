"""A short digest of a transformer's weights, so that anchors know which weights they came from."""

from __future__ import annotations

import hashlib
from typing import Any

import torch

from concepts.errors import UVRError

_SAMPLES = 64
_FUSED = {"to_qkv", "to_kv", "to_added_qkv"}


def weights_revision(transformer: Any) -> str:
    """Return the revision that a model declares, or a digest of names, shapes and sampled values.

    Values are sampled evenly, so that the digest costs milliseconds, and compared in bfloat16, so
    that a bfloat16 checkpoint has one revision at whatever wider precision it is loaded. Fused
    projections are copies of weights that stay where they were, and are left out.

    Raises:
        UVRError: The weights are on the meta device, as under sequential offload.
    """
    declared = transformer.config.get("_uvr_revision")
    if declared:
        return str(declared)
    digest = hashlib.sha256()
    for name, tensor in sorted(transformer.state_dict().items()):
        if _FUSED & set(name.split(".")):
            continue
        if tensor.is_meta:
            raise UVRError(
                f"The weights of {name} cannot be read here: they are on the meta device, as "
                "sequential offload leaves them. Use enable_model_cpu_offload() instead, or "
                "name the revision: transformer.register_to_config(_uvr_revision=...)."
            )
        flat = tensor.detach().flatten()
        picked = flat[:: max(1, flat.numel() // _SAMPLES)][:_SAMPLES]
        rounded = picked.to("cpu", torch.bfloat16).float().contiguous()
        digest.update(f"{name}:{tuple(tensor.shape)}:".encode())
        digest.update(rounded.numpy().tobytes())
    return digest.hexdigest()
