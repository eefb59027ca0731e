"""What the check says of one finished picture, and its JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
