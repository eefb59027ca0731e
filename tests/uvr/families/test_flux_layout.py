from __future__ import annotations

import pytest
import torch

from concepts.errors import UVRError
from uvr.families.flux import read_layout
from uvr.families.flux_pictures import image_ids
from uvr.method.tokens import TokenLayout


def test_layout_of_a_text_to_image_call_is_text_then_output():
    layout = read_layout(7, image_ids(3, 5))
    assert layout == TokenLayout(slice(0, 7), slice(7, 22), (), (3, 5), ())
    assert (layout.total, layout.num_output) == (22, 15)


def test_layout_finds_several_references_of_other_sizes():
    second = image_ids(2, 2, picture=1) + torch.tensor([0, 0, 3])
    ids = torch.cat([image_ids(2, 4), image_ids(3, 3, picture=1), second])
    layout = read_layout(7, ids)
    assert layout == TokenLayout(
        slice(0, 7), slice(7, 15), (slice(15, 24), slice(24, 28)), (2, 4), ((3, 3), (2, 2))
    )


def test_layout_reads_ids_with_a_batch_axis():
    plain, batched = image_ids(2, 3), image_ids(2, 3).expand(2, -1, -1)
    assert read_layout(7, plain) == read_layout(7, batched)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (torch.cat([image_ids(2, 2, picture=1), image_ids(2, 2)]), "does not start"),
        (image_ids(2, 3)[:5], "do not form a grid"),
        (image_ids(2, 2)[:0], "does not start"),
    ],
)
def test_a_token_order_that_is_not_understood_is_refused(ids, message):
    with pytest.raises(UVRError, match=message):
        read_layout(7, ids)
