"""This project's regulator: as it is, with its check, and with the paper's regulation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from uvr.engine.check import FeatureCheck
from uvr.engine.regulator import Regulator
from uvr.evaluation.cases import Case
from uvr.evaluation.drawing import Drawer, Picture, call_arguments, regulated_pictures
from uvr.evaluation.methods.method import Method
from uvr.evaluation.setting import Setting
from uvr.method.presets import OWN

ENGINE = ("uvr.engine", "uvr.families", "uvr.method", "uvr.profiles")
"""Packages whose code decides what a regulator draws."""


class Regulated(Method):
    """A method that attaches a regulator; subclasses say which."""

    uses_bundle = True
    code: ClassVar[tuple[str, ...]] = (__name__, *ENGINE)

    @abstractmethod
    def regulator(self, setting: Setting) -> Regulator:
        """The regulator to attach."""

    @contextmanager
    def open(self, pipe: Any, setting: Setting) -> Iterator[Drawer]:
        """Draw with the pipeline while the regulator is attached."""
        with self.regulator(setting).attach(pipe) as regulated:

            def draw(cases: Sequence[Case]) -> list[Picture]:
                images = regulated(**call_arguments(pipe, setting.profile, cases)).images
                return regulated_pictures(images, regulated.last)

            yield draw


@dataclass(frozen=True)
class Ours(Regulated):
    """The regulator with the bundle's scorers and the profile's regulation."""

    preset: str = OWN
    strength: float = 1.0

    name = "ours"
    about = "This project's regulator: whitened anchors, one look, masked patches filled in."
    tuned = "Taps, look, stage and rates are the model profile's, chosen on development seeds."

    def regulator(self, setting: Setting) -> Regulator:
        """Without a check."""
        return Regulator(
            setting.the_bundle(),
            profile=setting.profile,
            preset=self.preset,
            strength=self.strength,
        )


@dataclass(frozen=True)
class OursChecked(Regulated):
    """The regulator with the check of finished pictures by their features."""

    on_residual: str = "retry-or-block"

    name = "ours-checked"
    about = "The same, and finished pictures checked by their features, drawn again or blocked."
    tuned = Ours.tuned

    def needs(self, task: str) -> tuple[str, ...]:
        """The task itself, and the check of finished pictures."""
        return task, "check"

    def regulator(self, setting: Setting) -> Regulator:
        """With the check by features, which no judge of the suite takes part in."""
        return Regulator(
            setting.the_bundle(),
            profile=setting.profile,
            check=FeatureCheck(),
            on_residual=self.on_residual,
        )


@dataclass(frozen=True)
class Paper(Regulated):
    """The paper's regulation where our scorers look."""

    strength: float = 1.0

    name = "paper-regulation"
    about = "The paper's regulation (noise; attention to the source) under this project's look."
    tuned = "The reference release's numbers; the look is that of ours."

    def regulator(self, setting: Setting) -> Regulator:
        """With the preset of the reference release."""
        return Regulator(
            setting.the_bundle(), profile=setting.profile, preset="paper", strength=self.strength
        )
