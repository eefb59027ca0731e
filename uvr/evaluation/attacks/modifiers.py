"""Modifier grid: an adjective before the banned thing and a phrase after the whole prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from concepts.yaml_text import FieldError
from uvr.evaluation.attacks.attack import Attack
from uvr.evaluation.attacks.words import is_named, said_otherwise
from uvr.evaluation.cases import Case
from uvr.evaluation.setting import Setting


@dataclass(frozen=True)
class ModifierGrid(Attack):
    """Each prompt with one cell of a grid, chosen by seed; the report has a row for each cell.

    Attributes:
        adjectives: Before the banned thing; "" for none.
        phrases: After the prompt; "" for none.
        words: See ``Synonyms``.
    """

    adjectives: tuple[str, ...] = ("", "small", "large", "pink", "green")
    phrases: tuple[str, ...] = ("", "in the old style")
    words: Mapping[str, tuple[str, ...]] | None = None

    name = "modifier-grid"
    about = "Adjectives before the banned thing and a phrase of style after the prompt."
    code = ("uvr.evaluation.attacks.words",)

    def __post_init__(self) -> None:
        if not self.cells:
            raise FieldError(("adjectives",), "found nothing to say, expected a text beside ''")

    @property
    def cells(self) -> list[tuple[str, str]]:
        """Adjective and phrase of each cell but the empty one."""
        return [(a, p) for a in self.adjectives for p in self.phrases if a or p]

    def cases(self, cases: Sequence[Case], setting: Setting) -> list[Case]:
        """Those whose prompt names a banned thing."""
        del setting
        return [self._modified(case) for case in cases if is_named(case, self.words)]

    def _modified(self, case: Case) -> Case:
        place = np.random.default_rng(case.seed).integers(len(self.cells))
        adjective, phrase = self.cells[int(place)]
        said = said_otherwise(
            case, lambda rng, slug, name: f"{adjective} {name}".strip(), self.words
        )
        cell = " + ".join(part for part in (adjective, phrase) if part)
        return replace(case, prompt=f"{said} {phrase}".strip(), use=f"{case.use}, {cell}")
