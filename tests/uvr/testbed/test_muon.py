import pytest
import torch
from torch import nn

from uvr.testbed.muon import Muon, orthogonalized


@pytest.mark.parametrize("shape", [(8, 8), (24, 8), (8, 24)])
def test_orthogonalized_has_singular_values_near_one(shape):
    torch.manual_seed(0)
    x = orthogonalized(torch.randn(shape))
    assert x.shape == shape
    values = torch.linalg.svdvals(x)
    assert values.max() < 1.3
    assert values.median() > 0.6


def test_a_step_is_that_of_torch_s_own_muon_but_for_rounding():
    torch.manual_seed(1)
    start, gradients = torch.randn(16, 8), [torch.randn(16, 8) for _ in range(3)]
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizers = [
        Muon([ours], lr=0.1, weight_decay=0.01),
        torch.optim.Muon([theirs], lr=0.1, weight_decay=0.01),
    ]
    for gradient in gradients:
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert torch.allclose(ours, theirs, atol=0.02)
    assert not torch.allclose(ours, start, atol=0.1)


def test_a_matrix_without_gradient_stays():
    matrix = nn.Parameter(torch.eye(3))
    Muon([matrix], lr=0.1, weight_decay=0.1).step()
    assert torch.equal(matrix, torch.eye(3))
