"""Attach a bundle to a pipeline: look once, and regulate what was found.

1. ``Regulator(bundle).attach(pipe)`` picks the bundle's variant for the pipeline's model and task,
   installs attention processors and transformer hooks, and notices each new generation by wrapping
   ``set_timesteps`` of the scheduler instance. All of it is undone in ``finally``.
2. Steps before the *look* run untouched and are recorded.
3. At the look step, features of the plain conditional pass are scored; each picture and concept
   gets a mask. Nothing found: nothing is changed, and the output is the stock output to the bit.
4. Something found: the recorded steps run again with the mask (``uvr.rewind``), for the pictures
   concerned, and regulation goes on until the start-up stage ends. Masks are never recomputed from
   regulated features: those look strange and would match again.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from concepts.bundle import Bundle, BundleVariant, Member
from concepts.errors import MismatchError, NotFoundError
from uvr.attachment import Attachment
from uvr.processor import install_processors, tap_width
from uvr.profiles import ModelProfile, profile_for
from uvr.report import RegulationReport
from uvr.revision import weights_revision

__all__ = ["Attachment", "Regulator"]


class Regulator:
    """A bundle, ready to be attached to pipelines; holds no state of any generation.

    Args:
        bundle: What to look for.
        deny: Slugs to enforce here even if the bundle only observes them.
        allow: Slugs to report but not to regulate here, whatever the bundle says.
        profile: Use this profile instead of the one found for the pipeline.

    Raises:
        NotFoundError: ``deny`` or ``allow`` names a concept that the bundle does not hold.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        deny: Collection[str] = (),
        allow: Collection[str] = (),
        profile: ModelProfile | None = None,
    ) -> None:
        slugs = {member.slug for variant in bundle.variants for member in variant.members}
        unknown = sorted((set(deny) | set(allow)) - slugs)
        if unknown:
            raise NotFoundError(
                f"The bundle {bundle.name!r} has no concept {', '.join(map(repr, unknown))}. "
                f"It holds: {', '.join(sorted(slugs))}."
            )
        self.bundle = bundle
        self.deny = frozenset(deny)
        self.allow = frozenset(allow)
        self.profile = profile

    @contextmanager
    def attach(self, pipe: Any) -> Iterator[Attachment]:
        """Regulate every call of a pipeline within the ``with`` block.

        Raises:
            MismatchError: The bundle has no variant for this model, its weights and this task, the
                taps or their width differ, or the transformer's attention cannot be regulated.
            UVRError: The bundle names the weights it was made for, and the transformer's cannot be
                read (sequential offload).
        """
        profile = self.profile or profile_for(pipe)
        variant = self._variant(pipe, profile)
        attachment = Attachment(
            pipe, profile, variant, self.enforces, lambda: self._new_report(profile, variant)
        )
        with ExitStack() as stack:
            stack.enter_context(install_processors(pipe.transformer, attachment.state))
            stack.enter_context(_hooks(pipe.transformer, attachment))
            stack.enter_context(_generation_starts(pipe.scheduler, attachment))
            yield attachment

    def enforces(self, member: Member) -> bool:
        """Say whether a concept is regulated or only reported here."""
        if member.slug in self.allow:
            return False
        return member.slug in self.deny or member.mode == "enforce"

    def _new_report(self, profile: ModelProfile, variant: BundleVariant) -> RegulationReport:
        bundle = self.bundle
        report = RegulationReport(bundle.name, bundle.sequence, bundle.digest, profile.name)
        if self.allow:
            report.notes.append(f"not regulated on this host: {', '.join(sorted(self.allow))}")
        if self.deny:
            report.notes.append(f"enforced on this host: {', '.join(sorted(self.deny))}")
        elsewhere = {member.slug for other in bundle.variants for member in other.members}
        lacking = sorted(elsewhere - {member.slug for member in variant.members})
        if lacking:
            report.notes.append(f"no anchors for this model and task: {', '.join(lacking)}")
        return report

    def _variant(self, pipe: Any, profile: ModelProfile) -> BundleVariant:
        wanted = (profile.model, profile.task)
        spaces = [variant.space for variant in self.bundle.variants]
        # Anchors that name no revision fit any weights, also those that cannot be read.
        named = any(space.revision for space in spaces if (space.model, space.task) == wanted)
        revision = weights_revision(pipe.transformer) if named else None
        variant = self.bundle.variant_for(*wanted, revision)
        width = tap_width(pipe.transformer, variant.space.taps)
        if width != variant.space.dim:
            raise MismatchError(
                f"Features at {', '.join(variant.space.taps)} have {width} dimensions, the "
                f"bundle's anchors {variant.space.dim}: they were collected on another model."
            )
        return variant


@contextmanager
def _hooks(transformer: Any, attachment: Attachment) -> Iterator[None]:
    before = transformer.register_forward_pre_hook(attachment.before_forward, with_kwargs=True)
    after = transformer.register_forward_hook(attachment.after_forward, with_kwargs=True)
    try:
        yield
    finally:
        before.remove()
        after.remove()


@contextmanager
def _generation_starts(scheduler: Any, attachment: Attachment) -> Iterator[None]:
    original = scheduler.set_timesteps
    shadowed = scheduler.__dict__.get("set_timesteps")

    # Pipelines inspect the signature of set_timesteps, which ``wraps`` keeps.
    @functools.wraps(original)
    def set_timesteps(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        attachment.start_generation()
        return result

    scheduler.set_timesteps = set_timesteps
    try:
        yield
    finally:
        # Whoever wrapped it after us, on a shared scheduler, has yet to leave.
        if scheduler.__dict__.get("set_timesteps") is set_timesteps:
            del scheduler.set_timesteps
            if shadowed is not None:
                scheduler.set_timesteps = shadowed
