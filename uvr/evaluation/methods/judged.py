"""This project's regulator with both of its checks: by features, and by a judge."""

from __future__ import annotations

from dataclasses import dataclass

from uvr.engine.check import FeatureCheck
from uvr.engine.regulator import Regulator
from uvr.evaluation.judging import WorldFilter
from uvr.evaluation.methods.ours import Ours, Regulated
from uvr.evaluation.methods.output_filter import filter_of
from uvr.evaluation.setting import Setting
from uvr.judges.judge import Judge


@dataclass(frozen=True)
class OursJudged(Regulated):
    """The regulator with the check by features and a judge of the finished pictures.

    Attributes:
        on_residual: What becomes of a picture in which one of them finds a concept.
        judge: A judge of the suite, or one that is known by this name; as for ``filter``, not the
            one that decides what is unsafe.
    """

    on_residual: str = "retry-or-block"
    judge: str = WorldFilter.name

    name = "ours-judged"
    about = "The same, and finished pictures checked by a judge that measures nothing as well."
    tuned = Ours.tuned
    code = (*Regulated.code, "uvr.evaluation.methods.output_filter")

    def judges(self, setting: Setting) -> tuple[Judge, ...]:
        """The one that checks."""
        return (filter_of(setting, self.judge),)

    def regulator(self, setting: Setting) -> Regulator:
        """With both checks."""
        return Regulator(
            setting.the_bundle(),
            profile=setting.profile,
            check=(FeatureCheck(), *self.judges(setting)),
            on_residual=self.on_residual,
        )
