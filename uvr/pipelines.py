"""Load a pipeline by name: the testbed, a folder, or a repository of the hub."""

from __future__ import annotations

import inspect
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from concepts.errors import InputError, MismatchError, NotFoundError, UVRError, did_you_mean
from uvr import testbed
from uvr.families.family import tap_width
from uvr.families.known import family_of
from uvr.method.presets import ModulatePreset, RestrictPreset
from uvr.placement import Placement
from uvr.profiles import CHECK, PROFILES, ModelProfile

TESTBED = "testbed"


def load_pipeline(
    model: str,
    task: str | None = None,
    profile: ModelProfile | None = None,
    placement: Placement | None = None,
) -> tuple[Any, ModelProfile]:
    """Load a pipeline and find its profile.

    Args:
        model: "testbed", a folder with ``model_index.json``, or a repository of the hub,
            "OWNER/NAME".
        task: "t2i" or "edit"; "check" for the profile that finished pictures of the model's own
            pipeline are checked under; None for the task that this pipeline is made for.
        profile: Use this profile instead of the one found for the pipeline.
        placement: Precision and offload; the testbed takes none.

    Returns:
        The pipeline, on the GPU in bfloat16 where there is one, and its profile. The testbed stays
        on the CPU in float32.

    Raises:
        InputError: A placement is given for the testbed.
        NotFoundError: There is no such model here, or it cannot be fetched.
        MismatchError: No family of models knows the pipeline, or it is not for this task, or it
            lacks a tap of the profile.
    """
    if profile is not None and task not in (None, profile.task):
        raise MismatchError(
            f"The profile {profile.name!r} is for the task {profile.task!r}, not {task!r}."
        )
    pipe = _open(model, profile.task if profile else task, placement or Placement())
    if profile is not None:
        tap_width(family_of(pipe), pipe.transformer, profile.taps)
        return pipe, profile
    return pipe, _of_task(model, family_of(pipe).profiles(pipe), task)


def load_to_analyse(
    model: str,
    task: str | None = None,
    profile: ModelProfile | None = None,
    name: str | None = None,
) -> tuple[Any, ModelProfile]:
    """Load a pipeline that may have no profile; it gets one to begin with.

    Args:
        model: See ``load_pipeline``.
        task: The same; needed where the model has no profile.
        profile: See ``load_pipeline``.
        name: What to call the model, in place of the profile's name for it or the folder's.

    Raises:
        NotFoundError: See ``load_pipeline``.
        MismatchError: See ``load_pipeline``.
    """
    if profile is not None:
        pipe, found = load_pipeline(model, task, profile)
    else:
        pipe = _open(model, task, Placement())
        try:
            profiles = family_of(pipe).profiles(pipe)
        except MismatchError as error:
            if task is None:
                hint = "A model without one is analysed where its task is given."
                raise MismatchError(f"{error} {hint}") from error
            called = name or re.sub(r"[^A-Za-z0-9._-]+", "-", Path(model).name)
            profiles = [starting_profile(pipe, called, task)]
        found = _of_task(model, profiles, task)
    if name is None:
        return pipe, found
    return pipe, replace(found, model=name, name=f"{name}-{found.task}")


def _open(model: str, task: str | None, placement: Placement) -> Any:
    if model == TESTBED and placement != Placement():
        raise InputError(
            "The testbed runs in float32 on the CPU: it takes neither a dtype nor an offload."
        )
    with _quiet_loading():
        drawn = "t2i" if task in (None, CHECK) else task
        pipe = _load_testbed(drawn) if model == TESTBED else _load_pretrained(model, placement)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def starting_profile(pipe: Any, name: str, task: str) -> ModelProfile:
    """Make a profile to begin with for a model that has none: ``analyse`` finds its taps and look.

    Its tap is the layer in the middle, where the method's reference has it; look, stage
    and presets are the reference's; size, steps and length of the text are the pipeline's defaults.

    Args:
        pipe: A pipeline of a known family.
        name: What to call the model.
        task: "t2i" or "edit".

    Raises:
        MismatchError: No family recognises the pipeline.
    """
    layers = list(family_of(pipe).layers(pipe.transformer))
    usual = {
        given.name: given.default
        for given in inspect.signature(pipe.__call__).parameters.values()
        if given.name in ("num_inference_steps", "max_sequence_length", "guidance_scale")
    }
    side = int(getattr(pipe, "default_sample_size", 128)) * int(pipe.vae_scale_factor)
    return ModelProfile(
        name=f"{name}-{task}",
        model=name,
        task=task,
        taps=(layers[len(layers) // 2],),
        sigma=0.9,
        stage_end=0.85,
        restrict=RestrictPreset(),
        modulate=ModulatePreset() if task == "edit" else None,
        close_gaps=True,
        call={"height": side, "width": side, **usual},
    )


def _of_task(model: str, profiles: Sequence[ModelProfile], task: str | None) -> ModelProfile:
    """The one of a model's profiles that is for a task, the first of them for None."""
    if task == CHECK:
        return check_profile_of(profiles[0])
    for profile in profiles:
        if task in (None, profile.task):
            return profile
    raise MismatchError(
        f"Model {model!r} is for the task {profiles[0].task!r}, not {task!r}. "
        f"Models for {task!r}: {', '.join(_models_for(task))}."
    )


def check_profile_of(profile: ModelProfile) -> ModelProfile:
    """The profile that finished pictures of a profile's model are checked under.

    Raises:
        MismatchError: There is none.
    """
    for known in PROFILES.values():
        if (known.model, known.task) == (profile.model, CHECK):
            return known
    raise MismatchError(
        f"No profile says how finished pictures of {profile.model!r} are checked. Models that one "
        f"is for: {', '.join(_models_for(CHECK))}. Give the regulator a judge instead."
    )


def _models_for(task: str | None) -> list[str]:
    return sorted({profile.model for profile in PROFILES.values() if profile.task == task})


def _load_testbed(task: str) -> Any:
    pipe: Any = testbed.load_testbed(task)
    return pipe


def _load_pretrained(model: str, placement: Placement) -> Any:
    if os.path.isdir(model) and not os.path.isfile(os.path.join(model, "model_index.json")):
        raise NotFoundError(f"The folder {model!r} holds no pipeline: no model_index.json in it.")
    dtype = placement.torch_dtype()
    try:
        with warnings.catch_warnings():
            # Newer releases of diffusers call it dtype; the older ones know this name only.
            warnings.filterwarnings("ignore", "`torch_dtype` is deprecated", FutureWarning)
            pipe: Any = DiffusionPipeline.from_pretrained(model, torch_dtype=dtype)
    # A missing repository, no network and a malformed name are all one of these.
    except (OSError, ValueError) as error:
        hint = did_you_mean(model, [TESTBED])
        raise NotFoundError(
            f"Cannot load a model from {model!r}: not a folder here, and the hub says: "
            f"{_first_line(error)}{hint}"
        ) from error
    try:
        return placement.place(pipe)
    except torch.OutOfMemoryError as error:
        raise UVRError(f"Model {model!r} does not fit into the GPU's memory.") from error


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Hold back the libraries' bars and notices while a pipeline loads; errors still show."""
    libraries = (diffusers_logging, transformers_logging)
    verbosity = [library.get_verbosity() for library in libraries]
    bars = [library.is_progress_bar_enabled() for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, level, bar in zip(libraries, verbosity, bars, strict=True):
            library.set_verbosity(level)
            if bar:
                library.enable_progress_bar()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
