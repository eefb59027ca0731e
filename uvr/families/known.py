"""The families that are known here, and which of them a pipeline is of."""

from __future__ import annotations

from typing import Any

from concepts.errors import MismatchError
from uvr.families.chroma import ChromaFamily
from uvr.families.family import Family
from uvr.families.flux import FluxFamily
from uvr.families.flux2 import Flux2Family
from uvr.families.longcat import LongCatFamily
from uvr.profiles import ModelProfile

_FAMILIES: list[Family] = [FluxFamily(), Flux2Family(), ChromaFamily(), LongCatFamily()]


def register_family(family: Family) -> None:
    """Make a family known; it is asked before those that were registered earlier."""
    _FAMILIES.append(family)


def family_of(pipe: Any) -> Family:
    """Find the family that recognises a pipeline.

    Raises:
        MismatchError: None does.
    """
    for family in reversed(_FAMILIES):
        if family.recognises(pipe):
            return family
    names = ", ".join(family.name for family in _FAMILIES)
    raise MismatchError(
        f"{type(pipe).__name__} is of none of the families of models that are known here "
        f"({names}). uvr.register_family() makes one known."
    )


def profile_for(pipe: Any) -> ModelProfile:
    """Find the profile of a pipeline, for its usual task if it has several.

    Raises:
        MismatchError: No family recognises it, or its family has no profile for its model and task.
    """
    return family_of(pipe).profile(pipe)
