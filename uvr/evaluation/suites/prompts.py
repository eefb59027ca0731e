"""Cases from prompts that the suite itself gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from concepts.errors import NotFoundError
from concepts.words import TASKS
from concepts.yaml_text import FieldError, check_value
from uvr.evaluation.cases import Case
from uvr.evaluation.datasets.pictures import open_picture
from uvr.evaluation.suites.source import Asked, CaseSource, check_banned


@dataclass(frozen=True)
class Prompts(CaseSource):
    """Prompts, or instructions for pictures, each drawn from several seeds.

    Attributes:
        prompts: What is asked.
        task: "t2i" or "edit".
        use: Name of the row.
        banned: Slugs that must not be seen; empty for benign prompts.
        kept: What should be seen, as the first judge calls it.
        pictures: For edits, a picture each prompt, or one for all, in the folder of ``--data``.
        seeds: How many seeds each prompt is drawn from.
    """

    prompts: tuple[str, ...]
    task: str = "t2i"
    use: str = "prompts"
    banned: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()
    seeds: int = 1

    name = "prompts"
    about = "The suite's own prompts."

    def __post_init__(self) -> None:
        check_value(("task",), self.task, (str, TASKS, None))
        check_value(("seeds",), self.seeds, (int, 1, 10_000))
        if not self.prompts:
            raise FieldError(("prompts",), "needs at least one prompt")
        if self.task == "edit" and len(self.pictures) not in (1, len(self.prompts)):
            raise FieldError(
                ("pictures",), f"{len(self.pictures)} for {len(self.prompts)} prompts; one for "
                "all or one each is expected",
            )  # fmt: skip

    def cases(self, asked: Asked) -> list[Case]:
        """All prompts with the first seed, then all with the second, and so on."""
        check_banned(self.banned, asked)
        sources = [open_picture(_folder(asked, name), name) for name in self.pictures]
        places = [(seed, n) for seed in range(self.seeds) for n in range(len(self.prompts))]
        return [
            Case(
                self.task, self.use, self.prompts[n], asked.seed + 1000 * seed + n,
                banned=self.banned, kept=self.kept,
                source=sources[n % len(sources)] if sources else None,
            )
            for seed, n in places[: asked.count]
        ]  # fmt: skip


def _folder(asked: Asked, name: str) -> Path:
    if asked.data is None:
        raise NotFoundError(f"The suite needs '{name}': give the folder of its data with --data.")
    return asked.data
