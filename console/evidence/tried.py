"""A prompt that was tried: pictures with and without a ban and what was found, kept in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from concepts.bundle import Bundle
from concepts.digest import sha256
from concepts.errors import NotFoundError, UVRError
from concepts.files import read_bytes, write_file
from registry.store.home import TRIED
from uvr.anchors.pictures import read_picture
from uvr.pages.picture import png_bytes
from uvr.report import ConceptFinding, RegulationReport
from uvr.verdict import listed

GIVEN = TRIED / "given"
"""Where pictures to be edited wait for a worker, each named after the digest of its bytes."""
GIVEN_SIDE = 2048
"""Pixels on the longer side of such a picture at most; models edit far fewer."""
HEAT_MAPS = 6
"""Concepts with a heat map: those that were found, and then those that came closest."""
_ABOUT, _REPORT = "tried.json", "report.json"
_OUTCOMES = {
    "enforce": "found and regulated",
    "log": "found, and reported only",
    "shadow": "found, and tried silently",
}


@dataclass(frozen=True)
class About:
    """What was tried.

    Attributes:
        prompt: What was asked for; an instruction where a picture was given.
        seed: Of the noise.
        model: As ``load_pipeline`` takes it.
        bundle: Name of the bundle, or the concept of which one version was tried alone.
        number: Of the release, or of the version.
        alone: Whether it was one version alone.
        concepts: Slugs of all concepts that were looked for.
    """

    prompt: str
    seed: int
    model: str
    bundle: str
    number: int
    alone: bool
    concepts: tuple[str, ...]

    @property
    def subject(self) -> str:
        """What was tried, in words."""
        if self.alone:
            return f"{self.bundle}@{self.number} alone"
        return f"{self.bundle}@{self.number}"


@dataclass(frozen=True, eq=False)
class Tried:
    """What trying it showed.

    Attributes:
        about: What was tried.
        stock: The stock picture.
        regulated: The regulated one, from the same noise.
        given: The picture that was edited; None for a picture drawn from a text.
        report: Of the regulated picture.
        heat_maps: Where a concept was looked for over ``stock``, by slug, the surest first.
    """

    about: About
    stock: Image.Image
    regulated: Image.Image
    given: Image.Image | None
    report: RegulationReport
    heat_maps: Mapping[str, Image.Image]

    @property
    def findings(self) -> list[ConceptFinding]:
        """What was looked for: what was found first, and then what came closest."""
        return closest(self.report)

    @property
    def identical(self) -> bool:
        """Whether both pictures are the same to the bit."""
        return self.stock.size == self.regulated.size and bool(
            np.array_equal(np.asarray(self.stock), np.asarray(self.regulated))
        )

    @property
    def outline(self) -> NDArray[np.bool_] | None:
        """Patches in which anything was found, (rows, columns); None where nothing was."""
        masks = [item.mask for item in self.findings if item.fired]
        return np.logical_or.reduce(masks) if masks else None

    @property
    def said(self) -> str:
        """The verdict in a sentence."""
        if not self.report.looked:
            return "Nothing was looked for: it holds no concept for such pictures of this model."
        told = [
            f"{listed(names)} {'were' if len(names) > 1 else 'was'} {outcome}"
            for mode, outcome in _OUTCOMES.items()
            if (names := [item.name for item in self.findings if item.fired and item.mode == mode])
        ]
        found = "; ".join(told) or "Nothing banned was found"
        return f"{found}{', and the picture is the same to the bit' if self.identical else ''}."

    def to_dict(self) -> dict[str, Any]:
        """JSON form, without the pictures; of what was looked for only what was found."""
        names = ("slug", "version", "mode", "score", "threshold", "area")
        found = [{name: getattr(item, name) for name in names} for item in self.findings
                 if item.fired]  # fmt: skip
        return {**asdict(self.about), "said": self.said, "identical": self.identical,
                "found": found, "notes": self.report.notes}  # fmt: skip


def about_bundle(bundle: Bundle, *, alone: bool, **asked: Any) -> About:
    """Say what is tried by its bundle, which is a release's or one of a version alone."""
    members = {item.slug: item.version for variant in bundle.variants for item in variant.members}
    number = members[bundle.name] if alone else bundle.sequence
    return About(bundle=bundle.name, number=number, alone=alone, concepts=tuple(sorted(members)),
                 **asked)  # fmt: skip


def closest(report: RegulationReport) -> list[ConceptFinding]:
    """Return what was looked for in a report's only picture, the surest first."""
    found = [item for part in (report.images, report.shadow) for item in (part[0] if part else ())]
    return sorted(found, key=lambda item: (not item.fired, item.threshold - item.score))


def heat_maps_of(report: RegulationReport, picture: Image.Image) -> dict[str, Image.Image]:
    """Draw where the surest concepts were looked for, over a picture; a report keeps their maps."""
    shown = [item for item in closest(report) if item.scores is not None][:HEAT_MAPS]
    return {item.slug: report.overlay(picture, 0, item.slug) for item in shown}


def keep_tried(folder: Path, tried: Tried) -> None:
    """Write what was tried into a folder; what makes it readable comes last.

    Raises:
        OSError: It cannot be written.
    """
    pictures = {"stock": tried.stock, "regulated": tried.regulated}
    pictures |= {} if tried.given is None else {"given": tried.given}
    pictures |= {f"heat-map-{slug}": picture for slug, picture in tried.heat_maps.items()}
    for name, picture in pictures.items():
        write_file(folder / f"{name}.png", png_bytes(picture))
    write_file(folder / _REPORT, tried.report.to_json().encode())
    told = {**asdict(tried.about), "given": tried.given is not None,
            "heat_maps": list(tried.heat_maps)}  # fmt: skip
    write_file(folder / _ABOUT, json.dumps(told, indent=2).encode())


def read_tried(folder: Path) -> Tried:
    """Read what ``keep_tried`` wrote.

    Raises:
        NotFoundError: It is not there, or not whole: a cache may be emptied at any time.
    """
    try:
        told = json.loads(read_bytes(folder / _ABOUT))
        given, shown = told.pop("given"), told.pop("heat_maps")
        about = About(**{**told, "concepts": tuple(told["concepts"])})
        report = RegulationReport.load(folder / _REPORT)
        return Tried(
            about, read_picture(folder / "stock.png"), read_picture(folder / "regulated.png"),
            read_picture(folder / "given.png") if given else None, report,
            {slug: read_picture(folder / f"heat-map-{slug}.png") for slug in shown},
        )  # fmt: skip
    except (OSError, UVRError, ValueError, LookupError, TypeError) as error:
        raise NotFoundError(f"What was tried is no longer at '{folder}'. Try it again.") from error


def keep_given(home: Path, picture: Image.Image) -> Path:
    """Keep a picture that a worker is to edit; return its whole path.

    Raises:
        OSError: It cannot be written.
    """
    small = Image.new("RGB", picture.size)
    small.paste(picture)  # The pixels alone: files tell where and by whom they were made.
    small.thumbnail((GIVEN_SIDE, GIVEN_SIDE), Image.Resampling.LANCZOS)
    data = png_bytes(small)
    path = home.resolve() / GIVEN / f"{sha256(data)}.png"
    write_file(path, data)
    return path
