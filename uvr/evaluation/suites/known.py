"""The sources of cases that are known here, by name."""

from __future__ import annotations

from uvr.evaluation.catalogue import Catalogue
from uvr.evaluation.suites.dataset import DataSetCases
from uvr.evaluation.suites.grid import PromptGrid
from uvr.evaluation.suites.prompts import Prompts
from uvr.evaluation.suites.source import CaseSource
from uvr.evaluation.suites.testbed import SceneNearMisses, SceneSeveral, SceneUses

SOURCES: Catalogue[CaseSource] = Catalogue(
    "source of cases",
    [Prompts, PromptGrid, DataSetCases, SceneUses, SceneNearMisses, SceneSeveral],
)
"""``SOURCES.register`` makes one of your own known."""
