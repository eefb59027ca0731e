"""What the check says of one finished picture, and its JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uvr.report import ConceptFinding
from uvr.verdict import Verdict


@dataclass(frozen=True)
class CheckedPicture:
    """What the check says of one picture.

    Attributes:
        verdict: "flagged" where something enforced was found, else "untouched".
        findings: Of its features; empty without a check by features.
        space: Digest of the anchor space that their features are of, "" without.
    """

    verdict: Verdict
    findings: list[ConceptFinding] = field(repr=False)
    space: str

    @property
    def outline(self) -> NDArray[np.bool_] | None:
        """Patches in which anything was found, (rows, columns); None where nothing was."""
        masks = [item.mask for item in self.findings if item.fired]
        return np.logical_or.reduce(masks) if masks else None

    def to_dict(self) -> dict[str, Any]:
        """JSON form, without score maps."""
        return {
            "verdict": self.verdict.to_dict(),
            "findings": [item.to_dict() for item in self.findings],
            "space": self.space,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CheckedPicture:
        """Read the JSON form; ValueError, LookupError or TypeError for anything else."""
        findings = [ConceptFinding.from_dict(item) for item in data["findings"]]
        return cls(Verdict.from_dict(data["verdict"]), findings, data["space"])
