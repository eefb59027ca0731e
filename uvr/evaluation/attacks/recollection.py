"""A bundle whose anchors are collected anew, on a pipeline as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from concepts.bundle import (
    Bundle,
    BundleVariant,
    Member,
    lock_digest,
    locked_members,
    read_bundle,
    write_bundle,
)
from concepts.files import write_file
from uvr.anchors.collection import collect
from uvr.anchors.exemplars import Exemplars
from uvr.evaluation.setting import Setting
from uvr.pipelines import check_profile_of
from uvr.profiles import ModelProfile


def recollected(pipe: Any, setting: Setting, key: str) -> Bundle:
    """The setting's bundle with anchors of the pipeline as it is now, for its task and the check.

    Collecting draws some hundreds of pictures a concept; what came of it is kept under the key.

    Raises:
        UVRError: See ``collect``.
    """
    path = None if setting.folder is None else setting.folder / f"{key}.uvr"
    if path is not None and path.exists():
        return read_bundle(path)
    bundle = _collected(pipe, setting)
    if path is not None:
        write_file(path, write_bundle(bundle))
    return bundle


def _collected(pipe: Any, setting: Setting) -> Bundle:
    held = setting.the_bundle()
    profiles = [setting.profile]
    if any(variant.space.task == "check" for variant in held.variants):
        profiles.append(check_profile_of(setting.profile))
    variants = tuple(_variant(pipe, profile, setting, held) for profile in profiles)
    lock = lock_digest(locked_members(variants))
    return replace(held, variants=variants, lock_digest=lock, signatures=(), digest="")


def _variant(pipe: Any, profile: ModelProfile, setting: Setting, held: Bundle) -> BundleVariant:
    known = {d.slug: d for d in setting.definitions}
    members: list[Member] = []
    for member in held.variant_for(profile.model, profile.task).members:
        if member.slug in known:
            anchors, scorer = collect(
                pipe, profile, known[member.slug], Exemplars(seed=setting.seed)
            )
            space = anchors.space
            members.append(replace(member, scorer=scorer, threshold=None))
    return BundleVariant(space, tuple(members))
