"""Which variants of a bundle a pipeline gets, checked against model, tasks, taps and weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from concepts.bundle import Bundle, BundleVariant
from concepts.errors import MismatchError
from uvr.families.family import Family, tap_width
from uvr.profiles import ModelProfile
from uvr.revision import weights_revision

Fit = tuple[ModelProfile, BundleVariant | None]
"""A profile, and the bundle's variant for its task; None when the bundle is empty."""


class VariantChoice:
    """The variants for one pipeline, picked again whenever the bundle or the weights change.

    Args:
        pipe: The pipeline.
        family: Its family.
        profile: The profile to use; None for those of the pipeline, one for each of its tasks.

    Raises:
        MismatchError: There is no profile for this model.
    """

    def __init__(self, pipe: Any, family: Family, profile: ModelProfile | None = None) -> None:
        self.profiles = family.profiles(pipe) if profile is None else [profile]
        self._family = family
        self._pipe = pipe
        self._transformer = pipe.transformer
        self._latest: tuple[Bundle, str | None, list[Fit]] | None = None

    def fits(self, bundle: Bundle) -> list[Fit]:
        """Return what fits of the bundle, at least one; see ``attach`` for errors.

        A bundle need not have a variant for each task that the pipeline can do.
        """
        if self._pipe.transformer is not self._transformer:
            raise MismatchError(
                "The pipeline's transformer was replaced while a regulator was attached, and the "
                "new one is not regulated. Leave the `with` block first, then attach again."
            )
        # At each generation: a LoRA may have been loaded, fused or unloaded since the last one.
        revision = self._revision(bundle)
        latest = self._latest
        if latest is None or latest[0] is not bundle or latest[1] != revision:
            self._latest = latest = (bundle, revision, self._pick_all(bundle, revision))
        return latest[2]

    def of_task(self, bundle: Bundle, fits: Sequence[Fit], task: str | None) -> Fit:
        """Return the one of ``fits`` for a call's task, None where the pipeline has only one.

        Raises:
            MismatchError: The bundle has no variant for this task, or the profile that is to be
                used is for another one.
        """
        for fit in fits:
            if task in (None, fit[0].task):
                return fit
        for profile in self.profiles:
            if profile.task == task:
                bundle.variant_for(profile.model, profile.task)  # says what the bundle has instead
        raise MismatchError(
            f"This call's task is '{task}', and the profile to use, '{self.profiles[0].name}', is "
            f"for '{self.profiles[0].task}'."
        )

    def _revision(self, bundle: Bundle) -> str | None:
        """Revision of the weights, None when the bundle fits any: those need not be readable."""
        ours = {(profile.model, profile.task) for profile in self.profiles}
        spaces = [variant.space for variant in bundle.variants]
        names_weights = any(s.revision for s in spaces if (s.model, s.task) in ours)
        return weights_revision(self._transformer) if names_weights else None

    def _pick_all(self, bundle: Bundle, revision: str | None) -> list[Fit]:
        if not bundle.variants:
            return [(profile, None) for profile in self.profiles]
        held = {(variant.space.model, variant.space.task) for variant in bundle.variants}
        ours = [each for each in self.profiles if (each.model, each.task) in held]
        # With none, picking the first one says what was expected and what the bundle holds.
        wanted = ours or self.profiles[:1]
        return [(profile, self._pick(bundle, profile, revision)) for profile in wanted]

    def _pick(self, bundle: Bundle, profile: ModelProfile, revision: str | None) -> BundleVariant:
        variant = bundle.variant_for(profile.model, profile.task, revision)
        width = tap_width(self._family, self._transformer, variant.space.taps)
        if width != variant.space.dim:
            raise MismatchError(
                f"Features at {', '.join(variant.space.taps)} have {width} dimensions, the "
                f"bundle's anchors {variant.space.dim}: they were collected on another model."
            )
        return variant
