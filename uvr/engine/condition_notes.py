"""What to say of a call that is far from the conditions that anchors were collected under."""

from __future__ import annotations

import logging
from typing import Any

from concepts.bundle import BundleVariant
from uvr.conditions import Conditions, far_notes, recorded_conditions

log = logging.getLogger("uvr.regulator")


class ConditionNotes:
    """Notes for reports; each is logged once."""

    def __init__(self) -> None:
        self._collected: tuple[BundleVariant | None, list[Any]] = (None, [])
        self._warned: set[str] = set()

    def of(self, variant: BundleVariant | None, call: Conditions) -> list[str]:
        """Say where a call is far from what the anchors of a variant were collected under."""
        if variant is None:
            return []
        if self._collected[0] is not variant:
            self._collected = (variant, [
                (item.slug, tuple(recorded_conditions(item.scorer.metadata.get("conditions"))))
                for item in variant.members
            ])  # fmt: skip
        notes = list(far_notes(self._collected[1], call))
        for note in notes:
            if note not in self._warned:
                self._warned.add(note)
                log.warning("%s", note)
        return notes
