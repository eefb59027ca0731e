from __future__ import annotations

import numpy as np
import pytest
import torch

from concepts.scorer import Scorer
from tests.uvr.conftest import make_scorer
from uvr.method.scores import ScorerStack


def test_the_score_is_the_best_prototype_plus_its_offset():
    scorer = Scorer(
        rule="mean",
        weights=np.array([[1, 0], [0, 2]], dtype=np.float32),
        offset=np.array([0.5, -1], dtype=np.float32),
        seed_threshold=1.0,
        grow_threshold=0.5,
        metadata={},
    )
    features = torch.tensor([[[1.0, 0.0], [0.0, 3.0]]])
    assert ScorerStack([scorer]).scores(features).tolist() == [[[1.5, 5.0]]]


def test_one_mean_anchor_equals_the_mean_over_anchors():
    generator = np.random.default_rng(0)
    anchors = generator.normal(size=(20, 8)).astype(np.float32)
    features = torch.from_numpy(generator.normal(size=(2, 9, 8)).astype(np.float32))
    over_anchors = (features @ torch.from_numpy(anchors).T).mean(dim=-1)
    scores = ScorerStack([make_scorer(anchors.mean(axis=0), 0)]).scores(features)
    torch.testing.assert_close(scores[:, 0], over_anchors)


def test_many_concepts_are_scored_as_each_alone_in_the_order_given():
    generator = np.random.default_rng(0)
    scorers = [
        Scorer(
            "whitened",
            generator.normal(size=(rows, 8)).astype(dtype),
            generator.normal(size=rows),
            0.0,
            0.0,
        )
        for rows, dtype in zip((3, 1, 16, 1, 3, 2), 3 * (np.float32, np.float16), strict=True)
    ]
    features = generator.normal(size=(2, 9, 8)).astype(np.float32)
    expected = [
        (features @ scorer.weights.astype(np.float32).T + scorer.offset).max(axis=-1)
        for scorer in scorers
    ]
    scores = ScorerStack(scorers).scores(torch.from_numpy(features))
    torch.testing.assert_close(scores, torch.from_numpy(np.stack(expected, axis=1)))


def test_weights_are_stacked_once_for_a_device(monkeypatch):
    stack = ScorerStack([make_scorer(np.ones(2), 0), make_scorer(np.zeros(2), 0)])
    features = torch.ones(1, 4, 2)
    first = stack.scores(features)
    monkeypatch.setattr("uvr.method.scores.np.concatenate", None)
    assert torch.equal(stack.scores(features), first)


def test_features_of_another_width_are_refused():
    with pytest.raises(ValueError, match="3 dimensions, the scorers expect 2"):
        ScorerStack([make_scorer(np.ones(2), 0)]).scores(torch.zeros(1, 4, 3))
