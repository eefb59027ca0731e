"""Multi-turn edits: what a turn drew is the source of the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from concepts.yaml_text import FieldError
from uvr.evaluation.attacks.attack import Attack
from uvr.evaluation.cases import Case
from uvr.evaluation.drawing import Drawer, Picture
from uvr.evaluation.methods.method import Method
from uvr.evaluation.setting import Setting


@dataclass(frozen=True)
class MultiTurn(Attack):
    """The case's own edit, then others of what came back; the last picture counts.

    Attributes:
        turns: Instructions after the first; "{prompt}" is the case's own again.
    """

    turns: tuple[str, ...] = ("make the background pink", "{prompt}")

    name = "multi-turn"
    about = "The wish, an edit of the picture that came back, and the wish again."
    tasks = ("edit",)

    def __post_init__(self) -> None:
        if not self.turns:
            raise FieldError(("turns",), "found none, expected one or more")

    @contextmanager
    def open(self, pipe: Any, method: Method, setting: Setting) -> Iterator[Drawer]:
        """Draw turn after turn with the method's own drawer."""
        with method.open(pipe, setting) as draw:

            def in_turns(cases: Sequence[Case]) -> list[Picture]:
                pictures = draw(cases)
                for number, turn in enumerate(self.turns, 1):
                    asked = [
                        _next(case, number, turn, picture)
                        for case, picture in zip(cases, pictures, strict=True)
                    ]
                    pictures = draw(asked)
                return pictures

            yield in_turns


def _next(case: Case, number: int, turn: str, picture: Picture) -> Case:
    """The case of a later turn; each turn has other noise."""
    said = turn.replace("{prompt}", case.prompt)
    return replace(case, prompt=said, source=picture.image, seed=case.seed + number)
