"""Bundles that fit one set of weights alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from concepts.bundle import Bundle
from tests.uvr.engine.conftest import firing
from uvr.profiles import ModelProfile
from uvr.revision import weights_revision


def for_weights_of(pipe: Any, profile: ModelProfile) -> Bundle:
    """A bundle that fires, and fits the present weights of a pipeline alone."""
    bundle = firing(profile)
    (variant,) = bundle.variants
    space = replace(variant.space, revision=weights_revision(pipe.transformer))
    return replace(bundle, variants=(replace(variant, space=space),), digest="")
