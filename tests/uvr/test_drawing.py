from __future__ import annotations

from dataclasses import replace

import pytest
from PIL import Image

from uvr.drawing import draw

SOURCE = Image.new("RGB", (40, 24), "red")


@pytest.mark.parametrize("size", [(32, 32), (48, 32)])
def test_an_edit_has_the_requested_size(edit_pipe, edit_profile, size):
    request = {"prompt": "keep it", "image": SOURCE, "height": size[0], "width": size[1]}
    image, report = draw(edit_pipe, edit_profile, {**request, "num_inference_steps": 2})
    assert image.size == size[::-1]
    assert report is None


def test_progress_counts_the_steps(t2i_pipe, t2i_profile):
    seen: list[tuple[int, int]] = []
    profile = replace(t2i_profile, call={**t2i_profile.call, "num_inference_steps": 3})
    draw(t2i_pipe, profile, {"prompt": "a cup"}, progress=lambda *step: seen.append(step))
    assert seen == [(1, 3), (2, 3), (3, 3)]
