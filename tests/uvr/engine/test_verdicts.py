"""Verdicts on pictures, from what was found in them."""

import numpy as np
import pytest

from uvr.engine.verdicts import Course, verdict_of
from uvr.report import ConceptFinding, RegulationReport


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["Pistol"], "Pistol was found at the look, and its place was filled in."),
        (
            ["Pistol", "Red mushroom"],
            "Pistol and Red mushroom were found at the look, and their places were filled in.",
        ),
    ],
)
def test_a_reason_speaks_of_one_place_or_of_several(names, reason):
    mask = np.ones((2, 2), bool)
    findings = [
        ConceptFinding(name.lower(), name, 1, "enforce", True, 1, 0.9, 3.0, 2.0, 1.0, mask, None)
        for name in names
    ]
    report = RegulationReport("demo", 1, "f" * 64, "tiny", images=[findings], shadow=[[]])
    assert verdict_of(report, Course(0)).reason == reason
