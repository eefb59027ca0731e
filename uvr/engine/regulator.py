"""Attach a bundle to a pipeline: look once, and regulate what was found.

1. ``Regulator(bundle).attach(pipe)`` picks the bundle's variants for the pipeline's model and
   tasks, installs attention processors and transformer hooks, and notices each new generation by
   wrapping ``set_timesteps`` of the scheduler instance. All of it is undone in ``finally``. Each
   new generation compares the weights' revision again, and with a source of bundles takes the
   newest release and keeps it. Its first transformer call says its task, where a pipeline has
   several.
2. Steps before the *look* run untouched and are recorded.
3. At the look step, features of the plain conditional pass are scored; each picture and concept
   gets a mask. Nothing found: nothing is changed, and the output is the stock output to the bit.
4. Something found: the recorded steps run again with the mask (``uvr.method.rewind``), for the
   pictures concerned, and regulation goes on until the start-up stage ends. Masks are never
   recomputed from regulated features: those look strange and would match again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from concepts.bundle import Bundle, BundleVariant, Member
from concepts.errors import ExpiredError, UVRError
from concepts.instant import now
from uvr.delivery.bundle_file import UNSAID, Keys, open_bundle
from uvr.delivery.source import BundleSource
from uvr.delivery.status import BundleInUse, SourceStatus
from uvr.engine.check import Check, Checks, LateScorers, Listener
from uvr.engine.generation import Assignment
from uvr.engine.overrides import Overrides
from uvr.engine.regulated_pipeline import RegulatedPipeline
from uvr.engine.status import RegulatorStatus
from uvr.engine.variant import VariantChoice
from uvr.families.family import tap_width
from uvr.families.known import family_of
from uvr.method.presets import OWN, Regulation, find_preset
from uvr.method.scores import LookScorers
from uvr.method.taps import output_dim
from uvr.pages.words import day
from uvr.profile_file import load_profile
from uvr.profiles import CHECK, ModelProfile
from uvr.report import RegulationReport

log = logging.getLogger("uvr.regulator")


class Regulator:
    """A bundle, ready to be attached to pipelines; holds no state of any generation.

    Args:
        bundle: What to look for: a bundle, the path of a bundle file, or a source that was
            started. With a source each generation begins with the release in use then and keeps it
            to its end. A bundle that expires later than this serves on; it is stale then, in the
            log and in every report.
        keys: Who may have signed the file at a path, or the file with their key list; None checks
            it against damage alone. A path needs one or the other; nothing else takes any.
        deny: Slugs to enforce here even if the bundle only reports or measures them.
        allow: Slugs to report but not to regulate here, whatever the bundle says.
        profile: Use this profile, or the one in this YAML file, instead of the one found for the
            pipeline.
        preset: How to regulate: a key of ``uvr.method.presets.PRESETS``, or "default" for the
            profile's own.
        strength: How strongly, from 0, which changes nothing, to 1, the preset as it is.
        check: How finished pictures are checked: ``FeatureCheck()``, a judge, or a list of them.
        on_residual: What happens to a picture in which the check still finds what is enforced:
            "pass" (the verdict says so), "flag", "retry" (it is drawn again, at most twice, then
            flagged), "block" (a grey picture takes its place), or "retry-or-block".
        on_decision: Called with the decision on each picture when a call ends, such as a
            ``DecisionLog``; or a list of such. What it raises is logged and stops nothing.

    Raises:
        InputError: There is a path, and no word on ``keys``; there is no such preset or strength.
        ProfileError: The file holds no valid profile.
        VerificationError: The file at the path is damaged, or not signed by enough of the keys.
        ExpiredError: The bundle has expired already.
        NotFoundError: ``deny`` or ``allow`` names a concept that the bundle does not hold.
    """

    def __init__(
        self,
        bundle: Bundle | BundleSource | Path | str,
        *,
        keys: Keys = UNSAID,
        deny: Collection[str] = (),
        allow: Collection[str] = (),
        profile: ModelProfile | Path | str | None = None,
        preset: str = OWN,
        strength: float = 1.0,
        check: Check | Sequence[Check] | None = None,
        on_residual: str = "flag",
        on_decision: Listener | Sequence[Listener] = (),
    ) -> None:
        if isinstance(bundle, Path | str):
            bundle = open_bundle(bundle, keys)
        elif keys is not UNSAID:
            raise TypeError("keys go with the path of a bundle file alone")
        if not isinstance(bundle, Bundle | BundleSource):
            raise TypeError(
                f"bundle is of type {type(bundle).__name__}; a Bundle, a path or a BundleSource is "
                "expected"
            )
        self.source = None if isinstance(bundle, Bundle) else bundle
        self._fixed = bundle if isinstance(bundle, Bundle) else None
        self.profile = load_profile(profile) if isinstance(profile, Path | str) else profile
        self.preset = preset
        self.strength = strength
        find_preset(preset, "t2i", Regulation()).scaled(strength)
        self.checks = Checks.of(check, on_residual, on_decision)
        self._stacks: tuple[Bundle | None, dict[str, LookScorers]] = (None, {})
        self._warned = False
        if self._fixed is not None and (stale := _expiry(self._fixed, now())):
            raise ExpiredError(
                f"{self._fixed.name}@{self._fixed.sequence} cannot be used: {stale}. "
                "Release it again."
            )
        self.overrides = Overrides(frozenset(deny), frozenset(allow))
        if told := self.overrides.sentences():
            self.overrides.require_in(self.bundle)
            log.warning("%s", "; ".join(told))

    @property
    def bundle(self) -> Bundle:
        """The bundle that a generation would begin with now.

        Raises:
            UVRError: Its source has none to give.
        """
        return self._in_use(now()).bundle

    def status(self) -> RegulatorStatus:
        """Say what is in use, how it stands and what this host overrides; raises nothing."""
        if self.source is not None:
            return self._status(source := self.source.status(), source.bundle, source)
        used = self._in_use(now())
        return self._status(used.bundle, used.bundle.name, used)

    def _status(
        self,
        release: Bundle | SourceStatus,
        name: str | None,
        standing: BundleInUse | SourceStatus,
    ) -> RegulatorStatus:
        source = standing if isinstance(standing, SourceStatus) else None
        failure = source.last_error if source and source.state == "failed" else None
        return RegulatorStatus(
            bundle=name,
            sequence=release.sequence,
            digest=release.digest,
            created=release.created,
            state=standing.state,
            why=standing.stale or failure,
            deny=tuple(sorted(self.overrides.deny)),
            allow=tuple(sorted(self.overrides.allow)),
            source=source,
        )

    @contextmanager
    def attach(self, pipe: Any) -> Iterator[RegulatedPipeline]:
        """Regulate every call of a pipeline within the ``with`` block.

        Within the block, a call raises before anything is drawn when the source has no bundle to
        give, or the release, the weights and the call's task do not fit each other. A pipeline
        that both draws and edits has its task from each call's arguments.

        Raises:
            MismatchError: The bundle has no variant for this model, its weights and any of its
                tasks, the taps or their width differ, or the transformer's attention cannot be
                regulated.
            UVRError: The bundle names the weights it was made for, and the transformer's cannot be
                read (sequential offload); or the source has no bundle to give.
        """
        family = family_of(pipe)
        choice = VariantChoice(pipe, family, self.profile)
        if self.profile is not None:
            tap_width(family, pipe.transformer, self.profile.taps)
        (profile, variant), late = choice.fits(self.bundle)[0], None
        if self.checks.features:
            late = VariantChoice(pipe, family, replace(profile, task=CHECK))
            late.fits(self.bundle)
        regulated = RegulatedPipeline(
            pipe, family, profile, variant, lambda: self._start(choice, late), self.checks
        )
        with regulated.hooks():
            yield regulated

    def mode_of(self, member: Member, at: str) -> str:
        """Say what to do with a concept here at an instant: "enforce", "log" or "shadow"."""
        return self.overrides.mode_of(member, at)

    def _start(
        self, choice: VariantChoice, late: VariantChoice | None
    ) -> Callable[[str | None], Assignment]:
        """Take the bundle of now for a generation; return what its task then makes of it."""
        at = now()
        used = self._in_use(at)
        fits = choice.fits(used.bundle)
        checked = late.fits(used.bundle)[0][1] if late else None
        return lambda task: self._assign(
            used, *choice.of_task(used.bundle, fits, task), checked, at
        )

    def _assign(
        self,
        used: BundleInUse,
        profile: ModelProfile,
        variant: BundleVariant | None,
        checked: BundleVariant | None,
        at: str,
    ) -> Assignment:
        bundle = used.bundle
        report = RegulationReport(
            bundle.name,
            bundle.sequence,
            bundle.digest,
            profile.name,
            model=profile.model,
            task=profile.task,
            space=variant.space.digest if variant else "",
            bundle_state=used.state,
            notes=[*self.overrides.sentences(), *_notes(bundle, variant, at)],
        )
        if used.stale:
            report.notes.append(f"the bundle is {used.state}: {used.stale}")
        if absent := self.overrides.absent_from(bundle):
            report.notes.append(f"this release does not hold {', '.join(absent)}")
        scorers = self._stack(bundle, variant)
        late = LateScorers(checked, self._stack(bundle, checked)) if checked else None
        profile = profile.with_preset(self.preset, self.strength)
        return Assignment(
            profile, variant, scorers, lambda member: self.mode_of(member, at), report, late
        )

    def _in_use(self, at: str) -> BundleInUse:
        if self._fixed is None:
            return self._source().in_use()
        stale = _expiry(self._fixed, at)
        if stale and not self._warned:
            log.warning("the bundle '%s' is stale: %s", self._fixed.name, stale)
            self._warned = True
        return BundleInUse(self._fixed, "stale" if stale else "ok", stale)

    def _stack(self, bundle: Bundle, variant: BundleVariant | None) -> LookScorers:
        """The variant's scorers; all pipelines share them for as long as the bundle is in use."""
        if variant is None:
            return LookScorers(())
        of, stacks = self._stacks
        if of is not bundle:
            stacks = {}
            self._stacks = (bundle, stacks)
        space = variant.space
        if space.digest not in stacks:
            stacks[space.digest] = LookScorers(
                [member.scorer for member in variant.members], output_dim(space.taps, space.dim)
            )
        return stacks[space.digest]

    def _source(self) -> BundleSource:
        if self.source is None:
            raise UVRError("The regulator has neither a bundle nor a source.")
        return self.source


def fits(pipe: Any, profile: ModelProfile | None = None) -> Callable[[Bundle], object]:
    """Return a check for ``BundleSource(accept=...)``: does a bundle fit this pipeline?

    With it a release that was made for another model, task or weights is refused before it takes
    the place of the one in use. The check raises MismatchError.
    """

    def check(bundle: Bundle) -> object:
        return VariantChoice(pipe, family_of(pipe), profile).fits(bundle)

    return check


def _expiry(bundle: Bundle, at: str) -> str | None:
    """Why a bundle is stale at an instant."""
    return f"it expired at {bundle.expires}" if bundle.expired_at(at) else None


def _notes(bundle: Bundle, variant: BundleVariant | None, at: str) -> list[str]:
    """What a reader of a report should know of a release on this model."""
    if variant is None:
        return ["the bundle holds no concepts: nothing was looked for"]
    notes = []
    if absent := sorted(set(bundle.slugs) - {member.slug for member in variant.members}):
        notes.append(f"no anchors for this model and task: {', '.join(absent)}")
    notes += [
        f"switched off until {day(member.disabled_until)}, so only reported: {member.slug}"
        for member in variant.members
        if member.mode == "enforce" and not member.enforced_at(at)
    ]
    return notes
