"""A pipeline call's arguments, and those of the call that draws one of its pictures again."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from concepts.errors import InputError, UVRError
from uvr.decisions.decision import request_name

_PER_PROMPT = (
    "prompt", "prompt_2", "negative_prompt", "negative_prompt_2",
    "prompt_embeds", "pooled_prompt_embeds", "negative_prompt_embeds",
    "negative_pooled_prompt_embeds", "prompt_attention_mask", "negative_prompt_attention_mask",
    "image",
)  # fmt: skip


class CannotRedrawError(UVRError):
    """A pipeline does not draw one picture again from its first latents."""


@dataclass(frozen=True)
class Request:
    """The arguments of one pipeline call.

    Attributes:
        arguments: By name, without those that were left out.
        accepted: Names that the pipeline takes.
        run: Runs a call of the pipeline.
        name: As reports and decisions have it; see ``uvr.named_request``.
    """

    arguments: Mapping[str, Any]
    accepted: frozenset[str]
    run: Callable[..., Any]
    name: str = ""

    @classmethod
    def of(cls, run: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Request:
        """Name the arguments of a call; TypeError where the pipeline takes no such ones."""
        signature = inspect.signature(run)
        given = signature.bind(*args, **kwargs).arguments
        return cls(given, frozenset(signature.parameters), run, request_name())

    def require_pictures(self) -> None:
        """Check that the call returns pictures.

        Raises:
            InputError: It asks for latents.
        """
        if self.arguments.get("output_type") == "latent":
            raise InputError(
                "output_type is 'latent', and a check needs finished pictures: ask for 'pil', "
                "'np' or 'pt', or attach a regulator without a check."
            )

    def prompt_of(self, place: int) -> str | None:
        """The prompt of one picture of the call, None where it was given as tensors."""
        prompt = self.arguments.get("prompt")
        if isinstance(prompt, list | tuple):
            prompt = prompt[place // (self.arguments.get("num_images_per_prompt") or 1)]
        return prompt if isinstance(prompt, str) else None

    def of_picture(
        self, place: int, pictures: int, latents: Tensor, shared: Set[str] = frozenset()
    ) -> dict[str, Any]:
        """Arguments that draw one picture of the call again.

        Args:
            place: Its place among the call's pictures.
            pictures: How many there were.
            latents: What it began with, as the pipeline takes it. Nothing is drawn from the
                caller's generators.
            shared: Arguments whose lists are for all prompts.

        Raises:
            CannotRedrawError: The pipeline takes no latents.
        """
        if "latents" not in self.accepted:
            raise CannotRedrawError("the pipeline takes no latents to begin with")
        each = self.arguments.get("num_images_per_prompt") or 1
        prompts = pictures // each
        arguments = dict(self.arguments)
        for name in set(_PER_PROMPT) - shared:
            value = arguments.get(name)
            if isinstance(value, list | tuple | Tensor) and len(value) == prompts:
                arguments[name] = value[place // each : place // each + 1]
        arguments.pop("generator", None)
        return {**arguments, "num_images_per_prompt": 1, "latents": latents, "return_dict": True}
