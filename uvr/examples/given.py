"""Example pictures that someone gives: reference art, which lies in no cache."""

from __future__ import annotations

from pathlib import Path

from concepts.anchors import AnchorSpace
from concepts.definition import ConceptDefinition
from concepts.digest import sha256
from concepts.files import read_bytes
from uvr.anchors.kinds import NEAR_MISS
from uvr.anchors.pictures import read_samples
from uvr.examples.wanted import BENIGN, GIVEN, LOOK_ALIKE, MUST_CATCH, Wanted
from uvr.sample import Sample

Given = list[tuple[Wanted, Sample]]


def read_given(
    images: Path,
    benign: Path,
    definition: ConceptDefinition,
    space: AnchorSpace,
    size: tuple[int, int],
) -> Given:
    """Read the pictures of two folders, as collecting does.

    Args:
        images: Pictures that show the concept; masks beside them are optional here.
        benign: Pictures without it; those in a folder "near-miss" inside are look-alikes.
        definition: Its prompts, or for editing its instructions, go with pictures without a text.
        space: The anchor space that they are looked at in.
        size: Height and width in pixels at which they are looked at.

    Raises:
        NotFoundError: There is no such folder.
        PictureError: A file is no picture.
    """
    edits = definition.edits if space.task == "edit" else ()
    shown = read_samples(images, edits or definition.prompts)
    others = read_samples(benign, edits or (*definition.near_misses, *definition.benign))
    pairs = [(MUST_CATCH, sample) for sample in shown]
    pairs += [(LOOK_ALIKE if s.kind == NEAR_MISS else BENIGN, s) for s in others]
    return [
        (_wanted(kind, sample, number, space, size), sample)
        for number, (kind, sample) in enumerate(pairs)
    ]


def file_digest(sample: Sample) -> str:
    """SHA-256 of a given picture's file, as the registry records it."""
    return sha256(read_bytes(Path(sample.name)))


def _wanted(
    kind: str, sample: Sample, number: int, space: AnchorSpace, size: tuple[int, int]
) -> Wanted:
    return Wanted(
        kind=kind, source=GIVEN, space=space.digest, task=space.task, prompt=sample.prompt,
        slug=sample.name, number=number, seed=0, steps=0, size=size,
    )  # fmt: skip
