"""Where a suite's cases come from: given prompts, the testbed's scenes, files of a benchmark."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from concepts.definition import ConceptDefinition
from concepts.errors import InputError
from uvr.evaluation.cases import Case


@dataclass(frozen=True)
class Asked:
    """What a source of cases is asked for.

    Attributes:
        definitions: The suite's concepts.
        seed: The suite's, or the one that ``--seed`` gives; all randomness derives from it.
        count: At most so many cases a row of the report, as ``--count`` gives; None for the
            source's own number.
        data: File or folder of data that the user gives with ``--data``; None without.
    """

    definitions: Sequence[ConceptDefinition]
    seed: int
    count: int | None = None
    data: Path | None = None

    @property
    def concepts(self) -> tuple[str, ...]:
        """Slugs of the suite's concepts."""
        return tuple(item.slug for item in self.definitions)


def check_banned(banned: Sequence[str], asked: Asked) -> None:
    """Raise InputError for a slug that is not among the suite's concepts."""
    if unknown := sorted(set(banned) - set(asked.concepts)):
        raise InputError(f"{', '.join(unknown)} is not among the suite's concepts.")


class CaseSource(ABC):
    """Makes cases; subclasses are frozen dataclasses, their fields its parameters in a suite.

    Attributes:
        name: What suites call it.
        about: What it makes, in one sentence.
    """

    name: ClassVar[str]
    about: ClassVar[str]

    @abstractmethod
    def cases(self, asked: Asked) -> list[Case]:
        """Make the cases, always the same for the same question.

        A larger ``count`` must begin with the cases of a smaller one, so that a longer run goes on
        from a shorter.

        Raises:
            NotFoundError: Data that it reads is not there.
            InputError: Data is not of the published format.
        """
