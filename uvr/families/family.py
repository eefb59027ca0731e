"""What the engine asks of a family of models: a protocol with one file behind each family.

The engine knows the method, schedulers and bundles. How a family names its arguments, where its
tokens lie, how its attention runs, how it stacks the passes of true CFG and how a picture becomes
latents is asked here. To add a family, subclass ``Family`` and hand it to ``register_family``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from diffusers.utils.torch_utils import unwrap_module
from torch import Tensor

from concepts.errors import MismatchError
from uvr.families.attention import AttentionState
from uvr.method.rewind import Call
from uvr.method.taps import layer_of
from uvr.method.tokens import TokenLayout
from uvr.profiles import ModelProfile
from uvr.sample import Sample


@dataclass(frozen=True)
class Rows:
    """Which picture and pass each row of a transformer call belongs to.

    A pipeline with true CFG calls the transformer twice a step, or once with the passes stacked:
    row = pass * pictures + picture.

    Attributes:
        pictures: Number of pictures.
        passes: Passes in one call.
        conditional: The pass that has the prompt.
    """

    pictures: int
    passes: int = 1
    conditional: int = 0

    def spread(self, pictures: Tensor) -> Tensor:
        """Repeat a value of each picture, (pictures, ...), for each row, (rows, ...)."""
        if self.passes == 1:
            return pictures
        return pictures.repeat(self.passes, *[1] * (pictures.ndim - 1))

    def split(self, rows: Tensor) -> list[Tensor]:
        """Split rows, (rows, ...), into passes of (pictures, ...), the conditional one first."""
        parts = list(rows.split_with_sizes([self.pictures] * self.passes))
        return [parts.pop(self.conditional), *parts]

    def of_prompt(self, rows: Tensor) -> Tensor:
        """Rows of the conditional pass, (pictures, ...)."""
        return self.split(rows)[0]


class Family(Protocol):
    """A family of models; its methods hold no state of any generation.

    A ``call`` is the transformer's arguments by name; of several calls a step, the conditional one
    comes first. ``latents`` and ``velocity`` are those of the output tokens, with a row for each
    row of the call.

    Attributes:
        name: The family's name, in messages.
        shared: Arguments of its pipelines whose lists are for all prompts of a call, where other
            families' have an item for each prompt.
    """

    name: str
    shared: frozenset[str] = frozenset()

    def recognises(self, pipe: Any) -> bool:
        """Say whether a pipeline is one of this family's."""
        ...

    def profile(self, pipe: Any) -> ModelProfile:
        """Find the profile of one of this family's pipelines, for its usual task if it has several.

        Raises:
            MismatchError: There is none for this model and task.
        """
        ...

    def profiles(self, pipe: Any) -> list[ModelProfile]:
        """Find the profiles of each task that a pipeline does, the usual one first.

        Raises:
            MismatchError: There is none for this model.
        """
        return [self.profile(pipe)]

    def task(self, layout: TokenLayout) -> str | None:
        """Say a call's task, "t2i" or "edit", where one pipeline does both; None where it does one.

        Asked at the first call of each generation.
        """
        return None

    def layers(self, transformer: Any) -> Mapping[str, int]:
        """Names of the attention layers, as taps have them, in order, and their outputs' width."""
        ...

    def regulated_attention(
        self, transformer: Any, state: AttentionState
    ) -> AbstractContextManager[None]:
        """Have all attention layers capture and regulate as ``state`` says, within the context.

        With no action and no capture each layer runs stock operations in stock order: same bits.
        On the way out the transformer is as it was found.

        Raises:
            MismatchError: A layer does not run the family's stock attention.
        """
        ...

    def layout(self, call: Call) -> TokenLayout:
        """Read where the tokens of a call lie.

        Raises:
            UVRError: The order of the tokens is not supported.
        """
        ...

    def num_text(self, call: Call) -> int:
        """Number of text tokens of a call; asked at each call, so it must not wait for the GPU."""
        ...

    def sigma(self, call: Call) -> Tensor:
        """Noise level of a call, 0 to 1, (rows,)."""
        ...

    def rows(self, pipe: Any, call: Call) -> Rows:
        """Say which pictures and passes the rows of a call are."""
        return Rows(len(self.sigma(call)))

    def latents(self, call: Call, layout: TokenLayout) -> Tensor:
        """Read the latents of the output from a call."""
        ...

    def with_latents(self, call: Call, latents: Tensor) -> dict[str, Any]:
        """Return the same call with other latents of the output."""
        ...

    def latents_argument(self, latents: Tensor, layout: TokenLayout) -> Tensor:
        """Return latents of the output as a pipeline takes them to begin with."""
        return latents

    def velocity(self, output: Any, layout: TokenLayout) -> Tensor:
        """Read the velocity of the output from what the transformer returned.

        The scheduler's velocity: ``latents + (next sigma - sigma) * velocity`` are the next ones.
        """
        ...

    def with_velocity(self, output: Any, velocity: Tensor) -> Any:
        """Return the same output of the transformer with another velocity."""
        ...

    def changes_weights(self, transformer: Any, call: Call) -> str | None:
        """Say how a call itself changes the weights that it runs with, None when it does not."""
        return None

    def fixed_to_its_step(self, call: Call) -> str | None:
        """Say why a call cannot run again with other latents, None when it can."""
        return None

    def patch_size(self, pipe: Any) -> int:
        """Pixels along the side of a patch, the part of a picture that one token stands for."""
        ...

    def sigmas(self, pipe: Any, profile: ModelProfile) -> list[float]:
        """Noise levels of the profile's usual call, without the final zero."""
        ...

    def noised_call(
        self,
        pipe: Any,
        profile: ModelProfile,
        samples: Sequence[Sample],
        sigma: float,
        generator: torch.Generator,
    ) -> dict[str, Any]:
        """Build a call over noised pictures as the pipelines do, one conditional pass.

        For editing, what a sample is given is the reference; all have one, or none.
        """
        ...

    def noise_size(self, pipe: Any, profile: ModelProfile) -> int:
        """Number of random numbers that ``noised_call`` draws for each picture.

        By it the noise of any batch is known without drawing those before it.
        """
        height, width = profile.size
        patch = self.patch_size(pipe)
        return (height // patch) * (width // patch) * int(pipe.transformer.config.in_channels)

    def call_arguments(self, profile: ModelProfile, request: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of a pipeline call: the request's, and the profile's for the rest."""
        return {**profile.call, **request}


def tap_width(family: Family, transformer: Any, taps: Sequence[str]) -> int:
    """Number of dimensions of the concatenated features at these taps.

    Raises:
        MismatchError: The transformer lacks one of them.
    """
    # Older releases of diffusers name the layers of a compiled one otherwise.
    layers = family.layers(unwrap_module(transformer))
    missing = sorted({layer_of(tap) for tap in taps} - set(layers))
    if missing:
        raise MismatchError(
            f"The transformer has no attention layer at {', '.join(missing)}; it has {len(layers)} "
            f"layers up to {list(layers)[-1]}. The profile or the anchors are of another model."
        )
    return sum(layers[layer_of(tap)] for tap in taps)


def named_arguments(transformer: Any, args: Sequence[Any], kwargs: Call) -> Call:
    """Arguments of a transformer call, all of them by name."""
    if not args:
        return kwargs
    names = list(inspect.signature(transformer.forward).parameters)
    return {**dict(zip(names, args, strict=False)), **kwargs}
