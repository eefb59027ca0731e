from __future__ import annotations

import numpy as np
import pytest
import torch

from concepts.anchors import Scorer
from tests.uvr.conftest import make_scorer
from uvr.similarity import score_map


def test_the_score_is_the_best_prototype_plus_its_offset() -> None:
    scorer = Scorer(
        rule="mean",
        weights=np.array([[1, 0], [0, 2]], dtype=np.float32),
        offset=np.array([0.5, -1], dtype=np.float32),
        seed_threshold=1.0,
        grow_threshold=0.5,
        metadata={},
    )
    features = torch.tensor([[[1.0, 0.0], [0.0, 3.0]]])
    assert score_map(features, scorer).tolist() == [[1.5, 5.0]]


def test_one_mean_anchor_equals_the_mean_over_anchors() -> None:
    generator = np.random.default_rng(0)
    anchors = generator.normal(size=(20, 8)).astype(np.float32)
    features = torch.from_numpy(generator.normal(size=(2, 9, 8)).astype(np.float32))
    over_anchors = (features @ torch.from_numpy(anchors).T).mean(dim=-1)
    scores = score_map(features, make_scorer(anchors.mean(axis=0), 0))
    torch.testing.assert_close(scores, over_anchors)


def test_features_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="3 dimensions, the scorer expects 2"):
        score_map(torch.zeros(1, 4, 3), make_scorer(np.ones(2), 0))
