"""What a method is: something that draws cases, stock, regulated or in any other way.

A method is one small file: a frozen dataclass whose fields are its parameters, their defaults as
they were tuned, and one context manager, ``open``. `uvr.evaluation.methods.stock` is the shortest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from concepts.words import TASKS
from uvr.evaluation.drawing import Drawer
from uvr.evaluation.setting import Setting
from uvr.judges.judge import Judge


class Method(ABC):
    """A way to draw cases; subclasses are frozen dataclasses, their fields its parameters.

    A picture is drawn again when a parameter, the method's own module or one of the modules in
    ``code`` has changed.

    Attributes:
        name: What suites, commands and reports call it.
        about: What it is, in one sentence.
        tuned: How its defaults were chosen, on which seeds and with which budget, in one sentence.
        tasks: The tasks it serves; cases of others are not given to it.
        uses_bundle: Whether pictures depend on the bundle.
        code: Names of more modules or packages whose code decides what is drawn.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    tuned: ClassVar[str] = "Nothing to tune."
    tasks: ClassVar[tuple[str, ...]] = tuple(TASKS)
    uses_bundle: ClassVar[bool] = False
    code: ClassVar[tuple[str, ...]] = ()

    def needs(self, task: str) -> tuple[str, ...]:
        """The tasks that the bundle must have anchors for, so that cases of one are drawn."""
        return (task,) if self.uses_bundle else ()

    def judges(self, setting: Setting) -> tuple[Judge, ...]:
        """The judges that pictures depend on, with their thresholds, as those of a filter do."""
        del setting
        return ()

    @abstractmethod
    def open(self, pipe: Any, setting: Setting) -> AbstractContextManager[Drawer]:
        """Make ready to draw with a pipeline, and leave the pipeline as it was afterwards.

        Args:
            pipe: A stock pipeline of the setting's task. It may be changed within the context
                (hooks, weights, attention processors) and must be restored in ``finally``.
            setting: Profile, concepts in words, bundle, judges, seed.

        Returns:
            A context that gives what draws a batch of cases: ``draw(cases) -> list[Picture]``. One
            picture must depend on nothing but its case and its batch: no state goes from one call
            to the next. Time, passes of the transformer and memory are measured around it.
        """
