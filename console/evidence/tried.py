"""What was tried: a prompt, drawn regulated and not, or a picture checked; kept in a folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
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
from uvr.checked_picture import CheckedPicture
from uvr.pages.picture import png_bytes
from uvr.report import ConceptFinding, RegulationReport, heat_map
from uvr.verdict import listed

GIVEN = TRIED / "given"
"""Where pictures that are given wait for a worker, each named after the digest of its bytes."""
GIVEN_SIDE = 2048
"""Pixels on the longer side of such a picture at most; models edit far fewer."""
HEAT_MAPS = 6
"""Concepts with a heat map: those that were found, and then those that came closest."""
NOTHING_LOOKED_FOR = "Nothing was looked for: it holds no concept for such pictures of this model."
FATES = {
    "untouched": "An engine with this check would deliver it.",
    "flagged": "An engine with this check would deliver it flagged, draw it again, or put a grey "
    "one in its place, as its host chose.",
}
"""What would become of a picture, by the outcome of its check."""
UNCHECKED = (
    "What a check of the finished pictures would say is not known: for that this model has no "
    "examples of it (`uvr-registry collect-anchors SLUG --task check`)."
)
_ABOUT, _REPORT, _CHECKS = "tried.json", "report.json", "checks.json"
_OUTCOMES = {
    "enforce": "found and regulated",
    "log": "found, and reported only",
    "shadow": "found, and tried silently",
}


@dataclass(frozen=True)
class About:
    """What was tried.

    Attributes:
        prompt: What was asked for; an instruction where a picture was given, and "" where that was
            only checked.
        seed: Of the noise; a check needs none.
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
        pictures: By their names: "given" is there where one was to be edited or checked, "stock"
            and "regulated", from the same noise, where a prompt was drawn.
        report: Of the regulated picture; None where nothing was drawn.
        checks: What the check says of finished pictures, by the picture's name; empty where the
            bundle holds nothing for it.
        heat_maps: Where a concept was looked for, by slug, the surest first: over "stock", or over
            the picture that was only checked.
    """

    about: About
    pictures: Mapping[str, Image.Image]
    report: RegulationReport | None
    checks: Mapping[str, CheckedPicture]
    heat_maps: Mapping[str, Image.Image]

    @property
    def findings(self) -> list[ConceptFinding]:
        """What was looked for: what was found first, and then what came closest."""
        found = _looked_for(self.report) if self.report else self.checks["given"].findings
        return closest(found)

    @property
    def checked(self) -> list[tuple[ConceptFinding, ...]]:
        """What the check looked for, the surest first: a finding in each picture of ``checks``."""
        rows = zip(*(item.findings for item in self.checks.values()), strict=True)
        return sorted(rows, key=lambda row: min(map(_rank, row)))

    @property
    def unchecked(self) -> list[str]:
        """Slugs of concepts that the check did not look for."""
        known = {row[0].slug for row in self.checked}
        return [slug for slug in self.about.concepts if slug not in known]

    @property
    def fates(self) -> list[str]:
        """What the check says of finished pictures, and what would become of them."""
        if not self.checks:
            return [UNCHECKED]
        titles = {"given": "", "stock": "Not regulated: ", "regulated": f"{self.other}: "}
        told = [
            titles[name] + (f"{item.verdict.reason} " if self.report else "")
            + FATES[item.verdict.outcome]
            for name, item in self.checks.items()
        ]  # fmt: skip
        names = {item.slug: item.name for item in self.findings}
        left = listed([names.get(slug, slug) for slug in self.unchecked])
        return [*told, f"The check does not look for {left}."] if left else told

    @property
    def identical(self) -> bool:
        """Whether the regulated picture and the stock one are the same to the bit."""
        stock, regulated = (self.pictures.get(name) for name in ("stock", "regulated"))
        if stock is None or regulated is None:
            return False
        return bool(np.array_equal(np.asarray(stock), np.asarray(regulated)))

    @property
    def other(self) -> str:
        """What the picture beside the stock one is: regulated only if that changed it."""
        if not self.identical:
            return "Regulated"
        return f"With the {'version' if self.about.alone else 'release'}"

    @property
    def outline(self) -> NDArray[np.bool_] | None:
        """Patches in which anything was found, (rows, columns); None where nothing was."""
        masks = [item.mask for item in self.findings if item.fired]
        return np.logical_or.reduce(masks) if masks else None

    @property
    def said(self) -> str:
        """The verdict in a sentence."""
        if self.report is None:
            verdict = self.checks["given"].verdict
            return verdict.reason if self.about.concepts or verdict.evidence else NOTHING_LOOKED_FOR
        if not self.report.looked:
            return NOTHING_LOOKED_FOR
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
        checked = {name: item.verdict.to_dict() for name, item in self.checks.items()}
        return {**asdict(self.about), "said": self.said,
                "identical": self.identical if self.report else None,
                "found": found, "checked": checked, "unchecked": self.unchecked,
                "notes": self.report.notes if self.report else []}  # fmt: skip


def about_bundle(bundle: Bundle, *, alone: bool, **asked: Any) -> About:
    """Say what is tried by its bundle, which is a release's or one of a version alone."""
    members = {item.slug: item.version for variant in bundle.variants for item in variant.members}
    number = members[bundle.name] if alone else bundle.sequence
    return About(bundle=bundle.name, number=number, alone=alone, concepts=tuple(sorted(members)),
                 **asked)  # fmt: skip


