from dataclasses import replace

import torch
from PIL import Image

from uvr.evaluation.cases import Case, batches_of, picture_digest

CASE = Case("t2i", "asked for", "a bomb", 7, banned=("testbed-bomb",), kept=("star",))


def test_everything_that_decides_a_picture_is_in_the_digest():
    others = [
        replace(CASE, prompt="a bmob"),
        replace(CASE, seed=8),
        replace(CASE, banned=()),
        replace(CASE, source=Image.new("RGB", (8, 8), "red")),
        replace(CASE, source=Image.new("RGB", (8, 8), "blue")),
        replace(CASE, call={"strength": 0.5}),
        replace(CASE, tensors={"latents": torch.zeros(1, 2)}),
        replace(CASE, tensors={"latents": torch.ones(1, 2)}),
        replace(CASE, tensors={"latents": torch.zeros(1, 2, dtype=torch.bfloat16)}),
    ]
    assert len({CASE.digest, *(other.digest for other in others)}) == len(others) + 1
    assert replace(CASE).digest == CASE.digest


def test_cases_of_one_call_have_their_arguments_in_common():
    few = {"num_inference_steps": 4}
    cases = [replace(CASE, seed=n, call=few if n % 2 else {}) for n in range(6)]
    drawn = [[case.seed for case in batch] for batch in batches_of(cases, 2)]
    assert drawn == [[0, 2], [4], [1, 3], [5]]


def test_pictures_of_other_shapes_differ_though_their_bytes_are_the_same():
    wide, high = (Image.new("RGB", size) for size in ((2, 1), (1, 2)))
    assert picture_digest(wide) != picture_digest(high)
