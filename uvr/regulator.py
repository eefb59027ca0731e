"""Attach a bundle to a pipeline: look once, and regulate what was found.

1. ``Regulator(bundle).attach(pipe)`` picks the bundle's variant for the pipeline's model and task,
   installs attention processors and transformer hooks, and notices each new generation by wrapping
   ``set_timesteps`` of the scheduler instance. All of it is undone in ``finally``. With a source
   of bundles each new generation takes the newest release and keeps it.
2. Steps before the *look* run untouched and are recorded.
3. At the look step, features of the plain conditional pass are scored; each picture and concept
   gets a mask. Nothing found: nothing is changed, and the output is the stock output to the bit.
4. Something found: the recorded steps run again with the mask (``uvr.rewind``), for the pictures
   concerned, and regulation goes on until the start-up stage ends. Masks are never recomputed from
   regulated features: those look strange and would match again.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from concepts.bundle import Bundle, BundleVariant, Member
from concepts.errors import MismatchError, NotFoundError, UVRError
from concepts.instant import now
from concepts.source import BundleSource, SourceStatus
from uvr.attachment import Assignment, Attachment
from uvr.processor import install_processors, tap_width
from uvr.profiles import ModelProfile, profile_for
from uvr.report import RegulationReport
from uvr.revision import weights_revision

__all__ = ["Attachment", "Regulator", "RegulatorStatus"]

log = logging.getLogger("uvr.regulator")


@dataclass(frozen=True)
class RegulatorStatus:
    """What a regulator would use now, and where this host departs from it.

    Attributes:
        bundle: Name of the bundle, None when there is none to use.
        sequence: Its release number.
        digest: Its digest.
        deny: Concepts that this host enforces whatever the bundle says.
        allow: Concepts that this host does not regulate whatever the bundle says.
        source: How the bundle's source stands, None for a fixed bundle.
    """

    bundle: str | None
    sequence: int | None
    digest: str | None
    deny: tuple[str, ...]
    allow: tuple[str, ...]
    source: SourceStatus | None

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


class Regulator:
    """A bundle, ready to be attached to pipelines; holds no state of any generation.

    Args:
        bundle: What to look for: a bundle, or a source that was started. With a source each
            generation begins with the release in use then and keeps it to its end.
        deny: Slugs to enforce here even if the bundle only reports or measures them.
        allow: Slugs to report but not to regulate here, whatever the bundle says.
        profile: Use this profile instead of the one found for the pipeline.

    Raises:
        NotFoundError: ``deny`` or ``allow`` names a concept that the bundle does not hold.
    """

    def __init__(
        self,
        bundle: Bundle | BundleSource,
        *,
        deny: Collection[str] = (),
        allow: Collection[str] = (),
        profile: ModelProfile | None = None,
    ) -> None:
        self.source = None if isinstance(bundle, Bundle) else bundle
        self._fixed = bundle if isinstance(bundle, Bundle) else None
        self.deny = frozenset(deny)
        self.allow = frozenset(allow)
        self.profile = profile
        if both := sorted(self.deny & self.allow):
            raise ValueError(f"deny and allow both name {', '.join(both)}")
        if self.deny or self.allow:
            self._check_overrides(self.bundle)
            log.warning("%s", "; ".join(self._overrides()))

    @property
    def bundle(self) -> Bundle:
        """The bundle that a generation would begin with now.

        Raises:
            UVRError: Its source has none to give.
        """
        return self._fixed or self._source().current

    def status(self) -> RegulatorStatus:
        """Say what is in use and what this host overrides."""
        source = self.source.status() if self.source else None
        found = source or self.bundle
        return RegulatorStatus(
            bundle=source.bundle if source else self.bundle.name,
            sequence=found.sequence,
            digest=found.digest,
            deny=tuple(sorted(self.deny)),
            allow=tuple(sorted(self.allow)),
            source=source,
        )

    @contextmanager
    def attach(self, pipe: Any) -> Iterator[Attachment]:
        """Regulate every call of a pipeline within the ``with`` block.

        Within the block, a call raises before anything is drawn when the source has no bundle to
        give, or a new release does not fit the pipeline.

        Raises:
            MismatchError: The bundle has no variant for this model, its weights and this task, the
                taps or their width differ, or the transformer's attention cannot be regulated.
            UVRError: The bundle names the weights it was made for, and the transformer's cannot be
                read (sequential offload); or the source has no bundle to give.
        """
        profile = self.profile or profile_for(pipe)
        choice = _Choice(pipe, profile)
        variant = choice.variant(self.bundle)
        attachment = Attachment(pipe, profile, variant, lambda: self._assign(choice))
        with ExitStack() as stack:
            stack.enter_context(install_processors(pipe.transformer, attachment.state))
            stack.enter_context(_hooks(pipe.transformer, attachment))
            stack.enter_context(_generation_starts(pipe.scheduler, attachment))
            yield attachment

    def mode_of(self, member: Member, at: str) -> str:
        """Say what to do with a concept here at an instant: "enforce", "log" or "shadow"."""
        if member.slug in self.deny:
            return "enforce"
        if member.mode != "enforce":
            return member.mode
        return "enforce" if member.slug not in self.allow and member.enforced_at(at) else "log"

    def _assign(self, choice: _Choice) -> Assignment:
        bundle, at = self.bundle, now()
        variant = choice.variant(bundle)
        report = RegulationReport(
            bundle.name,
            bundle.sequence,
            bundle.digest,
            choice.profile.name,
            space=variant.space.digest if variant else "",
            notes=[*self._overrides(), *_notes(bundle, variant, at)],
        )
        if self.source is not None:
            status = self.source.status()
            report.bundle_state = status.state
            if status.stale:
                report.notes.append(f"the bundle is {status.state}: {status.stale}")
        lost = sorted((self.deny | self.allow) - set(bundle.slugs))
        if lost:
            report.notes.append(f"this release does not hold {', '.join(lost)}")
        return Assignment(variant, lambda member: self.mode_of(member, at), report)

    def _overrides(self) -> list[str]:
        found = (("not regulated", self.allow), ("enforced", self.deny))
        return [
            f"{what} on this host: {', '.join(sorted(slugs))}" for what, slugs in found if slugs
        ]

    def _check_overrides(self, bundle: Bundle) -> None:
        unknown = sorted((self.deny | self.allow) - set(bundle.slugs))
        if unknown:
            raise NotFoundError(
                f"The bundle {bundle.name!r} has no concept {', '.join(map(repr, unknown))}. "
                f"It holds: {', '.join(bundle.slugs)}."
            )

    def _source(self) -> BundleSource:
        if self.source is None:
            raise UVRError("The regulator has neither a bundle nor a source.")
        return self.source


class _Choice:
    """The variant for one pipeline, picked again whenever the bundle changes."""

    def __init__(self, pipe: Any, profile: ModelProfile) -> None:
        self.profile = profile
        self._transformer = pipe.transformer
        self._picked: tuple[Bundle, BundleVariant | None] | None = None

    def variant(self, bundle: Bundle) -> BundleVariant | None:
        """Return the bundle's variant, None when the bundle is empty; see ``attach`` for errors."""
        if self._picked is None or self._picked[0] is not bundle:
            self._picked = (bundle, self._pick(bundle) if bundle.variants else None)
        return self._picked[1]

    def _pick(self, bundle: Bundle) -> BundleVariant:
        wanted = (self.profile.model, self.profile.task)
        spaces = [variant.space for variant in bundle.variants]
        # Anchors that name no revision fit any weights, also those that cannot be read.
        named = any(space.revision for space in spaces if (space.model, space.task) == wanted)
        revision = weights_revision(self._transformer) if named else None
        variant = bundle.variant_for(*wanted, revision)
        width = tap_width(self._transformer, variant.space.taps)
        if width != variant.space.dim:
            raise MismatchError(
                f"Features at {', '.join(variant.space.taps)} have {width} dimensions, the "
                f"bundle's anchors {variant.space.dim}: they were collected on another model."
            )
        return variant


def _notes(bundle: Bundle, variant: BundleVariant | None, at: str) -> list[str]:
    """What a reader of a report should know of a release on this model."""
    if variant is None:
        return ["the bundle holds no concepts: nothing was looked for"]
    notes = []
    if lacking := sorted(set(bundle.slugs) - {member.slug for member in variant.members}):
        notes.append(f"no anchors for this model and task: {', '.join(lacking)}")
    notes += [
        f"disabled until {member.disabled_until}, only reported: {member.slug}"
        for member in variant.members
        if member.mode == "enforce" and not member.enforced_at(at)
    ]
    return notes


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