def closest(findings: Iterable[ConceptFinding]) -> list[ConceptFinding]:
    """Sort what was looked for: what was found first, and then what came closest."""
    return sorted(findings, key=_rank)


def _rank(item: ConceptFinding) -> tuple[bool, float]:
    return not item.fired, item.threshold - item.score


def _looked_for(report: RegulationReport) -> list[ConceptFinding]:
    """What was looked for in a report's only picture."""
    return [item for part in (report.images, report.shadow) for item in (part[0] if part else ())]


def heat_maps_of(
    found: RegulationReport | CheckedPicture, picture: Image.Image
) -> dict[str, Image.Image]:
    """Draw where the surest concepts were looked for, over a picture.

    Args:
        found: What keeps the score maps: read from a file it has none.
        picture: What they are drawn over.
    """
    findings = found.findings if isinstance(found, CheckedPicture) else _looked_for(found)
    shown = [item for item in closest(findings) if item.scores is not None][:HEAT_MAPS]
    return {item.slug: heat_map(picture, item) for item in shown}


def keep_tried(folder: Path, tried: Tried) -> None:
    """Write what was tried into a folder; what makes it readable comes last.

    Raises:
        OSError: It cannot be written.
    """
    maps = {f"heat-map-{slug}": picture for slug, picture in tried.heat_maps.items()}
    for name, picture in {**tried.pictures, **maps}.items():
        write_file(folder / f"{name}.png", png_bytes(picture))
    if tried.report is not None:
        write_file(folder / _REPORT, tried.report.to_json().encode())
    checks = {name: item.to_dict() for name, item in tried.checks.items()}
    write_file(folder / _CHECKS, json.dumps(checks, indent=2).encode())
    told = {**asdict(tried.about), "pictures": list(tried.pictures),
            "heat_maps": list(tried.heat_maps)}  # fmt: skip
    write_file(folder / _ABOUT, json.dumps(told, indent=2).encode())


def read_tried(folder: Path) -> Tried:
    """Read what ``keep_tried`` wrote.

    Raises:
        NotFoundError: It is not there, or not whole: a cache may be emptied at any time.
    """
    try:
        told = json.loads(read_bytes(folder / _ABOUT))
        pictures, shown = told.pop("pictures"), told.pop("heat_maps")
        about = About(**{**told, "concepts": tuple(told["concepts"])})
        checks = json.loads(read_bytes(folder / _CHECKS))
        return Tried(
            about, {name: read_picture(folder / f"{name}.png") for name in pictures},
            RegulationReport.load(folder / _REPORT) if "regulated" in pictures else None,
            {name: CheckedPicture.from_dict(item) for name, item in checks.items()},
            {slug: read_picture(folder / f"heat-map-{slug}.png") for slug in shown},
        )  # fmt: skip
    except (OSError, UVRError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise NotFoundError(f"What was tried is no longer at '{folder}'. Try it again.") from error


def keep_given(home: Path, picture: Image.Image) -> Path:
    """Keep a picture that a worker is to edit or check; return its whole path.

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
