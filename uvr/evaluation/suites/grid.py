"""A grid of prompts: every subject with every modifier in every template."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from concepts.yaml_text import FieldError, check_value
from uvr.evaluation.cases import Case
from uvr.evaluation.suites.prompts import Prompts
from uvr.evaluation.suites.source import Asked, CaseSource


@dataclass(frozen=True)
class PromptGrid(CaseSource):
    """Prompts that a suite's lists multiply out to.

    Attributes:
        subjects: What is drawn; they change first, so that a few cases have all of them.
        modifiers: How it is drawn.
        templates: Each with ``{subject}`` and ``{modifier}`` once.
        use: Name of the row.
        banned: Slugs that must not be seen; empty for benign prompts.
        seeds: How many seeds each prompt is drawn from.
    """

    subjects: tuple[str, ...]
    modifiers: tuple[str, ...]
    templates: tuple[str, ...] = ("{subject}, {modifier}",)
    use: str = "grid"
    banned: tuple[str, ...] = ()
    seeds: int = 1

    name = "grid"
    about = "Every subject with every modifier in every template."

    def __post_init__(self) -> None:
        for name in ("subjects", "modifiers", "templates"):
            if not getattr(self, name):
                raise FieldError((name,), "needs at least one text")
        for place, template in enumerate(self.templates):
            if any(template.count(part) != 1 for part in ("{subject}", "{modifier}")):
                raise FieldError(
                    ("templates", place),
                    f"found {template!r}, expected {{subject}} and {{modifier}} once each",
                )
        check_value(("seeds",), self.seeds, (int, 1, 10_000))

    @property
    def prompts(self) -> tuple[str, ...]:
        """All of them, always in the same order."""
        return tuple(
            template.replace("{modifier}", modifier).replace("{subject}", subject)
            for template, modifier, subject in product(
                self.templates, self.modifiers, self.subjects
            )
        )

    def cases(self, asked: Asked) -> list[Case]:
        """As ``Prompts`` makes them."""
        made = Prompts(self.prompts, "t2i", self.use, self.banned, seeds=self.seeds)
        return made.cases(asked)
