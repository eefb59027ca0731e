"""Functions on a whole registry: backup, restore, doctor, garbage collection, transfer."""

from registry.operations.backup import BackupInfo, backup
from registry.operations.doctor import Diagnosis, diagnose
from registry.operations.gc import Collected, collect_garbage
from registry.operations.incident import Caught, Incident, NearExample, explain
from registry.operations.repair import Repaired, repair
from registry.operations.restore import restore
from registry.operations.transfer import ImportInfo, export_concept, import_concept

__all__ = [
    "BackupInfo", "Caught", "Collected", "Diagnosis", "ImportInfo", "Incident", "NearExample",
    "Repaired", "backup", "collect_garbage", "diagnose", "explain", "export_concept",
    "import_concept", "repair", "restore",
]  # fmt: skip
