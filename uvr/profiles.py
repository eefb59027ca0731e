"""What is known about each model: taps, stage, presets and call defaults.

Only the testbed's figures are measured here. Those of the FLUX.1 models follow the method's
reference release, but for what fills a masked place and Kontext's look; those of FLUX.2, Chroma
and LongCat carry them over, to a tap at the same share of the blocks. None of these has been run on
real weights.
``uvr.families`` finds the profile of a pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from concepts.canonical import plain_json
from concepts.errors import InputError
from concepts.yaml_text import FieldError, describe
from uvr.method.presets import OWN, ModulatePreset, Regulation, RestrictPreset, find_preset
from uvr.method.taps import at_both
from uvr.profile_fields import check


class ProfileError(InputError):
    """A profile is not valid: which file, line and field, and what is allowed."""


CHECK = "check"
"""The task of looking at a finished picture, whatever it was drawn for."""
UNSAID = ""
"""The text under which a finished picture is looked at: it says nothing."""


@dataclass(frozen=True)
class ModelProfile:
    """Everything model-specific that the engine needs, for one task.

    Attributes:
        name: Key in ``PROFILES``.
        model: Name in anchor spaces and bundles.
        task: "t2i" or "edit"; "check" for looking at finished pictures.
        taps: Blocks whose attention output is scored, concatenated in this order; with
            "@reference" behind the name at given pictures (``uvr.method.taps``).
        sigma: Noise level at which anchors are captured and generations are looked at.
        stage_end: Regulation runs while sigma >= this.
        restrict: Preset, or None.
        modulate: Preset, or None. Both may be set.
        dilation: Patches added around a localised mask before it is regulated.
        close_gaps: Close gaps and fill holes of a mask.
        calibration: Arguments of ``fit_scorer`` for this model and task, where a concept's
            definition does not say.
        call: Keyword arguments that a pipeline call needs for this model's usual pictures.

    Raises:
        ProfileError: If a field is not valid.
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
    calibration: Mapping[str, Any] = field(default_factory=dict)
    call: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            check(self.to_dict())
        except FieldError as problem:
            raise ProfileError(f"Profile {describe(problem.place)}: {problem}") from problem

    def to_dict(self) -> dict[str, Any]:
        """JSON form with every field that is set."""
        plain: dict[str, Any] = plain_json(asdict(self))
        if self.restrict is not None and self.restrict.keep_ring is None:
            del plain["restrict"]["keep_ring"]
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelProfile:
        """Read the JSON form, which may leave out what has a default; ProfileError if not valid."""
        try:
            check(data)
        except FieldError as problem:
            raise ProfileError(f"Profile {describe(problem.place)}: {problem}") from problem
        made = {**data, "taps": tuple(data["taps"])}
        for name, preset in (("restrict", RestrictPreset), ("modulate", ModulatePreset)):
            if made.get(name) is not None:
                made[name] = preset(**made[name])
        return cls(**made)

    def with_preset(self, name: str = OWN, strength: float = 1.0) -> ModelProfile:
        """The profile with another regulation.

        Args:
            name: A key of ``uvr.method.presets.PRESETS``, or "default" for the profile's own.
            strength: From 0, which changes nothing, to 1, the preset as it is.

        Raises:
            InputError: There is no preset of that name, or the strength is outside of 0 to 1.
        """
        regulation = find_preset(name, self.task, Regulation(self.restrict, self.modulate))
        scaled = regulation.scaled(strength)
        if scaled == Regulation(self.restrict, self.modulate):
            return self
        return replace(self, restrict=scaled.restrict, modulate=scaled.modulate)

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


def _of_both_tasks(profile: ModelProfile) -> tuple[ModelProfile, ModelProfile]:
    """The profiles of a model that draws and edits with one pipeline."""
    model = profile.model
    return (
        replace(profile, name=f"{model}-t2i", task="t2i"),
        replace(
            profile,
            name=f"{model}-edit",
            task="edit",
            taps=at_both(profile.taps),
            modulate=ModulatePreset(),
        ),
    )


# Not run on real weights.
_FLUX2_DEV = _of_both_tasks(
    ModelProfile(
        name="flux.2-dev",
        model="flux.2-dev",
        task="t2i",
        taps=("single_transformer_blocks.20",),
        sigma=0.9,
        stage_end=0.85,
        restrict=RestrictPreset(),
        close_gaps=True,
        call={**_FLUX_CALL, "num_inference_steps": 28, "guidance_scale": 4.0},
    )
)
# Not run on real weights.
_FLUX2_KLEIN_4B = _of_both_tasks(
    ModelProfile(
        name="flux.2-klein-4b",
        model="flux.2-klein-4b",
        task="t2i",
        taps=("single_transformer_blocks.7",),
        sigma=0.95,  # the third of its four steps is at 0.91, the last one at 0.77
        stage_end=0.9,
        restrict=RestrictPreset(),
        close_gaps=True,
        call={**_FLUX_CALL, "num_inference_steps": 4, "guidance_scale": 1.0},
    )
)
# Not run on real weights.
_CHROMA = ModelProfile(
    name="chroma1-hd",
    model="chroma1-hd",
    task="t2i",
    taps=_FLUX_TAP,
    sigma=0.9,
    stage_end=0.85,
    restrict=RestrictPreset(),
    close_gaps=True,
    call={**_FLUX_CALL, "num_inference_steps": 35, "guidance_scale": 5.0},
)
# Not run on real weights.
_LONGCAT = ModelProfile(
    name="longcat-image",
    model="longcat-image",
    task="t2i",
    taps=("single_transformer_blocks.5",),
    sigma=0.9,
    stage_end=0.85,
    restrict=RestrictPreset(),
    close_gaps=True,
    call={"height": 1024, "width": 1024, "num_inference_steps": 50, "guidance_scale": 4.5},
)
# Not run on real weights.
_LONGCAT_EDIT = replace(
    _LONGCAT,
    name="longcat-image-edit",
    model="longcat-image-edit",
    task="edit",
    taps=at_both(_LONGCAT.taps),
    modulate=ModulatePreset(),
)

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
        taps=at_both(_FLUX_TAP),
        sigma=0.9,  # a reference shows a concept from the first step on, a wish for one later
        stage_end=0.85,
        restrict=RestrictPreset(),
        modulate=ModulatePreset(),
        close_gaps=True,
        call={**_FLUX_CALL, "num_inference_steps": 28, "guidance_scale": 2.5},
    ),
    *_FLUX2_DEV,
    *_FLUX2_KLEIN_4B,
    _CHROMA,
    _LONGCAT,
    _LONGCAT_EDIT,
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
        taps=at_both(_TESTBED_TAPS),
        sigma=0.7,
        stage_end=0.1,
        restrict=RestrictPreset(),
        modulate=ModulatePreset(core=0.0),
        calibration={"rule": "logistic", "image_false_positive_rate": 0.01},
        call={**_TESTBED_CALL, "max_area": 64 * 64, "_auto_resize": False},
    ),
    ModelProfile(
        name="testbed-check",
        model="testbed",
        task=CHECK,
        taps=_TESTBED_TAPS,
        sigma=0.15,
        stage_end=0.0,
        calibration={"image_false_positive_rate": 0.003, "margin": 0.2},
        call=_TESTBED_CALL,
    ),
)
PROFILES: dict[str, ModelProfile] = {profile.name: profile for profile in _ALL}
