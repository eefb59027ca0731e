"""What a regulated generation found: per picture and concept, as JSON and as a heat map."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from concepts.errors import InputError, NotFoundError
from uvr.verdict import Verdict

_NAMES = ("slug", "name", "version", "mode", "enforced", "fired", "step")
_NUMBERS = ("sigma", "score", "threshold", "area")
_HEADER = (
    "request", "time", "bundle", "sequence", "digest", "profile", "model", "task", "space",
    "bundle_state",
    "rewound", "looked", "passes", "extra_passes", "notes",
)  # fmt: skip
_FINDINGS = ("images", "shadow", "checks")


@dataclass(frozen=True)
class ConceptFinding:
    """One concept in one picture, decided once, at the look step.

    Attributes:
        slug: The concept.
        name: Its display name.
        version: Version number in the registry.
        mode: "enforce", or "log" or "shadow" when it is reported and not regulated: because the
            release says so, it is disabled for a time, or this host let it through.
        fired: Whether a patch reached the threshold.
        step: Number of the look step in the schedule.
        sigma: Its noise level.
        score: Highest patch score.
        threshold: "score >= threshold is a match".
        area: Share of the picture's patches under the mask, 0 to 1.
        mask: (rows, columns), bool.
        scores: (rows, columns), float32; None for most of the concepts that did not fire, see
            ``uvr.engine.look.NEAREST_MAPS``.
        feature: Feature at the taps of the patch that scored highest, (dim,), float16; None when
            nothing fired. The registry names the anchors that are nearest to it.
    """

    slug: str
    name: str
    version: int
    mode: str
    fired: bool
    step: int
    sigma: float
    score: float
    threshold: float
    area: float
    mask: NDArray[np.bool_] = field(repr=False)
    scores: NDArray[np.float32] | None = field(repr=False)
    feature: NDArray[np.float16] | None = field(default=None, repr=False)

    @property
    def enforced(self) -> bool:
        """Whether the patches under the mask were regulated."""
        return self.mode == "enforce"

    def to_dict(self) -> dict[str, Any]:
        """JSON form; the mask as rows of 0 and 1, a feature in base64, without the score map."""
        plain = {name: getattr(self, name) for name in _NAMES}
        plain |= {name: round(float(getattr(self, name)), 6) for name in _NUMBERS}
        rows = ["".join("1" if cell else "0" for cell in row) for row in self.mask]
        feature = {} if self.feature is None else {"feature": encode_feature(self.feature)}
        return {**plain, "mask": rows, **feature}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ConceptFinding:
        """Read the JSON form; ValueError, LookupError or TypeError for anything else."""
        feature = data.get("feature")
        return cls(
            **{name: data[name] for name in (*_NAMES, *_NUMBERS) if name != "enforced"},
            mask=np.array([[cell == "1" for cell in row] for row in data["mask"]], dtype=bool),
            scores=None,
            feature=None if feature is None else decode_feature(feature).astype(np.float16),
        )


@dataclass
class RegulationReport:
    """One call of a regulated pipeline.

    Attributes:
        bundle: Name of the bundle.
        sequence: Release number.
        digest: Digest of the bundle.
        profile: Name of the model profile.
        space: Digest of the anchor space that the features are of, "" when the bundle is empty.
        bundle_state: "ok"; "stale" or "degraded" when the bundle's source could not confirm it.
        rewound: Whether the steps before the look were run again, regulated.
        looked: False when the call ended before its look step.
        passes: Transformer passes of the pipeline's own; true CFG makes two a step.
        extra_passes: Passes beyond those: of steps that ran again, regulated, with the look step
            itself; of the check, one a picture; and of pictures that were drawn again.
        images: For each picture of the batch, its findings in the bundle's order of concepts.
        shadow: The same for concepts in shadow mode, which count nowhere else.
        checks: The same for the pictures as they were drawn first, by a check of their features;
            empty without one.
        verdicts: What became of each picture.
        notes: Anything a reader should know about this call.
        model: Name of the model in anchor spaces.
        task: "t2i" or "edit".
        request: Name of the call; see ``uvr.named_request``.
        time: When the call ended.
        seconds: Of the "call" and of parts of it: the "look", the "rewind" with the look step
            regulated, and the "check" with pictures that were drawn again.
    """

    bundle: str
    sequence: int
    digest: str
    profile: str
    space: str = ""
    bundle_state: str = "ok"
    rewound: bool = False
    looked: bool = False
    passes: int = 0
    extra_passes: int = 0
    images: list[list[ConceptFinding]] = field(default_factory=list)
    shadow: list[list[ConceptFinding]] = field(default_factory=list)
    checks: list[list[ConceptFinding]] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    model: str = ""
    task: str = ""
    request: str = ""
    time: str = ""
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def fired(self) -> bool:
        """Whether any concept fired in any picture, regulated or only reported."""
        return any(finding.fired for findings in self.images for finding in findings)

    def fired_in(self, index: int) -> list[str]:
        """Slugs of the concepts that fired in one picture."""
        return [finding.slug for finding in self.images[index] if finding.fired]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        header = {name: getattr(self, name) for name in _HEADER}
        header["seconds"] = {name: round(value, 4) for name, value in self.seconds.items()}
        found = {
            name: [[finding.to_dict() for finding in findings] for findings in getattr(self, name)]
            for name in _FINDINGS
        }
        verdicts = [verdict.to_dict() for verdict in self.verdicts]
        return {**header, "fired": self.fired, "verdicts": verdicts, **found}

    def to_json(self) -> str:
        """JSON text."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def save(self, path: Path | str) -> None:
        """Write the report as JSON."""
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: Path | str) -> RegulationReport:
        """Read what ``save`` wrote; a report keeps no score maps.

        Raises:
            NotFoundError: If there is no such file.
            InputError: If it is not a report.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_bytes()))
        except FileNotFoundError as error:
            raise NotFoundError(f"No report at '{path}'.") from error
        except (ValueError, LookupError, TypeError) as error:
            raise InputError(
                f"'{path}' is not a report; one that `generate`, `edit` or "
                "`RegulationReport.save` wrote is expected."
            ) from error

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RegulationReport:
        """Read the JSON form; ValueError, LookupError or TypeError for anything else."""
        # Reports of 0.2.0 have none of these.
        lacking = {"checks": [], "verdicts": [], "passes": 0, "extra_passes": 0, "seconds": {}}
        texts = dict.fromkeys(("model", "task", "request", "time"), "")
        data = {**lacking, **texts, **data}
        images, shadow, checks = (
            [[ConceptFinding.from_dict(item) for item in findings] for findings in data[part]]
            for part in _FINDINGS
        )
        return cls(
            **{name: data[name] for name in _HEADER},
            seconds=dict(data["seconds"]),
            images=images,
            shadow=shadow,
            checks=checks,
            verdicts=[Verdict.from_dict(item) for item in data["verdicts"]],
        )

    def fired_findings(self) -> Iterator[tuple[int, ConceptFinding]]:
        """Yield what fired, shadow concepts last, each with the number of its picture."""
        for part in (self.images, self.shadow):
            for picture, findings in enumerate(part):
                yield from ((picture, finding) for finding in findings if finding.fired)

    def overlay(self, image: Image.Image, index: int, concept: str | None = None) -> Image.Image:
        """Draw how strongly each patch matched over a picture, and outline the mask.

        Args:
            image: The picture, at any size.
            index: Its place in the batch.
            concept: A slug; the strongest concept in the picture by default.

        Raises:
            NotFoundError: The report has no such concept, or kept no score map of it: it keeps
                those of all that fired, and of the few others that came closest.
        """
        finding = self._finding(index, concept)
        if finding is None:
            return image.convert("RGB")
        return heat_map(image, finding)

    def _finding(self, index: int, concept: str | None) -> ConceptFinding | None:
        parts = (self.images, self.shadow) if concept else (self.images,)
        findings = [found for part in parts if index < len(part) for found in part[index]]
        if concept is None:
            return max(findings, key=lambda f: (f.fired, f.score - f.threshold), default=None)
        for finding in findings:
            if finding.slug == concept:
                return finding
        raise NotFoundError(f"The report of picture {index} has no concept {concept!r}.")


def encode_feature(feature: NDArray[np.float16]) -> str:
    """Encode a feature as base64 of little-endian float16."""
    return base64.b64encode(feature.astype("<f2").tobytes()).decode()


def decode_feature(text: str) -> NDArray[np.float32]:
    """Decode ``encode_feature``, (dim,); ValueError for text that is none."""
    data = base64.b64decode(text, validate=True)
    if not data or len(data) % 2:
        raise ValueError(f"a feature of float16 numbers cannot have {len(data)} bytes")
    return np.frombuffer(data, dtype="<f2").astype(np.float32)


def heat_map(image: Image.Image, finding: ConceptFinding) -> Image.Image:
    """Blend a finding over a picture: grey picture, red where it matched, mask outlined.

    Raises:
        NotFoundError: The report kept no score map of this concept.
    """
    if finding.scores is None:
        raise NotFoundError(
            f"The report has no score map of {finding.slug!r}: it did not fire, and others came "
            f"closer. Its score is {finding.score:.4g}, its threshold {finding.threshold:.4g}."
        )
    width, height = image.size
    picture = np.asarray(image.convert("RGB"), dtype=np.float32)
    grey = picture.mean(axis=2, keepdims=True) * 0.5 + picture * 0.2 + 60
    scale = max(abs(finding.threshold), 1e-6)
    heat = np.clip(finding.scores / scale, 0, 1.5).astype(np.float32) / 1.5
    smooth = Image.fromarray(heat).resize((width, height), Image.Resampling.BILINEAR)
    alpha = np.asarray(smooth)[:, :, None] * 0.85
    blended = grey * (1 - alpha) + np.array([235.0, 40.0, 20.0], dtype=np.float32) * alpha
    blended[_outline(finding.mask, height, width)] = (255, 255, 0)
    return Image.fromarray(np.clip(blended, 0, 255).astype(np.uint8))


def _outline(mask: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """Pixels of the mask that touch something outside of it."""
    nearest = Image.fromarray(mask.astype(np.uint8)).resize((width, height), Image.Resampling(0))
    inside = np.asarray(nearest).astype(bool)
    padded = np.pad(inside, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    edge: NDArray[np.bool_] = inside & ~core
    return edge
