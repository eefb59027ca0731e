"""Caches of diffusers: they skip layers that must run, so a transformer that has one is refused."""

from __future__ import annotations

from typing import Any

from concepts.errors import MismatchError

# Hooks that move weights or change how they are stored; whatever else there is may skip a layer.
_HARMLESS = {
    "group_offloading",
    "lazy_prefetch_group_offloading",
    "layer_execution_tracker",
    "layerwise_casting",
    "peft_autocast_disable",
}


def check_no_caches(transformer: Any) -> None:
    """Check that no diffusers hook may skip layers of a transformer.

    Hooks are looked at rather than ``is_cache_enabled``: ``apply_first_block_cache`` and its like
    install them without it.

    Raises:
        MismatchError: One may.
    """
    config = getattr(transformer, "_cache_config", None)
    if config is not None:
        raise MismatchError(
            f"{type(config).__name__}: this diffusers cache skips layers that must be regulated. "
            "Call pipe.transformer.disable_cache() first."
        )
    if found := sorted(_hooks(transformer) - _HARMLESS):
        raise MismatchError(
            f"The transformer has diffusers hooks that may skip layers, as caches do: "
            f"{', '.join(found)}. Remove each of them first: "
            f"HookRegistry.check_if_exists_or_initialize(pipe.transformer).remove_hook({found[0]!r})."
        )


def _hooks(transformer: Any) -> set[str]:
    registries = (getattr(module, "_diffusers_hook", None) for module in transformer.modules())
    return {name for registry in registries if registry is not None for name in registry.hooks}
