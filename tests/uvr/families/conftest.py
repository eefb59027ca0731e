"""Leaves out what the installed release has no classes for; checks that hold for every family."""

from __future__ import annotations

from collections.abc import Callable

import diffusers
import torch
from packaging.version import Version

from uvr.report import RegulationReport

# FLUX.2's klein came with 0.37, the one that caches its references with 0.38.
collect_ignore = ["test_flux2.py"] if Version(diffusers.__version__) < Version("0.38") else []


def assert_only_one_changes(
    stock: torch.Tensor, regulated: Callable[[float], tuple[torch.Tensor, RegulationReport]]
) -> RegulationReport:
    """Regulate with a threshold that one of three pictures reaches: the others stay to the bit."""
    _, report = regulated(1e9)
    scores = sorted(findings[0].score for findings in report.images)
    latents, report = regulated((scores[-1] + scores[-2]) / 2)
    fired = [bool(report.fired_in(index)) for index in range(3)]
    same = [torch.equal(a, b) for a, b in zip(stock, latents, strict=True)]
    assert sum(fired) == 1
    assert same == [not hit for hit in fired]
    return report
