from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from diffusers import BriaTransformer2DModel

import uvr
from concepts.errors import MismatchError
from tests.uvr.conftest import make_pipe
from uvr.families import known
from uvr.families.flux import FluxFamily
from uvr.families.known import family_of, register_family

FLUX_WORDS = re.compile(
    r"flux|kontext|img_ids|txt_ids|single_transformer_blocks|_pack_latents", re.IGNORECASE
)
AT_HOME = ("families/", "profiles.py", "testbed/", "evaluation/")
"""The testbed is a miniature FLUX, and rival methods and attacks are written for FLUX.1 alone."""


class Closer(FluxFamily):
    name = "closer"


def test_the_family_registered_last_is_asked_first(monkeypatch):
    monkeypatch.setattr(known, "_FAMILIES", [*known._FAMILIES])
    pipe: Any = make_pipe()
    assert type(family_of(pipe)) is FluxFamily
    register_family(Closer())
    assert type(family_of(pipe)) is Closer


def test_a_pipeline_of_no_known_family_is_refused_with_what_to_do():
    with pytest.raises(MismatchError, match=r"of none of the families.*register_family"):
        family_of(object())


def test_a_relative_that_takes_no_processors_is_of_no_family():
    transformer = BriaTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        axes_dims_rope=[4, 6, 6],
    )
    with pytest.raises(MismatchError, match="of none of the families"):
        family_of(SimpleNamespace(transformer=transformer))


def test_only_families_and_profiles_name_a_family():
    package = Path(str(files(uvr)))
    named = {
        f"{place}:{number}"
        for path in sorted(package.rglob("*.py"))
        if not (place := path.relative_to(package).as_posix()).startswith(AT_HOME)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if FLUX_WORDS.search(line)
    }
    assert named == set()
