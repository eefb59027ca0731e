"""What is known about each model: taps, stage, presets and call defaults.

Only the testbed's figures are measured here. Those of the FLUX.1 models follow the method's
reference release, but for what fills a masked place and Kontext's look, and have not been run on
the real weights. ``uvr.families`` finds the profile of a pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from uvr.method.presets import ModulatePreset, RestrictPreset


@dataclass(frozen=True)
class ModelProfile:
    """Everything model-specific that the engine needs, for one task.

    Attributes:
        name: Key in ``PROFILES``.
        model: Name in anchor spaces and bundles.
        task: "t2i" or "edit".
        taps: Blocks whose attention output is scored; features are concatenated in this order.
        sigma: Noise level at which anchors are captured and generations are looked at.
        stage_end: Regulation runs while sigma >= this.
        restrict: Preset, or None.
        modulate: Preset, or None. Both may be set.
        dilation: Patches added around a localised mask before it is regulated.
        close_gaps: Close gaps and fill holes of a mask.
        calibration: Arguments of ``fit_scorer`` for this model and task, where a concept's
            definition does not say.
        call: Keyword arguments that a pipeline call needs for this model's usual pictures.
    """

    name: str
    model: str
    task: str
    taps: tuple[str, ...]
    sigma: float
    stage_end: float
    restrict: RestrictPreset | None = None
    modulate: ModulatePreset | None = None
    dilation: int = 0
    close_gaps: bool = False
    calibration: Mapping[str, float] = field(default_factory=dict)
    call: Mapping[str, Any] = field(default_factory=dict)

    def as_in_the_paper(self) -> ModelProfile:
        """The profile with the reference release's regulation: noise, or modulation alone."""
        if self.task == "t2i":
            return replace(self, restrict=RestrictPreset(fill="noise"), modulate=None)
        return replace(self, restrict=None, modulate=ModulatePreset())

    @property
    def steps(self) -> int:
        """Usual number of inference steps."""
        return int(self.call["num_inference_steps"])

    @property
    def size(self) -> tuple[int, int]:
        """Usual height and width in pixels."""
        return int(self.call["height"]), int(self.call["width"])


_FLUX_TAP = ("single_transformer_blocks.10",)
_TESTBED_TAPS = (
    "transformer_blocks.2",
    "single_transformer_blocks.0",
    "single_transformer_blocks.1",
    "single_transformer_blocks.2",
)
_TESTBED_CALL = {"height": 64, "width": 64, "num_inference_steps": 16, "max_sequence_length": 32}
_FLUX_CALL = {"height": 1024, "width": 1024, "max_sequence_length": 512}

_ALL = (
    ModelProfile(
        name="flux.1-dev",
        model="flux.1-dev",
        task="t2i",
        taps=_FLUX_TAP,
        sigma=0.9,
        stage_end=0.85,
        restrict=RestrictPreset(),
        close_gaps=True,
        call={**_FLUX_CALL, "num_inference_steps": 28, "guidance_scale": 3.5},
    ),
    ModelProfile(
        name="flux.1-schnell",
        model="flux.1-schnell",
        task="t2i",
        taps=_FLUX_TAP,
        sigma=0.9,
        stage_end=0.7,  # a four-step schedule has one step above 0.85
        restrict=RestrictPreset(),
        close_gaps=True,
        call={
            **_FLUX_CALL,
            "num_inference_steps": 4,
            "guidance_scale": 0.0,
            "max_sequence_length": 256,
        },
    ),
    ModelProfile(
        name="flux.1-kontext-dev",
        model="flux.1-kontext-dev",
        task="edit",
        taps=_FLUX_TAP,
        sigma=0.9,  # a reference shows a concept from the first step on, a wish for one later
        stage_end=0.85,
        restrict=RestrictPreset(),
        modulate=ModulatePreset(),
        close_gaps=True,
        call={**_FLUX_CALL, "num_inference_steps": 28, "guidance_scale": 2.5},
    ),
    ModelProfile(
        name="testbed-t2i",
        model="testbed",
        task="t2i",
        taps=_TESTBED_TAPS,
        sigma=0.6,
        stage_end=0.1,  # what is filled in until 0.3 is drawn again, faintly, from the text
        restrict=RestrictPreset(keep_ring=1),
        calibration={"image_false_positive_rate": 0.001, "margin": 0.2},
        call=_TESTBED_CALL,
    ),
    ModelProfile(
        name="testbed-edit",
        model="testbed",
        task="edit",
        taps=_TESTBED_TAPS,
        sigma=0.7,
        stage_end=0.1,
        restrict=RestrictPreset(),
        modulate=ModulatePreset(core=0.0),
        calibration={"image_false_positive_rate": 0.03},
        call={**_TESTBED_CALL, "max_area": 64 * 64, "_auto_resize": False},
    ),
)
PROFILES: dict[str, ModelProfile] = {profile.name: profile for profile in _ALL}
