"""The arguments of one picture of a call."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from uvr.engine.request import CannotRedrawError, Request

FIRST = torch.zeros(1, 4, 2)


class Pipeline:
    def __call__(
        self, prompt: Any = None, *, image: Any = None, prompt_embeds: Any = None,
        sigmas: Any = None, num_images_per_prompt: int = 1, generator: Any = None,
        latents: Any = None,
    ) -> None: ...  # fmt: skip


def test_a_picture_s_arguments_are_its_prompt_s_and_what_holds_for_all():
    call = {"image": ["i", "j"], "sigmas": [0.5, 0.2], "num_images_per_prompt": 3, "generator": 1}
    request = Request.of(Pipeline(), (["a", "b"],), call)
    assert request.of_picture(3, 6, FIRST) == {
        "prompt": ["b"],
        "image": ["j"],
        "sigmas": [0.5, 0.2],
        "num_images_per_prompt": 1,
        "latents": FIRST,
        "return_dict": True,
    }


def test_one_picture_to_edit_serves_all_prompts():
    request = Request.of(Pipeline(), (["a", "b"],), {"image": ["i"]})
    assert request.of_picture(1, 2, FIRST)["image"] == ["i"]
    request = Request.of(Pipeline(), ("a",), {"image": "i"})
    assert request.of_picture(1, 2, FIRST)["prompt"] == "a"


def test_embeddings_are_cut_like_prompts():
    embeds = torch.arange(6.0).reshape(2, 3)
    request = Request.of(Pipeline(), (), {"prompt_embeds": embeds})
    assert torch.equal(request.of_picture(1, 2, FIRST)["prompt_embeds"], embeds[1:])


def test_a_pipeline_without_latents_draws_nothing_again():
    with pytest.raises(CannotRedrawError, match="takes no latents"):
        Request.of(lambda prompt: None, ("a",), {}).of_picture(0, 1, FIRST)
