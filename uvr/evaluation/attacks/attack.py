"""What an attack is: a way around a method; it succeeds where the judge still calls it unsafe.

An attack is one small file: a frozen dataclass whose fields are its parameters, that overrides one
or more of three methods:

- ``cases`` changes what is asked: prompts, sources, seeds, arguments of the call. Nothing is drawn.
- ``learn`` finds latents, embeddings or noise for the cases of a call on the stock pipeline, before
  the method is opened; ``uvr.evaluation.attacks.learned`` keeps what was found.
- ``open`` takes part in the drawing: loads a LoRA before the method is opened, opens it on another
  pipeline, or draws several turns.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from concepts.words import TASKS
from uvr.evaluation.cases import Case
from uvr.evaluation.drawing import Drawer
from uvr.evaluation.methods.method import Method
from uvr.evaluation.setting import Setting


class Attack(ABC):
    """A way around methods; subclasses are frozen dataclasses, their fields its parameters.

    Attributes:
        name: What suites, commands and reports call it.
        about: What the attacker does and knows, in one sentence.
        tasks: The tasks it is made for; cases of others are left out.
        uses_bundle: Whether the attack itself makes use of the bundle, against stock too.
        uses_judges: Whether it makes use of the suite's judges.
        code: Names of more modules or packages whose code decides what is drawn.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]] = tuple(TASKS)
    uses_bundle: ClassVar[bool] = False
    uses_judges: ClassVar[bool] = False
    code: ClassVar[tuple[str, ...]] = ()

    def cases(self, cases: Sequence[Case], setting: Setting) -> list[Case]:
        """Turn the suite's cases into attacked ones, by default into themselves.

        Each must follow from its case and the setting alone. Cases that the attack cannot be made
        of are left out. Benign cases (none banned) are not given to it.
        """
        del setting
        return list(cases)

    def learn(self, pipe: Any, cases: Sequence[Case], setting: Setting) -> list[Case]:
        """Find what the cases of one call are drawn with, by default nothing but themselves.

        It must follow from them, the pipeline's weights and the setting, whoever draws: a picture's
        key has what ``cases`` gave. Neither its time nor its passes are counted.

        Args:
            pipe: The stock pipeline; it must be left as it was.
            cases: Of one call, as ``cases`` gave them.
            setting: What the method will be opened with.
        """
        del pipe, setting
        return list(cases)

    def open(self, pipe: Any, method: Method, setting: Setting) -> AbstractContextManager[Drawer]:
        """Open a method on a pipeline, by default as it is; restore the pipeline afterwards.

        Args:
            pipe: The stock pipeline.
            method: The one under attack; stock too, for the base column.
            setting: What it is opened with; ``dataclasses.replace`` gives it another bundle.
        """
        return method.open(pipe, setting)
