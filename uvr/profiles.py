"""What is known about each model: taps, stage, presets and call defaults.

Only the testbed's figures are measured here. Those of the FLUX.1 models follow the method's
reference release and have not been run on the real weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from concepts.errors import MismatchError


@dataclass(frozen=True)
class RestrictPreset:
    """Restrict information flow: masked outputs become ``(1 - strength) out + strength noise``."""

    strength: float = 0.999


@dataclass(frozen=True)
class ModulatePreset:
    """Modulate attention to reference pictures: factors on value rows of keys.

    Attributes:
        core: For reference patches under the mask.
        ring: For the ring around it.
        boost: For text and output keys, seen by output queries.
        ring_width: Width of the ring in patches.
    """

    core: float = 0.2
    ring: float = 0.4
    boost: float = 1.05
    ring_width: int = 1


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
        sigma=1.0,  # the reference picture shows the concept from the first step on
        stage_end=0.85,
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
        stage_end=0.3,
        restrict=RestrictPreset(),
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
        modulate=ModulatePreset(core=0.0),
        calibration={"image_false_positive_rate": 0.03},
        call={**_TESTBED_CALL, "max_area": 64 * 64, "_auto_resize": False},
    ),
)
PROFILES: dict[str, ModelProfile] = {profile.name: profile for profile in _ALL}

_FULL_SIZE = (19, 38)  # double and single blocks of every FLUX.1 model


def profile_for(pipe: Any) -> ModelProfile:
    """Find the profile of a pipeline by its class, its name and its transformer's structure.

    A model says its own name with the key ``_uvr_model`` in its transformer's config; otherwise the
    path it was loaded from, then its number of blocks, decide.

    Raises:
        MismatchError: Not a FLUX pipeline, or no profile fits.
    """
    if not hasattr(getattr(pipe, "transformer", None), "single_transformer_blocks"):
        raise MismatchError(
            f"{type(pipe).__name__} is not a FLUX pipeline: expected a transformer with "
            "single-stream blocks."
        )
    task = "edit" if "Kontext" in type(pipe).__name__ else "t2i"
    model = _model_name(pipe, task)
    for profile in _ALL:
        if (profile.model, profile.task) == (model, task):
            return profile
    raise MismatchError(
        f"No profile for model {model or 'of unknown name'!r} and task {task!r}. "
        f"Known: {', '.join(PROFILES)}. Pass profile=... to use one of them."
    )


def _model_name(pipe: Any, task: str) -> str | None:
    config = pipe.transformer.config
    if "_uvr_model" in config:
        return str(config["_uvr_model"])
    paths = (getattr(pipe, "name_or_path", None), config.get("_name_or_path"))
    for path in (str(path).lower() for path in paths if path):
        for model in sorted({profile.model for profile in _ALL}):
            if model in path:
                return model
    if (config.get("num_layers"), config.get("num_single_layers")) != _FULL_SIZE:
        return None
    if task == "edit":
        return "flux.1-kontext-dev"
    return "flux.1-dev" if config.get("guidance_embeds") else "flux.1-schnell"
