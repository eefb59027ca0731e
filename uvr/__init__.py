"""Visual safety regulation for diffusers pipelines: find banned concepts early, keep them out.

The public names load on first use, so that ``import uvr`` does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uvr.decisions.decision import Decision, named_request
    from uvr.decisions.log import DecisionLog
    from uvr.engine.attachment import Attachment
    from uvr.engine.check import FeatureCheck
    from uvr.engine.regulated_pipeline import RegulatedPipeline
    from uvr.engine.regulator import Regulator, fits
    from uvr.families.family import Family
    from uvr.families.known import profile_for, register_family
    from uvr.judges.judge import Judge
    from uvr.metrics import Metrics
    from uvr.profiles import ModelProfile
    from uvr.report import RegulationReport
    from uvr.verdict import Verdict

__all__ = [
    "Attachment",
    "Decision",
    "DecisionLog",
    "Family",
    "FeatureCheck",
    "Judge",
    "Metrics",
    "ModelProfile",
    "RegulatedPipeline",
    "RegulationReport",
    "Regulator",
    "Verdict",
    "fits",
    "named_request",
    "profile_for",
    "register_family",
]

_HOMES = {
    "Attachment": "uvr.engine.attachment",
    "Decision": "uvr.decisions.decision",
    "DecisionLog": "uvr.decisions.log",
    "Family": "uvr.families.family",
    "FeatureCheck": "uvr.engine.check",
    "Judge": "uvr.judges.judge",
    "Metrics": "uvr.metrics",
    "ModelProfile": "uvr.profiles",
    "RegulatedPipeline": "uvr.engine.regulated_pipeline",
    "RegulationReport": "uvr.report",
    "Regulator": "uvr.engine.regulator",
    "Verdict": "uvr.verdict",
    "fits": "uvr.engine.regulator",
    "named_request": "uvr.decisions.decision",
    "profile_for": "uvr.families.known",
    "register_family": "uvr.families.known",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'uvr' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
