"""A case: one picture to draw, what was asked, and what must and must not be seen in it.

Sources of cases (``uvr.evaluation.suites``) make them, attacks change them, methods draw them. The
same case with the same seed is drawn by the stock pipeline and by every method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from concepts.digest import json_digest, sha256
from uvr.testbed.scenes import Scene


@dataclass(frozen=True)
class Case:
    """One picture to draw.

    Attributes:
        task: "t2i" or "edit".
        use: How what is asked comes in, such as "asked for"; rows of a report are made by it.
        prompt: Caption, or edit instruction.
        seed: Of the picture's noise.
        banned: Slugs of the concepts that are asked for and must not be seen; empty for a benign
            case, in which everything may be seen.
        kept: What should be seen all the same, as the first judge calls it; empty if unknown.
        source: The picture to edit, or to begin from; None for text-to-image.
        call: More arguments of the pipeline's call, such as ``{"num_inference_steps": 8}`` or
            ``{"strength": 0.6}``: plain JSON values.
        tensors: Arguments that are one tensor a picture, (1, ...), such as ``latents`` or
            ``prompt_embeds`` and ``pooled_prompt_embeds``, which take the prompt's place.
        scene: What the testbed's picture should be, thing by thing; None where targets are unknown.
    """

    task: str
    use: str
    prompt: str
    seed: int
    banned: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    source: Image.Image | None = None
    call: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    scene: Scene | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides what is drawn and how it is counted."""
        return json_digest(
            {
                "task": self.task,
                "use": self.use,
                "prompt": self.prompt,
                "seed": self.seed,
                "banned": self.banned,
                "kept": self.kept,
                "source": None if self.source is None else picture_digest(self.source),
                "call": self.call,
                "tensors": {name: tensor_digest(item) for name, item in self.tensors.items()},
            }
        )

    @property
    def together(self) -> str:
        """What cases must have in common to be drawn by one call."""
        shapes = {name: list(item.shape) for name, item in self.tensors.items()}
        size = None if self.source is None else self.source.size
        return json_digest([self.task, size, self.call, shapes])


def picture_digest(picture: Image.Image) -> str:
    """SHA-256 of a picture's pixels: equal for pictures that are identical to the bit."""
    rgb = picture.convert("RGB")
    return sha256(f"{rgb.width}x{rgb.height}:".encode() + rgb.tobytes())


def tensor_digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor's type, shape and bytes."""
    plain = tensor.detach().cpu().contiguous()
    head = f"{plain.dtype}:{tuple(plain.shape)}:".encode()
    return sha256(head + plain.flatten().view(torch.uint8).numpy().tobytes())


def batches_of(cases: Sequence[Case], size: int) -> list[list[Case]]:
    """Cases in calls of at most `size` pictures, in their order, equal arguments together."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.together, []).append(case)
    return [
        group[first : first + size]
        for group in groups.values()
        for first in range(0, len(group), size)
    ]
