import numpy as np
import torch
from torch.nn import functional as F

from uvr.anchors.directions import fit_direction
from uvr.anchors.logistic import PENALTY, Others, logistic_vector

DIM = 6


def near_and_far(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A concept, others close to it along the second feature, and many far off that vary there."""
    random = np.random.default_rng(seed)
    anchors, near, far = (random.normal(size=(n, DIM)) * 0.3 for n in (300, 300, 1500))
    anchors[:, :2] += (3.0, 1.5)
    near[:, 0] += 3.0
    far[:, 0] -= 5.0
    far[:, 1] *= 15.0
    return anchors.astype(np.float32), np.concatenate([near, far]).astype(np.float32)


def test_the_vector_is_where_the_loss_is_flat():
    anchors, counters = near_and_far()
    weights = np.full(len(counters), 1 / len(counters))
    mean = counters.mean(axis=0, dtype=np.float64)
    found = logistic_vector(anchors, Others(counters, mean, weights), 1.0)
    spread = torch.from_numpy(counters).std(dim=0, correction=0) + 1e-6
    standard = (torch.from_numpy(found).float() * spread).requires_grad_()
    features = (
        torch.from_numpy(np.concatenate([anchors, counters])) - torch.from_numpy(mean).float()
    )
    features = features / spread
    labels = torch.cat([torch.ones(len(anchors)), torch.zeros(len(counters))])
    share = torch.cat([torch.full_like(part, 1 / len(part)) for part in labels.split(
        [len(anchors), len(counters)])])  # fmt: skip
    offset = torch.zeros(1, requires_grad=True)
    search = torch.optim.LBFGS([offset], max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        search.zero_grad()
        value = (
            share
            @ F.binary_cross_entropy_with_logits(
                features @ standard + offset, labels, reduction="none"
            )
            + PENALTY * standard.square().sum()
        )
        value.backward()
        return value

    search.step(loss)
    standard.grad = None
    loss()
    assert standard.grad is not None
    assert standard.grad.abs().max() < 1e-3


def test_it_tells_what_lies_close_better_than_whitening_does():
    anchors, counters = near_and_far()
    fresh, others = near_and_far(1)
    missed = []
    for rule in ("whitened", "logistic"):
        direction = fit_direction(anchors, counters, rule=rule)
        line = np.quantile(direction.scores(others), 0.99)
        missed.append(float(np.mean(direction.scores(fresh) <= line)))
    assert missed[1] < missed[0] / 2
    assert missed[1] < 0.2


def test_many_counter_anchors_are_drawn_from_and_the_answer_follows_from_them(monkeypatch):
    anchors, counters = near_and_far()
    whole = fit_direction(anchors, counters, rule="logistic")
    monkeypatch.setattr("uvr.anchors.logistic.MOST_OTHERS", 900)
    part, again = (fit_direction(anchors, counters, rule="logistic") for _ in range(2))
    assert np.array_equal(part.weight, again.weight)
    agreement = np.corrcoef(whole.scores(counters), part.scores(counters))[0, 1]
    assert agreement > 0.98
