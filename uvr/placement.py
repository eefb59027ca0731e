"""Where a model's weights are kept and in which precision, and that it is not run in vain."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from concepts.errors import NotFoundError, UVRError
from uvr.revision import weights_revision

DTYPES = ("bfloat16", "float16", "float32")
LARGE = 4e9
"""Bytes of weights from which on a model is for a GPU: full-size ones have 8e9 and more."""
_WEIGHTS = (".safetensors", ".bin")


@dataclass(frozen=True)
class Placement:
    """How a pretrained pipeline is loaded.

    Attributes:
        dtype: One of ``DTYPES``; by default bfloat16 on a GPU and float32 without one.
        offload: "model" or "sequential", to keep weights in main memory but for what runs: a whole
            model at a time, or a layer at a time, which needs least memory and takes longest.
    """

    dtype: str | None = None
    offload: str | None = None

    def torch_dtype(self) -> torch.dtype:
        """The precision to load in."""
        usual = "bfloat16" if torch.cuda.is_available() else "float32"
        dtype: torch.dtype = getattr(torch, self.dtype or usual)
        return dtype

    def place(self, pipe: Any, device: str | None = None) -> Any:
        """Move a pipeline to where it runs.

        Args:
            pipe: The pipeline, in main memory.
            device: Where; by default the GPU, if there is one.

        Raises:
            NotFoundError: There is nothing to offload from, or accelerate is not installed.
        """
        if device is None and torch.cuda.is_available():
            device = "cuda"
        if self.offload is None:
            return pipe if device is None else pipe.to(device)
        if device is None:
            raise NotFoundError(
                "There is no GPU here, so there is nothing to offload from: leave --offload out."
            )
        if find_spec("accelerate") is None:
            raise NotFoundError("Offloading needs accelerate: pip install accelerate.")
        if self.offload == "model":
            pipe.enable_model_cpu_offload(device=device)
        else:  # after which the weights cannot be read
            revision = weights_revision(pipe.transformer)
            pipe.transformer.register_to_config(_uvr_revision=revision)
            pipe.enable_sequential_cpu_offload(device=device)
        return pipe


def require_gpu(model: str) -> None:
    """Refuse to run a large model where there is no GPU; UVRError says how to do it all the same.

    Args:
        model: As ``load_pipeline`` takes it; of a repository of the hub the size is not known
            here, and it counts as large.
    """
    if model == "testbed" or torch.cuda.is_available():
        return
    folder = Path(model)
    files = folder.glob("**/*") if folder.is_dir() else ()
    size = sum(file.stat().st_size for file in files if file.suffix in _WEIGHTS)
    if folder.is_dir() and size < LARGE:
        return
    has = f"has {size / 1e9:.0f} GB of weights" if size else "is a repository of the hub"
    raise UVRError(
        f"There is no GPU here, and '{model}' {has}: on a CPU a full-size model takes very long "
        "for each picture. Use a machine with a GPU, or go on here with --allow-cpu."
    )
