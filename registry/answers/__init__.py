"""What the registry answers with: plain frozen dataclasses, so that rows stay inside."""

from registry.answers.changes import Coverage, Difference, Gap, NewRelease
from registry.answers.concepts import ConceptDetail, ConceptInfo, ConceptStanding
from registry.answers.live import LivePlace
from registry.answers.releases import RaisedThreshold, ReleasedMember, ReleaseInfo, ReleaseSummary
from registry.answers.reviews import RequestInfo, ReviewInfo
from registry.answers.search import NEAR_DISTANCE, LookedAt, Overlap, SearchHit, SpaceInfo
from registry.answers.versions import (
    EvaluationInfo,
    VersionDetail,
    VersionInfo,
    VersionSpace,
    no_version,
)

__all__ = [
    "NEAR_DISTANCE", "ConceptDetail", "ConceptInfo", "ConceptStanding", "Coverage",
    "Difference", "EvaluationInfo", "Gap", "LivePlace", "LookedAt", "NewRelease", "Overlap",
    "RaisedThreshold", "ReleaseInfo", "ReleaseSummary", "ReleasedMember", "RequestInfo",
    "ReviewInfo", "SearchHit", "SpaceInfo", "VersionDetail", "VersionInfo", "VersionSpace",
    "no_version",
]  # fmt: skip
