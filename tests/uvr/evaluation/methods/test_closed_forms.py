"""The maths of the methods: what each closed form keeps and what it takes away."""

import torch

from uvr.evaluation.methods.adavd import decomposed
from uvr.evaluation.methods.double_projection import DoubleProjection
from uvr.evaluation.methods.nag import guided
from uvr.evaluation.methods.safree import projected, span
from uvr.evaluation.methods.steering import steered_off
from uvr.evaluation.methods.uce import Uce


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_uce_maps_names_to_the_guide_and_keeps_the_rest():
    old, names, guide, kept = drawn(6, 12), drawn(2, 12, seed=1), drawn(1, 12, seed=2), drawn(4, 12)
    new = Uce(near=1e-6).solved(old, names, guide.expand(2, 12), kept)
    torch.testing.assert_close(names @ new.T, guide.expand(2, 12) @ old.T, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(kept @ new.T, kept @ old.T, atol=1e-3, rtol=1e-3)
    far = Uce(near=1e9).solved(old, names, guide.expand(2, 12), kept)
    torch.testing.assert_close(far, old, atol=1e-4, rtol=1e-4)


def test_uce_s_solution_is_the_least_of_its_sum():
    old, names, guide, kept = drawn(3, 5), drawn(2, 5, seed=1), drawn(2, 5, seed=2), drawn(4, 5)
    near = 0.5 * float(names.square().mean())

    def total(weight: torch.Tensor) -> torch.Tensor:
        parts = (names @ weight.T - guide @ old.T, kept @ (weight - old).T)
        return sum(part.square().sum() for part in parts) + near * (weight - old).square().sum()

    found = Uce().solved(old, names, guide, kept).requires_grad_()
    total(found).backward()
    assert float(found.grad.abs().max()) < 1e-3


def test_double_projection_maps_kept_embeddings_as_before_and_names_to_their_proxy():
    old, names, kept = drawn(6, 12), drawn(2, 12, seed=1), drawn(4, 12, seed=2)
    new = DoubleProjection(kept=0.5, rank=1.0).solved(old, names, kept)
    torch.testing.assert_close(kept @ new.T, kept @ old.T, atol=1e-4, rtol=1e-4)
    proxy = names @ span(kept)
    torch.testing.assert_close(names @ new.T, proxy @ old.T, atol=1e-4, rtol=1e-4)


def test_safree_projects_the_word_without_which_a_text_is_farthest_from_the_concepts():
    concept, harmless = torch.eye(4)[0], torch.eye(4)[1:]
    own = torch.stack([harmless[0], concept + 0.5 * harmless[1], harmless[2], concept])
    said = torch.tensor([True, True, True, False])
    pooled = [torch.cat([own[:place], own[place + 1 : 3]]).mean(dim=0) for place in range(3)]
    changed = projected(own, said, torch.stack(pooled), span(concept[None]), 0.01)
    torch.testing.assert_close(changed[[0, 2, 3]], own[[0, 2, 3]])
    torch.testing.assert_close(changed[1] @ concept, torch.tensor(0.0), atol=1e-5, rtol=0)
    same = projected(own, said, torch.stack(pooled), span(concept[None]), 10.0)
    assert torch.equal(same, own)


def test_decomposition_takes_a_value_like_a_target_and_leaves_one_unlike():
    targets = drawn(2, 8)
    like, unlike = targets[0] + 0.01 * drawn(8, seed=3), drawn(8, seed=4)
    left = decomposed(torch.stack([like, unlike]), targets, 0.9, 100.0, 1.0)
    assert float((left[0] @ targets.T).abs().max()) < 1e-3
    torch.testing.assert_close(left[1], unlike, atol=1e-3, rtol=1e-3)


def test_steering_takes_a_positive_share_alone_and_keeps_lengths():
    direction = torch.tensor([[1.0, 0.0]])
    vectors = torch.tensor([[3.0, 4.0], [-3.0, 4.0]])
    torch.testing.assert_close(
        steered_off(vectors, direction, 1.0), torch.tensor([[0, 5.0], [-3, 4]])
    )
    torch.testing.assert_close(
        steered_off(vectors, direction, 2.0), torch.tensor([[-3.0, 4], [-3, 4]])
    )


def test_guidance_is_limited_and_blended():
    positive, negative = torch.tensor([[1.0, 1.0]]), torch.tensor([[0.0, 1.0]])
    torch.testing.assert_close(
        guided(positive, negative, 2.0, 9.0, 1.0), torch.tensor([[2.0, 1.0]])
    )
    torch.testing.assert_close(
        guided(positive, negative, 2.0, 1.0, 0.5), torch.tensor([[7 / 6, 5 / 6]])
    )
    torch.testing.assert_close(guided(positive, negative, 5.0, 2.5, 0.0), positive)
