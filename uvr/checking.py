"""Check one finished picture, wherever it came from, for what a bundle bans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, sqrt
from typing import Any

from diffusers.utils.torch_utils import unwrap_module
from PIL import Image

from concepts.bundle import Bundle
from concepts.instant import now
from uvr.checked_picture import CheckedPicture
from uvr.engine.check import Check, FeatureCheck, LateScorers, look_at_picture
from uvr.engine.regulator import Regulator
from uvr.engine.variant import VariantChoice
from uvr.engine.verdicts import evidence_of
from uvr.families.attention import AttentionState
from uvr.families.family import Family
from uvr.families.known import family_of
from uvr.judges.judge import Judge, ask
from uvr.method.rewind import Call
from uvr.method.scores import LookScorers
from uvr.method.taps import output_dim
from uvr.profiles import CHECK, ModelProfile
from uvr.report import ConceptFinding
from uvr.verdict import Evidence, Verdict, said

LEAST = 16
"""Pixels along a side that a profile may ask for at least."""


def check_picture(
    pipe: Any,
    profile: ModelProfile,
    bundle: Bundle,
    picture: Image.Image,
    checks: Sequence[Check] = (FeatureCheck(),),
) -> CheckedPicture:
    """Check a picture as an engine checks those that it drew.

    Args:
        pipe: A pipeline of the model that the bundle is for.
        profile: The pipeline's.
        bundle: What to look for.
        picture: Of any size; a larger one than the model draws is made smaller.
        checks: As ``Regulator`` takes them.

    Raises:
        MismatchError: The bundle has no anchors for checking with this model.
        UVRError: A score is not finite.
    """
    at, regulator = now(), Regulator(bundle, check=checks)
    findings, space = [], ""
    if regulator.checks.features:
        late = _late_scorers(pipe, profile, bundle)
        space = late.variant.space.digest if late else ""
        if late:
            findings = _findings(pipe, profile, late, picture, regulator, at)
    evidence = evidence_of(findings, "check")
    for judge in regulator.checks.judges:
        evidence += _judged(judge, bundle, picture, regulator, at)
    evidence.sort(key=lambda item: not item.enforced)
    outcome = "flagged" if any(item.enforced for item in evidence) else "untouched"
    return CheckedPicture(
        Verdict(0, outcome, bundle.digest, tuple(evidence), _reason(evidence)), findings, space
    )


def _late_scorers(pipe: Any, profile: ModelProfile, bundle: Bundle) -> LateScorers | None:
    """The bundle's scorers of finished pictures; None where it holds no concepts."""
    choice = VariantChoice(pipe, family_of(pipe), replace(profile, task=CHECK))
    variant = choice.fits(bundle)[0][1]
    if variant is None:
        return None
    scorers = [member.scorer for member in variant.members]
    return LateScorers(
        variant, LookScorers(scorers, output_dim(variant.space.taps, variant.space.dim))
    )


def _findings(
    pipe: Any,
    profile: ModelProfile,
    late: LateScorers,
    picture: Image.Image,
    regulator: Regulator,
    at: str,
) -> list[ConceptFinding]:
    family = family_of(pipe)
    state = AttentionState(taps=frozenset(late.variant.space.taps))

    def run(call: Call) -> Any:
        with state.forward_pass():
            return pipe.transformer(**call)

    with family.regulated_attention(unwrap_module(pipe.transformer), state):
        look = look_at_picture(
            pipe, family, state, run, profile, late, _fitted(pipe, family, profile, picture),
            step=0, mode_of=lambda member: regulator.mode_of(member, at),
        )  # fmt: skip
    return [*look.images[0], *look.shadow[0]]


def _fitted(pipe: Any, family: Family, profile: ModelProfile, picture: Image.Image) -> Image.Image:
    """The picture in whole patches, no larger than those that the model usually draws."""
    patch = family.patch_size(pipe)
    usual = profile.call.get("height", 1024) * profile.call.get("width", 1024)
    scale = min(1.0, sqrt(usual / (picture.width * picture.height)))
    least = ceil(LEAST / patch)
    width, height = (max(least, round(side * scale / patch)) * patch for side in picture.size)
    return picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


def _judged(
    judge: Judge, bundle: Bundle, picture: Image.Image, regulator: Regulator, at: str
) -> list[Evidence]:
    """What a judge found; a concept that the bundle does not hold is enforced."""
    members = {m.slug: m for variant in bundle.variants for m in variant.members}
    found = []
    for item in ask(judge, [picture.convert("RGB")])[0]:
        member = members.get(item.slug)
        if item.fired:
            found.append(
                Evidence(
                    "judge", item.slug,
                    member.name if member else item.slug.replace("-", " ").capitalize(),
                    member.version if member else None,
                    regulator.mode_of(member, at) if member else "enforce",
                    item.score, item.threshold, judge=item.judge,
                )
            )  # fmt: skip
    return found


def _reason(evidence: Sequence[Evidence]) -> str:
    enforced = [item for item in evidence if item.enforced]
    observed = [item for item in evidence if not item.enforced]
    parts = [f"{said(enforced)}."] if enforced else []
    parts += [f"{said(observed)}, which is only reported."] if observed else []
    return " ".join(parts) or "Nothing banned was found."
