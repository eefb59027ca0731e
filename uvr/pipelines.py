"""Load a pipeline by name: the testbed, a folder, or a repository of the hub."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from concepts.errors import MismatchError, NotFoundError, UVRError, did_you_mean
from uvr import testbed
from uvr.families.family import tap_width
from uvr.families.known import family_of, profile_for
from uvr.profiles import PROFILES, ModelProfile

TESTBED = "testbed"


def load_pipeline(
    model: str, task: str | None = None, profile: ModelProfile | None = None
) -> tuple[Any, ModelProfile]:
    """Load a pipeline and find its profile.

    Args:
        model: "testbed", a folder with ``model_index.json``, or a repository of the hub,
            "OWNER/NAME".
        task: "t2i" or "edit"; None for the task that the model's own pipeline is made for.
        profile: Use this profile instead of the one found for the pipeline.

    Returns:
        The pipeline, on the GPU in bfloat16 where there is one, and its profile. The testbed stays
        on the CPU in float32.

    Raises:
        NotFoundError: There is no such model here, or it cannot be fetched.
        MismatchError: No family of models knows the pipeline, or it is not for this task, or it
            lacks a tap of the profile.
    """
    if profile is not None and task not in (None, profile.task):
        raise MismatchError(
            f"The profile {profile.name!r} is for the task {profile.task!r}, not {task!r}."
        )
    pipe = open_pipeline(model, profile.task if profile else task)
    if profile is not None:
        tap_width(family_of(pipe), pipe.transformer, profile.taps)
        return pipe, profile
    profile = profile_for(pipe)
    if task not in (None, profile.task):
        raise MismatchError(
            f"Model {model!r} is for the task {profile.task!r}, not {task!r}. "
            f"Models for {task!r}: {', '.join(_models_for(task))}."
        )
    return pipe, profile


def open_pipeline(model: str, task: str | None = None) -> Any:
    """Load a pipeline that may have no profile; see ``load_pipeline``."""
    with _quiet_loading():
        pipe = _load_testbed(task or "t2i") if model == TESTBED else _load_pretrained(model)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _models_for(task: str | None) -> list[str]:
    return sorted({profile.model for profile in PROFILES.values() if profile.task == task})


def _load_testbed(task: str) -> Any:
    pipe: Any = testbed.load_testbed(task)
    return pipe


def _load_pretrained(model: str) -> Any:
    if os.path.isdir(model) and not os.path.isfile(os.path.join(model, "model_index.json")):
        raise NotFoundError(f"The folder {model!r} holds no pipeline: no model_index.json in it.")
    cuda = torch.cuda.is_available()
    dtype = torch.bfloat16 if cuda else torch.float32
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
        return pipe.to("cuda") if cuda else pipe
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
