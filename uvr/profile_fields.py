"""Rules for the fields of a model's profile: which there are, and what each may hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import get_args

from concepts.fields import PARAMETERS
from concepts.words import TASKS
from concepts.yaml_text import (
    FieldError,
    Rule,
    check_keys,
    check_mapping,
    check_value,
    kind_of,
)
from uvr.method.presets import Fill
from uvr.method.taps import REFERENCE, output_taps

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ARGUMENT = re.compile(r"_?[a-z][a-z0-9_]{0,63}")
MAX_TAP = 200
SHARE: Rule = (float, 0.0, 1.0)
FACTOR: Rule = (float, 0.0, 10.0)
PATCHES: Rule = (int, 0, 64)

REQUIRED = ("name", "model", "task", "taps", "sigma", "stage_end", "call")
OPTIONAL = ("restrict", "modulate", "dilation", "close_gaps", "calibration")
REGULATION: dict[str, dict[str, Rule]] = {
    "restrict": {
        "strength": SHARE, "fill": (str, get_args(Fill), None), "keep_ring": PATCHES,
    },
    "modulate": {"core": FACTOR, "ring": FACTOR, "boost": FACTOR, "ring_width": PATCHES},
}  # fmt: skip
COLLECTION = ("seeds_per_prompt", "noise_draws")
CALIBRATION = {name: rule for name, rule in PARAMETERS.items() if name not in COLLECTION}
"""Parameters of a definition that ``fit_scorer`` takes."""
USUAL: dict[str, Rule] = {
    "height": (int, 16, 8192),
    "width": (int, 16, 8192),
    "num_inference_steps": (int, 1, 1000),
    "max_sequence_length": (int, 1, 4096),
}
NEEDED = ("height", "width", "num_inference_steps")
# Arguments of one call, which no profile can give for all of them.
OF_ONE_CALL = (
    "prompt", "prompt_2", "image", "generator", "latents", "output_type", "return_dict",
    "callback_on_step_end",
)  # fmt: skip


def check(data: object) -> None:
    """Check the fields of a profile; FieldError for the first that is not valid."""
    if not isinstance(data, Mapping):
        raise FieldError((), f"found {kind_of(data)}, expected a mapping with name, model, ...")
    check_keys((), data, (*REQUIRED, *OPTIONAL))
    if missing := [name for name in REQUIRED if name not in data]:
        raise FieldError((), f"missing: {', '.join(missing)}")
    for name in ("name", "model"):
        _check_name(name, data[name])
    check_value(("task",), data["task"], (str, TASKS, None))
    _check_taps(data["taps"])
    for name in ("sigma", "stage_end"):
        check_value((name,), data[name], SHARE)
    for name, rules in REGULATION.items():
        if data.get(name) is not None:
            check_mapping((name,), data[name], rules)
    check_value(("dilation",), data.get("dilation", 0), PATCHES)
    if not isinstance(found := data.get("close_gaps", False), bool):
        raise FieldError(("close_gaps",), f"found {found!r}, expected true or false")
    check_mapping(("calibration",), data.get("calibration", {}), CALIBRATION)
    _check_call(data["call"])


def _check_name(field: str, value: object) -> None:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        allowed = "letters, digits, dots, hyphens and underscores, at most 64"
        raise FieldError((field,), f"found {value!r}, allowed: {allowed}")


def _check_taps(value: object) -> None:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise FieldError(("taps",), f"found {kind_of(value)}, expected a list of attention layers")
    for index, tap in enumerate(value):
        if not isinstance(tap, str) or not tap.strip() or len(tap) > MAX_TAP:
            raise FieldError(("taps", index), f"found {tap!r}, expected the name of a layer")
        if tap in value[:index]:
            raise FieldError(("taps", index), f"repeats '{tap}'")
        if index and value[index - 1].endswith(REFERENCE) and not tap.endswith(REFERENCE):
            raise FieldError(("taps", index), f"comes behind one that ends in '{REFERENCE}'")
    if not output_taps(value):
        raise FieldError(("taps",), f"found none but '{REFERENCE}', expected one at the output too")


def _check_call(value: object) -> None:
    if not isinstance(value, Mapping):
        raise FieldError(("call",), f"found {kind_of(value)}, expected a mapping")
    for key, item in value.items():
        place = ("call", str(key))
        if not isinstance(key, str) or not ARGUMENT.fullmatch(key) or key in OF_ONE_CALL:
            raise FieldError(place, "is not an argument that a profile gives to every call")
        if key in USUAL:
            check_value(place, item, USUAL[key])
        elif not isinstance(item, str | int | float | None):
            raise FieldError(place, f"found {kind_of(item)}, expected a number, text or true/false")
    if missing := [name for name in NEEDED if name not in value]:
        raise FieldError(("call",), f"missing: {', '.join(missing)}")
