import pytest
import torch

from uvr.method.features import Features, resized
from uvr.method.taps import at_both, layer_of, output_dim, output_taps, reference_taps

TAPS = ("a.1", "a.2", "a.1@reference", "a.2@reference")


def test_a_tap_names_its_layer_and_whose_tokens_it_reads():
    assert at_both(("a.1", "a.2")) == TAPS
    assert [layer_of(tap) for tap in TAPS] == ["a.1", "a.2"] * 2
    assert (output_taps(TAPS), reference_taps(TAPS)) == (list(TAPS[:2]), list(TAPS[2:]))
    assert (output_dim(TAPS, 12), output_dim(TAPS[:2], 12)) == (6, 12)


def test_features_of_given_pictures_are_put_behind_those_of_the_same_place():
    output = torch.arange(8.0).reshape(1, 4, 2)
    given = torch.arange(100.0, 116.0).reshape(1, 16, 1)
    (joined,) = Features(output, (given,)).joined((2, 2), [(4, 4)], 3)
    assert joined[0, :, :2].equal(output[0])
    assert joined[0, :, 2].tolist() == [105.0, 107.0, 113.0, 115.0]
    two = Features(output, (given, given + 1)).joined((2, 2), [(4, 4), (4, 4)], 3)
    assert torch.equal(two[1][..., 2], two[0][..., 2] + 1)


def test_zeros_stand_for_a_picture_that_is_not_there():
    output = torch.ones(2, 4, 2)
    assert Features(output).joined((2, 2), [], 2)[0] is output
    (joined,) = Features(output).joined((2, 2), [], 5)
    assert joined.shape == (2, 4, 5)
    assert not joined[..., 2:].any()


@pytest.mark.parametrize("shape", [(3, 6), (3, 6, 2)])
def test_values_keep_their_place_on_another_grid(shape):
    values = torch.arange(float(torch.Size(shape).numel())).reshape(shape)
    assert resized(values, (2, 3), (2, 3)) is values
    larger = resized(values, (2, 3), (4, 6))
    assert larger.shape == (3, 24, *shape[2:])
    assert torch.equal(resized(larger, (4, 6), (2, 3)), values)
