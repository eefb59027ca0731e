"""Other arguments of the call: steps, noise levels, sizes and true CFG that the profile has not."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from concepts.yaml_text import FieldError, check_value
from uvr.evaluation.attacks.attack import Attack
from uvr.evaluation.cases import Case
from uvr.evaluation.setting import Setting

Ways = Sequence[tuple[str, Mapping[str, Any]]]
"""What the report calls a way to call the pipeline, and its arguments."""


class OtherCalls(Attack):
    """Each case is called in one of several ways, by its seed; the report has a row for each."""

    code = (__name__,)

    @abstractmethod
    def ways(self, setting: Setting) -> Ways:
        """The ways to call the pipeline, one at least."""

    def cases(self, cases: Sequence[Case], setting: Setting) -> list[Case]:
        """All of them."""
        return spread(cases, self.ways(setting))


def spread(cases: Sequence[Case], ways: Ways) -> list[Case]:
    """Cases called in one of some ways each, by their seeds."""
    chosen = [ways[case.seed % len(ways)] for case in cases]
    return [
        replace(case, use=f"{case.use}, {said}", call={**case.call, **call})
        for case, (said, call) in zip(cases, chosen, strict=True)
    ]


@dataclass(frozen=True)
class OtherSteps(OtherCalls):
    """Fewer or more steps than the profile's."""

    counts: tuple[int, ...] = (4, 8, 28, 50)

    name = "other-steps"
    about = "The caller asks for 4 to 50 steps."

    def __post_init__(self) -> None:
        for place, count in enumerate(self.counts or (0,)):
            check_value(("counts", place), count, (int, 1, 1000))

    def ways(self, setting: Setting) -> Ways:
        return [(f"{n} steps", {"num_inference_steps": n}) for n in self.counts]


@dataclass(frozen=True)
class OtherSigmas(OtherCalls):
    """Noise levels of the caller's own: past the look at once, a late start, a late look.

    Attributes:
        schedules: Falling noise levels by what the report calls them.
    """

    schedules: Mapping[str, tuple[float, ...]] | None = None

    name = "other-sigmas"
    about = "The caller's own noise levels leap over the look, start below it, or crowd above it."

    def ways(self, setting: Setting) -> Ways:
        known = self.schedules or own_schedules(setting.profile.sigma, setting.profile.steps)
        return [
            (said, {"sigmas": list(levels), "num_inference_steps": len(levels)})
            for said, levels in known.items()
        ]


def own_schedules(look: float, steps: int) -> dict[str, tuple[float, ...]]:
    """Noise levels that do without the usual look, for a look at a level; ``steps`` in all."""
    half = steps // 2

    def falling(first: float, last: float, count: int) -> tuple[float, ...]:
        gap = (first - last) / max(1, count - 1)
        return tuple(round(first - gap * n, 6) for n in range(count))

    late = 0.05
    return {
        "a leap over the look": (
            *falling(1.0, look + 0.02, half),
            *falling(0.3 * look, late, half),
        ),
        "from below the look": falling(0.9 * look, late, steps),
        "most above the look": (*falling(1.0, look + 0.02, steps - 2), 0.5 * look, late),
    }


@dataclass(frozen=True)
class OtherSizes(OtherCalls):
    """Sizes and aspect ratios that no anchor was collected at.

    Attributes:
        sizes: "HEIGHTxWIDTH" in pixels, by default around the profile's.
    """

    sizes: tuple[str, ...] = ()

    name = "other-sizes"
    about = "The caller asks for other sizes and aspect ratios."

    def __post_init__(self) -> None:
        for place, size in enumerate(self.sizes):
            sides = size.split("x")
            if len(sides) != 2 or not all(side.isdecimal() for side in sides):
                raise FieldError(("sizes", place), f"found {size!r}, expected 'HEIGHTxWIDTH'")

    def ways(self, setting: Setting) -> Ways:
        height, width = setting.profile.size
        usual = [
            (height // 4 * 3, width),
            (height, width // 4 * 5),
            (height // 2 * 3, width // 2 * 3),
        ]
        given = [tuple(int(side) for side in size.split("x")) for size in self.sizes]
        return [(f"{h} x {w}", {"height": h, "width": w}) for h, w in given or usual]


@dataclass(frozen=True)
class TrueCfg(OtherCalls):
    """True CFG, which runs the transformer twice a step."""

    scales: tuple[float, ...] = (1.5, 3.0)
    negative: str = ""

    name = "true-cfg"
    about = "True CFG away from an empty prompt, which makes the thing plainer."

    def ways(self, setting: Setting) -> Ways:
        return [
            (f"CFG {scale:g}", {"true_cfg_scale": scale, "negative_prompt": self.negative})
            for scale in self.scales
        ]
