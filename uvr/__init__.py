"""Visual safety regulation for diffusers pipelines: find banned concepts early, keep them out.

The public names load on first use, so that ``import uvr`` does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uvr.engine.attachment import Attachment
    from uvr.engine.check import FeatureCheck
    from uvr.engine.regulated_pipeline import RegulatedPipeline
    from uvr.engine.regulator import Regulator, fits
    from uvr.families.family import Family
    from uvr.families.known import profile_for, register_family
    from uvr.judges.judge import Judge
    from uvr.profiles import ModelProfile
    from uvr.report import RegulationReport
    from uvr.verdict import Verdict
    from uvr.verdict_log import VerdictLog

__all__ = [
    "Attachment",
    "Family",
    "FeatureCheck",
    "Judge",
    "ModelProfile",
    "RegulatedPipeline",
    "RegulationReport",
    "Regulator",
    "Verdict",
    "VerdictLog",
    "fits",
    "profile_for",
    "register_family",
]

_HOMES = {
    "Attachment": "uvr.engine.attachment",
    "Family": "uvr.families.family",
    "FeatureCheck": "uvr.engine.check",
    "Judge": "uvr.judges.judge",
    "ModelProfile": "uvr.profiles",
    "RegulatedPipeline": "uvr.engine.regulated_pipeline",
    "RegulationReport": "uvr.report",
    "Regulator": "uvr.engine.regulator",
    "Verdict": "uvr.verdict",
    "VerdictLog": "uvr.verdict_log",
    "fits": "uvr.engine.regulator",
    "profile_for": "uvr.families.known",
    "register_family": "uvr.families.known",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'uvr' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
