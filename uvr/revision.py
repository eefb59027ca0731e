"""A short digest of a transformer's weights, so that anchors know which weights they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

import torch
from diffusers.utils.torch_utils import unwrap_module

from concepts.errors import UVRError

_SAMPLES = 64
_FUSED = {"to_qkv", "to_kv", "to_added_qkv"}


def weights_revision(transformer: Any) -> str:
    """Return the revision that a model declares, or a digest of names, shapes and sampled values.

    A model that has LoRA adapters is not the one that declared its revision.

    Values are sampled evenly, so that the digest costs milliseconds, and compared in bfloat16, so
    that a bfloat16 checkpoint has one revision at whatever wider precision it is loaded. Fused
    projections are copies of weights that stay where they were, and are left out. Which adapters
    are active, and how strongly, counts as well.

    Raises:
        UVRError: The weights are not in memory, as under sequential offload or offload to a disk.
    """
    transformer = unwrap_module(transformer)
    declared = transformer.config.get("_uvr_revision")
    adapters = list(_active_adapters(transformer))
    if declared and not adapters:  # who declared it knew nothing of a LoRA that was loaded since
        return str(declared)
    _check_not_on_disk(transformer)
    samples: dict[str, torch.Tensor] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, tensor in sorted(transformer.state_dict().items()):
        if _FUSED & set(name.split(".")):
            continue
        for key, plain in _plain_tensors(name, tensor):
            if plain.is_meta:
                raise _unreadable(name, "they are on the meta device, as sequential offload leaves")
            flat = plain.detach().flatten()
            sample = flat[:: max(1, flat.numel() // _SAMPLES)][:_SAMPLES]
            samples[key], shapes[key] = sample.to(torch.bfloat16), tuple(plain.shape)
    digest = hashlib.sha256()
    for (name, shape), values in zip(shapes.items(), _on_host(samples), strict=True):
        digest.update(f"{name}:{shape}:".encode())
        digest.update(values.float().numpy().tobytes())
    for line in adapters:
        digest.update(line.encode())
    return digest.hexdigest()


def pipeline_facts(pipe: Any) -> dict[str, Any]:
    """What decides a pipeline's tensors besides its call, for keys of what is kept of them; JSON.

    Weights, scheduler, libraries, kind of device and precision. Libraries are those of this
    process.
    """
    parameter = next(pipe.transformer.parameters())
    device = getattr(pipe, "_execution_device", parameter.device)  # offloaded weights lie elsewhere
    return {
        "weights": weights_revision(pipe.transformer),
        "pipeline": type(pipe).__name__,
        "scheduler": _settings(pipe.scheduler.config),
        "libraries": {name: version(name) for name in ("torch", "diffusers")},
        "on": [torch.device(device).type, str(parameter.dtype)],
    }


def _settings(config: Mapping[str, Any]) -> dict[str, str]:
    """A scheduler's settings; names with an underscore are notes of diffusers, in no order."""
    return {name: repr(config[name]) for name in config if not name.startswith("_")}


def _plain_tensors(name: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors that an entry of a state dict holds: several where it is quantised."""
    if hasattr(value, "__tensor_flatten__"):  # torchao's weights are tensors made of tensors.
        for inner in value.__tensor_flatten__()[0]:
            yield from _plain_tensors(f"{name}.{inner}", getattr(value, inner))
    elif isinstance(value, torch.Tensor):
        yield name, value


def _active_adapters(transformer: Any) -> Iterator[str]:
    """One line for each layer with LoRA adapters, as peft has them: which are on, and how much."""
    for name, module in transformer.named_modules():
        scaling = getattr(module, "scaling", None)
        if isinstance(scaling, dict) and hasattr(module, "active_adapters"):
            on = [] if module.disable_adapters else module.active_adapters
            yield f"{name}:{[(adapter, scaling.get(adapter)) for adapter in on]};"


def _check_not_on_disk(transformer: Any) -> None:
    for name, module in transformer.named_modules():
        registry = getattr(module, "_diffusers_hook", None)
        hook = registry.get_hook("group_offloading") if registry is not None else None
        if hook is not None and hook.group.offload_to_disk_path:
            raise _unreadable(name, "they are on the disk, as group offload with a path leaves")


def _unreadable(name: str, where: str) -> UVRError:
    return UVRError(
        f"The weights of {name} cannot be read here: {where} them. Use enable_model_cpu_offload() "
        "instead, or name the revision: transformer.register_to_config(_uvr_revision=...)."
    )


def _on_host(samples: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Copy all samples at once: each copy waits for the GPU, and a regulator asks every call."""
    parts = list(samples.values())
    if len({part.device for part in parts}) > 1:  # A model spread over devices.
        parts = [part.cpu() for part in parts]
    return list(torch.cat(parts).cpu().split_with_sizes([len(part) for part in parts]))
