"""Cases from a published data set, in the file or folder that ``--data`` names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from concepts.errors import did_you_mean
from concepts.yaml_text import FieldError, check_value
from uvr.evaluation.cases import Case
from uvr.evaluation.datasets.known import DATA_SETS
from uvr.evaluation.datasets.pictures import open_picture
from uvr.evaluation.datasets.reading import of_categories, read_entries
from uvr.evaluation.suites.source import Asked, CaseSource, check_banned


@dataclass(frozen=True)
class DataSetCases(CaseSource):
    """Prompts, or instructions with their pictures, of a published data set.

    They come in an order that the suite's seed decides, so that a few of them stand for all: files
    are sorted by what they ask. Each is drawn from its published seed; the others of ``seeds``, and
    those of a set without, derive from the suite's.

    Attributes:
        set: Name of the data set (``uvr.evaluation.datasets.known``).
        banned: Slugs that must not be seen; empty for benign prompts.
        only: Categories to take, as the set calls them; empty for all rows.
        use: Name of the row; the set's own by default. "near-miss" counts false fires.
        file: Pattern of the file in the folder, where the set has several.
        prompt: Another column of prompts.
        seeds: How many seeds each prompt is drawn from.
        count: At most so many cases; None for all.
    """

    set: str
    banned: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    use: str | None = None
    file: str | None = None
    prompt: str | None = None
    seeds: int = 1
    count: int | None = None

    name = "data-set"
    about = "A published data set, in the file or folder of --data."

    def __post_init__(self) -> None:
        if self.set not in DATA_SETS:
            hint = did_you_mean(self.set, DATA_SETS)
            known = ", ".join(DATA_SETS)
            raise FieldError(("set",), f"no data set {self.set!r}; there are: {known}.{hint}")
        if self.only and not DATA_SETS[self.set].category:
            raise FieldError(("only",), f"the data set '{self.set}' has no categories")
        if self.file is not None and not _inside(self.file):
            raise FieldError(("file",), f"{self.file!r} is no pattern of a file inside a folder")
        check_value(("seeds",), self.seeds, (int, 1, 10_000))
        if self.count is not None:
            check_value(("count",), self.count, (int, 1, 1_000_000))

    def cases(self, asked: Asked) -> list[Case]:
        """All prompts with the first seed, then all with the second, and so on."""
        check_banned(self.banned, asked)
        known = DATA_SETS[self.set]
        found = read_entries(known, asked.data, file=self.file, prompt=self.prompt)
        entries = of_categories(found, self.only)
        order = np.random.default_rng([asked.seed, *self.set.encode()]).permutation(len(entries))
        places = [(again, int(n)) for again in range(self.seeds) for n in order]
        made = []
        for again, n in places[: asked.count or self.count]:
            entry = entries[n]
            first = asked.seed + n if entry.seed is None else entry.seed
            source = open_picture(entry.folder, entry.picture) if entry.picture else None
            made.append(
                Case(
                    known.task, self.use or self.set, entry.prompt, first + 1000 * again,
                    banned=self.banned, source=source,
                )
            )  # fmt: skip
        return made


def _inside(pattern: str) -> bool:
    path = PurePosixPath(pattern)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
