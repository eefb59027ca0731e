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
    samples: dict[str, torch.Tensor] = {}
    shapes: dict[str, tuple[int, ...]] = {}
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
        sample = flat[:: max(1, flat.numel() // _SAMPLES)][:_SAMPLES]
        samples[name], shapes[name] = sample.to(torch.bfloat16), tuple(tensor.shape)
    digest = hashlib.sha256()
    for (name, shape), values in zip(shapes.items(), _on_host(samples), strict=True):
        digest.update(f"{name}:{shape}:".encode())
        digest.update(values.float().numpy().tobytes())
    return digest.hexdigest()


def _on_host(samples: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Copy all samples at once: each copy waits for the GPU, and a regulator asks every call."""
    parts = list(samples.values())
    if len({part.device for part in parts}) > 1:  # A model spread over devices.
        parts = [part.cpu() for part in parts]
    return list(torch.cat(parts).cpu().split_with_sizes([len(part) for part in parts]))
