"""Which variant of a bundle a pipeline gets, checked against its model, task, taps and weights."""

from __future__ import annotations

from typing import Any

from diffusers.utils.torch_utils import unwrap_module

from concepts.bundle import Bundle, BundleVariant
from concepts.errors import MismatchError
from uvr.families.family import Family, tap_width
from uvr.profiles import ModelProfile
from uvr.revision import weights_revision


class VariantChoice:
    """The variant for one pipeline, picked again whenever the bundle or the weights change."""

    def __init__(self, pipe: Any, family: Family, profile: ModelProfile) -> None:
        self.profile = profile
        self._family = family
        self._pipe = pipe
        self._transformer = pipe.transformer
        self._latest: tuple[Bundle, str | None, BundleVariant | None] | None = None

    def variant(self, bundle: Bundle) -> BundleVariant | None:
        """Return the bundle's variant, None when the bundle is empty; see ``attach`` for errors."""
        if self._pipe.transformer is not self._transformer:
            raise MismatchError(
                "The pipeline's transformer was replaced while a regulator was attached, and the "
                "new one is not regulated. Leave the `with` block first, then attach again."
            )
        # At each generation: a LoRA may have been loaded, fused or unloaded since the last one.
        revision = self._revision(bundle)
        latest = self._latest
        if latest is None or latest[0] is not bundle or latest[1] != revision:
            variant = self._pick(bundle, revision) if bundle.variants else None
            self._latest = latest = (bundle, revision, variant)
        return latest[2]

    def _revision(self, bundle: Bundle) -> str | None:
        """Revision of the weights, None when the bundle fits any: those need not be readable."""
        profile = self.profile
        spaces = [variant.space for variant in bundle.variants]
        ours = [s for s in spaces if (s.model, s.task) == (profile.model, profile.task)]
        names_weights = any(space.revision for space in ours)
        return weights_revision(self._transformer) if names_weights else None

    def _pick(self, bundle: Bundle, revision: str | None) -> BundleVariant:
        variant = bundle.variant_for(self.profile.model, self.profile.task, revision)
        width = tap_width(self._family, unwrap_module(self._transformer), variant.space.taps)
        if width != variant.space.dim:
            raise MismatchError(
                f"Features at {', '.join(variant.space.taps)} have {width} dimensions, the "
                f"bundle's anchors {variant.space.dim}: they were collected on another model."
            )
        return variant
