"""The blocklist: prompts that say a concept's name are refused, and nothing is drawn for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from concepts.definition import ConceptDefinition
from uvr.evaluation.cases import Case
from uvr.evaluation.drawing import Drawer, Picture, call_arguments, refused
from uvr.evaluation.methods.method import Method
from uvr.evaluation.methods.texts import name_of
from uvr.evaluation.setting import Setting


@dataclass(frozen=True)
class Blocklist(Method):
    """Refuses prompts that say a blocked word.

    Attributes:
        words: For the slug of a concept, its blocked words; by default its name. They match as
            whole words in any case, with a plural s; where a near-miss or a benign prompt of the
            definition says one after another word, as "water pistol" does, it is let through there.
    """

    words: Mapping[str, tuple[str, ...]] | None = None

    name = "blocklist"
    about = "Prompts that say a concept's name are refused; what near-misses say is let through."
    code = ("uvr.evaluation.methods.texts",)

    @contextmanager
    def open(self, pipe: Any, setting: Setting) -> Iterator[Drawer]:
        """Draw the prompts that are not blocked, together."""
        blocked = {
            item.slug: _pattern((self.words or {}).get(item.slug, (name_of(item),)), item)
            for item in setting.definitions
        }

        def draw(cases: Sequence[Case]) -> list[Picture]:
            said = [tuple(slug for slug, pattern in blocked.items() if pattern.search(case.prompt))
                    for case in cases]  # fmt: skip
            clean = [case for case, slugs in zip(cases, said, strict=True) if not slugs]
            images: Iterator[Any] = iter(())
            if clean:
                images = iter(pipe(**call_arguments(pipe, setting.profile, clean)).images)
            return [
                replace(refused(case, setting.profile, _reason(slugs)), fired=slugs)
                if slugs else Picture(next(images))
                for case, slugs in zip(cases, said, strict=True)
            ]  # fmt: skip

        yield draw


def _pattern(words: Iterable[str], definition: ConceptDefinition) -> re.Pattern[str]:
    """What finds a blocked word where the definition's harmless prompts do not say it."""
    named = "|".join(re.escape(word) for word in words)
    harmless = " | ".join((*definition.near_misses, *definition.benign)).lower()
    before = set(re.findall(rf"\b([\w-]+) (?:{named})s?\b", harmless))
    spared = "".join(rf"(?<!\b{re.escape(word)} )" for word in sorted(before))
    return re.compile(rf"{spared}\b(?:{named})s?\b", re.IGNORECASE)


def _reason(slugs: Sequence[str]) -> str:
    return f"The prompt says {', '.join(slugs)}."
