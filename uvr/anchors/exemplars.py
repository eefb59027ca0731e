"""Exemplars: the pictures to collect from, given, drawn, or the testbed's own labelled scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

from concepts.anchors import AnchorSet
from concepts.content_rules import refuse_minors
from concepts.definition import ConceptDefinition
from uvr.anchors.calibration import benign_pictures
from uvr.anchors.extract import seeds_per_prompt
from uvr.anchors.pictures import PictureError, read_samples
from uvr.anchors.variants import USUAL_KINDS
from uvr.pipelines import TESTBED
from uvr.profiles import CHECK, UNSAID, ModelProfile
from uvr.sample import Sample
from uvr.testbed.samples import CONCEPTS, TESTBED_SCENES, labelled_samples


@dataclass(frozen=True)
class Exemplars:
    """The pictures to collect from: those of two folders, those that are kept, or drawn for it.

    Attributes:
        images: Folder of pictures with masks, or None to use the definition's prompts.
        benign: Folder of pictures without the concept; required with ``images``.
        seed: Of the pictures or of their noise.
        steps: Inference steps of generated pictures; the profile's by default.
        variants: Kinds of variants that are made of given pictures that show the concept.
        kept: In place of the folders, pictures with the concept and their masks, and those without.
    """

    images: Path | None = None
    benign: Path | None = None
    seed: int = 0
    steps: int | None = None
    variants: tuple[str, ...] = USUAL_KINDS
    kept: tuple[Sequence[Sample], Sequence[Sample]] | None = None

    @property
    def made(self) -> tuple[str, ...]:
        """Kinds of variants that are made: none where no pictures are given."""
        return self.variants if self.images is not None or self.kept is not None else ()


def samples_of(
    profile: ModelProfile, definition: ConceptDefinition, exemplars: Exemplars
) -> tuple[list[Sample], list[Sample]] | None:
    """Pictures with the concept and without; None to generate them from prompts.

    Raises:
        ContentError: The definition names minors where it must not: nothing is drawn for it.
        PictureError: Pictures that this task needs are lacking.
    """
    refuse_minors(definition)
    if exemplars.kept is not None:
        return _of_kept(profile, definition, *exemplars.kept)
    if exemplars.images is None and exemplars.benign is not None:
        raise PictureError("A folder of benign pictures needs one of pictures with the concept.")
    if exemplars.images is not None:
        if exemplars.benign is None:
            raise PictureError(
                "Pictures of the concept need pictures without it to compare with: add a folder of "
                "benign and near-miss pictures."
            )
        with_concept, without = _prompts(profile, definition)
        positives = read_samples(exemplars.images, with_concept, masked=True)
        benign = read_samples(exemplars.benign, without)
        return _as_asked(profile, positives), _as_asked(profile, benign)
    if profile.task == "t2i":
        return None
    if profile.model != TESTBED:
        raise PictureError(
            f"Anchors for {profile.name} come from pictures of the concept with masks, and "
            "benign ones: give a folder of each."
        )
    if definition.slug not in CONCEPTS:
        raise PictureError(
            f"The testbed has no scenes of '{definition.slug}' for the task {profile.task!r}; it "
            f"has {', '.join(CONCEPTS)}. Give a folder of pictures, or collect for t2i alone."
        )
    positives, benign = labelled_samples(
        definition.slug, profile.task, exemplars.seed, TESTBED_SCENES[profile.task]
    )
    return _as_asked(profile, positives), _as_asked(profile, benign)


def _of_kept(
    profile: ModelProfile,
    definition: ConceptDefinition,
    positives: Sequence[Sample],
    benign: Sequence[Sample],
) -> tuple[list[Sample], list[Sample]]:
    """Kept pictures, under the definition's texts in turn."""
    if not positives or not benign:
        raise PictureError(
            f"{len(positives)} kept pictures with a mask show the concept, and {len(benign)} do "
            "not: it takes some of each. `uvr-registry exemplars keep` keeps more."
        )
    texts = zip((positives, benign), _prompts(profile, definition), strict=True)
    shown, others = (
        _as_asked(
            profile,
            [replace(sample, prompt=text)
             for sample, text in zip(samples, cycle(prompts or ("",)), strict=False)],
        )
        for samples, prompts in texts
    )  # fmt: skip
    return shown, others


def noise_draws(definition: ConceptDefinition) -> int:
    """How often each given picture is noised."""
    return int(definition.parameters.get("noise_draws", 1))


def _as_asked(profile: ModelProfile, samples: Sequence[Sample]) -> list[Sample]:
    """The pictures under their own texts or, as finished pictures are checked, one that is mute."""
    if profile.task != CHECK:
        return list(samples)
    return [replace(sample, prompt=UNSAID) for sample in samples]


def pictures_without(
    definition: ConceptDefinition,
    samples: tuple[list[Sample], list[Sample]] | None,
    held: AnchorSet | None,
) -> int:
    """Number of pictures without the concept that a collection will have."""
    if samples is None:
        new = seeds_per_prompt(definition) * len(definition.near_misses + definition.benign)
    else:
        new = len(samples[1])
    return new + (benign_pictures(held) if held is not None else 0)


def _prompts(
    profile: ModelProfile, definition: ConceptDefinition
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Prompts for pictures with the concept and without, where they bring none of their own."""
    if profile.task == "edit":
        return definition.edits, definition.edits
    return definition.prompts, (*definition.near_misses, *definition.benign)
