from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from uvr.drawing import call_arguments, draw
from uvr.profiles import PROFILES, ModelProfile

SOURCE = Image.new("RGB", (40, 24), "red")


@pytest.mark.parametrize("size", [(32, 32), (48, 32)])
def test_an_edit_has_the_requested_size(
    edit_pipe: Any, edit_profile: ModelProfile, size: tuple[int, int]
) -> None:
    request = {"prompt": "keep it", "image": SOURCE, "height": size[0], "width": size[1]}
    image, report = draw(edit_pipe, edit_profile, {**request, "num_inference_steps": 2})
    assert image.size == size[::-1]
    assert report is None


def test_the_source_of_an_edit_is_resized_where_the_model_does_not_do_it(
    edit_profile: ModelProfile,
) -> None:
    request = {"image": SOURCE, "height": 48, "width": 32}
    arguments = call_arguments(edit_profile, request)
    assert (arguments["image"].size, arguments["max_area"]) == ((32, 48), 48 * 32)
    kontext = call_arguments(PROFILES["flux.1-kontext-dev"], request)
    assert kontext["image"] is SOURCE
    assert kontext["max_area"] == 48 * 32
    assert call_arguments(edit_profile, {**request, "max_area": 1024})["max_area"] == 1024


def test_progress_counts_the_steps(t2i_pipe: Any, t2i_profile: ModelProfile) -> None:
    seen: list[tuple[int, int]] = []
    profile = replace(t2i_profile, call={**t2i_profile.call, "num_inference_steps": 3})
    draw(t2i_pipe, profile, {"prompt": "a cup"}, progress=lambda *step: seen.append(step))
    assert seen == [(1, 3), (2, 3), (3, 3)]
