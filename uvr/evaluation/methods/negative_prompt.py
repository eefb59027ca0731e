"""The negative prompt: true classifier-free guidance away from the concepts' names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from uvr.evaluation.cases import Case
from uvr.evaluation.drawing import Drawer, Picture, call_arguments
from uvr.evaluation.methods.method import Method
from uvr.evaluation.methods.texts import names_of
from uvr.evaluation.setting import Setting


@dataclass(frozen=True)
class NegativePrompt(Method):
    """True classifier-free guidance (arXiv 2207.12598) with the names as the negative prompt.

    Attributes:
        scale: ``true_cfg_scale`` of the pipelines: above 1, which changes nothing.
    """

    scale: float = 4.0

    name = "negative-prompt"
    about = "True CFG with the concepts' names as the negative prompt; a second pass a step."
    tuned = (
        "Chosen from 2, 4, 8 on 30 to 70 pictures of seed 31 each, by the sum of erased and kept."
    )
    code = ("uvr.evaluation.methods.texts",)

    @contextmanager
    def open(self, pipe: Any, setting: Setting) -> Iterator[Drawer]:
        """Draw with the pipeline itself, which does the rest."""
        names = names_of(setting)

        def draw(cases: Sequence[Case]) -> list[Picture]:
            more = {"negative_prompt": [names] * len(cases), "true_cfg_scale": self.scale}
            arguments = call_arguments(pipe, setting.profile, cases, **more)
            return [Picture(image) for image in pipe(**arguments).images]

        yield draw
