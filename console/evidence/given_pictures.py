"""Given pictures that are kept: read from a file, shown with their masks, and what they cover.

Nothing here loads a model. What is compared of a picture is kept in a cache that may be deleted at
any time, named after the picture so that it goes with it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from concepts.digest import sha256
from concepts.errors import InputError, UVRError
from concepts.files import read_bytes, write_file
from registry.answers import VersionDetail, VersionSpace
from registry.registry import Registry
from registry.store.home import SCORED
from registry.versions.kept_exemplar import GivenPicture, KeptExemplar
from uvr.anchors.coverage import Coverage, Facts, coverage_of, facts_of, repeats
from uvr.anchors.given_pictures import box_mask, kept_pixels, mask_bytes, read_mask
from uvr.anchors.pictures import decode_picture
from uvr.examples.bare_scores import ScoresAlone, wanted_given
from uvr.examples.wanted import Wanted
from uvr.sample import Sample

FACTS = SCORED / "facts"


@dataclass(frozen=True, eq=False)
class GivenSet:
    """The given pictures of a concept, and what those that are collected from cover.

    Attributes:
        pictures: All that are kept, oldest first.
        facts: What is compared of each that can be read, by number.
        coverage: Of those that are collected from.
        repeats: Groups of pictures that repeat each other, by number, of those too.
    """

    pictures: Sequence[KeptExemplar]
    facts: dict[int, Facts]
    coverage: Coverage
    repeats: Sequence[tuple[int, ...]]

    def like(self, number: int) -> list[int]:
        """Numbers of the pictures that one repeats."""
        return [other for group in self.repeats if number in group for other in group
                if other != number]  # fmt: skip


@dataclass(frozen=True)
class Verdicts:
    """What a version makes of the given pictures in one use of a model.

    Attributes:
        space: Model, task and threshold.
        scores: Of each picture that was scored, by number; score >= threshold is caught.
        lacking: How many were not scored yet by what scores this version's pictures now.
        learned: How many it was collected from, which flatters it.
    """

    space: VersionSpace
    scores: Mapping[int, float]
    lacking: int
    learned: int

    def caught(self, number: int) -> bool | None:
        """Whether it catches a picture; None where it was not scored."""
        score = self.scores.get(number)
        if score is None:
            return None
        return bool(np.float32(score) >= np.float32(self.space.seed_threshold))

    def wrongly_caught(self, pictures: Sequence[KeptExemplar]) -> list[int]:
        """Numbers of the pictures without the concept that it catches."""
        return [item.id for item in pictures if item.benign and self.caught(item.id)]

    def missed(self, pictures: Sequence[KeptExemplar]) -> list[int]:
        """Numbers of the pictures that show the concept and that it does not catch."""
        return [item.id for item in pictures if not item.benign and self.caught(item.id) is False]


@dataclass(frozen=True, eq=False)
class KeptSamples:
    """Kept pictures to collect from.

    Attributes:
        shown: Those that show the concept, with their masks.
        benign: Those that do not.
        used: What is known of all of these.
        left_out: Numbers of those that would show it, and say nowhere where.
    """

    shown: Sequence[Sample]
    benign: Sequence[Sample]
    used: Sequence[KeptExemplar]
    left_out: Sequence[int]


def given_picture(data: bytes, name: str, mask: bytes | None = None) -> GivenPicture:
    """Decode a file that somebody gives to be kept, and perhaps its mask.

    Raises:
        PictureError: One of them is no picture, or too large, or their sizes differ.
    """
    return GivenPicture(sha256(data), *kept_pixels(data, name, mask))


def open_kept(registry: Registry, item: KeptExemplar) -> tuple[Image.Image, Image.Image | None]:
    """Read a kept picture and its mask; NotFoundError or VerificationError as ``files`` raises."""
    picture, mask = registry.exemplars.files(item)
    name = f"Picture {item.id}"
    return (
        decode_picture(io.BytesIO(picture), name),
        None if mask is None else decode_picture(io.BytesIO(mask), f"The mask of {name}", "L"),
    )


def new_mask(
    registry: Registry, number: int, data: bytes | None, box: Sequence[float] | None = None
) -> bytes:
    """Return the mask of a kept picture as it is kept.

    Args:
        registry: The registry.
        number: The picture's.
        data: A file of its size, white where it shows the concept; None to take the box.
        box: Left, top, width and height as shares of the picture.

    Raises:
        NotFoundError: There is no such picture, or its file is not here.
        PictureError: It is no picture, or of another size.
        InputError: The box lies outside of the picture, or neither is given.
    """
    picture, _ = open_kept(registry, registry.exemplars.one(number))
    if data is not None:
        return mask_bytes(read_mask(data, picture.size, "The mask"))
    left, top, width, height = box or (0, 0, 0, 0)
    if not (width > 0 and height > 0 and left + width <= 1.001 and top + height <= 1.001):
        raise InputError("A box needs a width and a height, and must end within the picture.")
    return mask_bytes(box_mask(picture.size, (left, top, width, height)))


def given_set(registry: Registry, slug: str) -> GivenSet:
    """Return what is kept of a concept, and what it covers; NotFoundError for no such concept."""
    pictures = registry.exemplars.kept(slug)
    facts = {item.id: found for item in pictures if (found := _facts(registry, item)) is not None}
    used = [item for item in pictures if item.usable and item.id in facts]
    shown = [facts[item.id] for item in used if not item.benign]
    return GivenSet(
        pictures, facts, coverage_of(shown, sum(item.benign for item in used)),
        # What looks like it and is none is worth having twice over.
        [group for benign in (False, True) for group in
         repeats({item.id: facts[item.id] for item in used if item.benign is benign})],
    )  # fmt: skip


def kept_samples(registry: Registry, slug: str) -> KeptSamples:
    """Read the pictures of a concept that are collected from.

    Those that were left out, whose time is over or that are not here are none of them.

    Raises:
        NotFoundError: There is no such concept.
        VerificationError: A file is not the one that was kept.
    """
    shown: list[Sample] = []
    benign: list[Sample] = []
    used: list[KeptExemplar] = []
    left_out: list[int] = []
    for item in registry.exemplars.kept(slug):
        if not item.usable:
            continue
        picture, mask = open_kept(registry, item)
        if not item.benign and (mask is None or mask.getbbox() is None):
            left_out.append(item.id)
            continue
        sample = Sample(picture, mask, name=f"picture {item.id} of {slug}")
        (benign if item.benign else shown).append(sample)
        used.append(item)
    return KeptSamples(shown, benign, used, left_out)


def verdicts_of(
    registry: Registry, detail: VersionDetail, pictures: Sequence[KeptExemplar]
) -> list[Verdicts]:
    """Read what a version makes of given pictures, as far as a worker scored them."""
    scores, slug = ScoresAlone(registry.home / SCORED), detail.version.slug
    references, found = registry.exemplars.list(slug), []
    for space in detail.version.spaces:
        scorer = registry.versions.scorer(slug, space.digest, detail.version.number)
        known = {
            item.id: score
            for item in pictures
            if (score := scores.score(wanted_of(item, detail, space), scorer)) is not None
        }
        lacking = sum(item.readable and item.id not in known for item in pictures)
        learned = {one.ref.sha256 for one in references if one.anchor_set == space.anchor_set}
        seen = sum(item.sha256 in learned for item in pictures)
        found.append(Verdicts(space, known, lacking, seen))
    return found


def wanted_of(
    item: KeptExemplar, detail: VersionDetail, space: VersionSpace, size: tuple[int, int] = (0, 0)
) -> Wanted:
    """Name a kept picture as a version looks at it; see ``wanted_given``."""
    words, task = detail.definition, space.space.task
    texts = (*words.near_misses, *words.benign) if item.benign else words.prompts
    return wanted_given(
        item.picture, benign=item.benign, space=space.digest, task=task,
        prompts=words.edits if task == "edit" else texts, size=size,
    )  # fmt: skip


def _facts(registry: Registry, item: KeptExemplar) -> Facts | None:
    """Return what is compared of a picture; None where it cannot be read."""
    place = _facts_place(registry.home, item)
    try:
        return Facts.from_dict(json.loads(read_bytes(place)))
    except (OSError, LookupError, TypeError, ValueError):
        pass
    try:
        found = facts_of(*open_kept(registry, item))
    except UVRError:
        return None
    with suppress(OSError):  # It is looked at again next time.
        write_file(place, json.dumps(found.to_dict()).encode())
    return found


def _facts_place(home: Path, item: KeptExemplar) -> Path:
    mask = "none" if item.mask is None else item.mask[:32]
    return home / FACTS / f"{item.picture}.{mask}.json"
