"""The stock pipeline: the base that every other method is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from uvr.evaluation.cases import Case
from uvr.evaluation.drawing import Drawer, Picture, call_arguments
from uvr.evaluation.methods.method import Method
from uvr.evaluation.setting import Setting


@dataclass(frozen=True)
class Stock(Method):
    """The pipeline as it is."""

    name = "stock"
    about = "The pipeline as it is, unregulated."

    @contextmanager
    def open(self, pipe: Any, setting: Setting) -> Iterator[Drawer]:
        """Draw with the pipeline itself."""

        def draw(cases: Sequence[Case]) -> list[Picture]:
            return [Picture(i) for i in pipe(**call_arguments(pipe, setting.profile, cases)).images]

        yield draw
