"""Tables of the registry, a module by noun; rows never leave `registry`."""

from registry.store.models.anchors import AnchorSetRow, AnchorSpaceRow, SourceRefRow
from registry.store.models.audit import AuditCheckpoint, AuditEventRow
from registry.store.models.base import Base
from registry.store.models.channels import Channel, ChannelMove
from registry.store.models.concepts import Concept
from registry.store.models.fixed import APPEND_ONLY
from registry.store.models.jobs import OPEN_JOBS, JobRow
from registry.store.models.kept_exemplars import KeptExemplarRow
from registry.store.models.keys import KeyListRow, SignatureRow, SigningKey
from registry.store.models.releases import BundleRow, Release, ReleaseMember, ReleaseRevocation
from registry.store.models.reviews import ChangeRequest, Review
from registry.store.models.team import Actor, PolicyRow
from registry.store.models.versions import MOVES, ConceptVersion, EvaluationRow, VersionAnchors

__all__ = [
    "APPEND_ONLY", "MOVES", "OPEN_JOBS", "Actor", "AnchorSetRow", "AnchorSpaceRow",
    "AuditCheckpoint", "AuditEventRow", "Base", "BundleRow", "ChangeRequest", "Channel",
    "ChannelMove", "Concept", "ConceptVersion", "EvaluationRow", "JobRow", "KeptExemplarRow",
    "KeyListRow", "PolicyRow", "Release", "ReleaseMember", "ReleaseRevocation", "Review",
    "SignatureRow", "SigningKey", "SourceRefRow", "VersionAnchors",
]  # fmt: skip
