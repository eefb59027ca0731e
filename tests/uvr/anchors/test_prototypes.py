import numpy as np
import pytest

from concepts.anchors import AnchorSet
from concepts.definition import ConceptDefinition
from concepts.errors import DefinitionError
from tests.uvr.conftest import space_of
from uvr.anchors.calibration import fit_options, fit_scorer
from uvr.profiles import ModelProfile

DIM, PATCHES = 48, 16


def two_faced(profile: ModelProfile, seed: int = 0) -> AnchorSet:
    """A concept that looks like one of two things which differ from the rest in opposite ways."""
    random = np.random.default_rng(seed)
    faces = 5 * np.eye(DIM)[:1] * np.array([[1.0], [-1.0]]) + 3 * np.eye(DIM)[1]
    anchors = faces[np.arange(60) % 2] + random.normal(size=(60, DIM))
    return AnchorSet(
        space=space_of(profile, DIM),
        anchors=anchors.astype(np.float32),
        anchor_images=np.repeat(np.arange(15), 4).astype(np.int32),
        counter_anchors=random.normal(size=(200 * PATCHES, DIM)).astype(np.float32),
        counter_images=np.repeat(np.arange(100, 300), PATCHES).astype(np.int32),
        provenance={},
    )


def test_two_prototypes_find_both_faces_of_a_concept(t2i_profile):
    chosen, fresh = two_faced(t2i_profile), two_faced(t2i_profile, seed=1)
    recalls = {}
    for count in (1, 2):
        scorer = fit_scorer(chosen, prototypes=count)
        scores = (fresh.anchors @ scorer.weights.T + scorer.offset).max(axis=1)
        recalls[count] = float((scores >= scorer.seed_threshold).mean())
        assert scorer.weights.shape == (count, DIM)
    assert recalls[1] < 0.6
    assert recalls[2] > 0.95


@pytest.mark.parametrize("rule", ["whitened", "mean"])
def test_thresholds_hold_for_the_highest_of_several_scores(t2i_profile, rule):
    chosen = two_faced(t2i_profile)
    scorer = fit_scorer(chosen, prototypes=8, rule=rule, image_false_positive_rate=0.05)
    fresh = two_faced(t2i_profile, seed=1).counter_anchors
    benign = (fresh @ scorer.weights.T + scorer.offset).max(axis=1)
    assert np.mean(benign.reshape(-1, PATCHES).max(axis=1) >= scorer.seed_threshold) < 0.12
    assert np.mean(benign >= scorer.grow_threshold) < 0.04
    assert scorer.metadata["prototypes"] == len(scorer.weights)


def test_one_prototype_is_the_scorer_that_there_was_before(t2i_profile):
    chosen = two_faced(t2i_profile)
    scorer = fit_scorer(chosen, prototypes=1)
    assert scorer.digest == fit_scorer(chosen).digest
    assert "prototypes" not in scorer.metadata


def test_more_prototypes_than_anchors_are_as_many_as_there_can_be(t2i_profile):
    scorer = fit_scorer(two_faced(t2i_profile), prototypes=64)
    assert 2 <= len(scorer.weights) <= 60
    assert scorer.digest == fit_scorer(two_faced(t2i_profile), prototypes=64).digest


def test_a_definition_says_how_many(t2i_profile):
    parts = {
        "slug": "x", "name": "X", "category": "object", "description": "An x.",
        "prompts": ["an x"], "near_misses": ["a y"],
    }  # fmt: skip
    definition = ConceptDefinition.from_dict({**parts, "parameters": {"prototypes": 4}})
    options = fit_options(two_faced(t2i_profile), {"prototypes": 2}, definition.parameters)
    assert options == {"prototypes": 4}
    for wrong in (0, 65, 2.5):
        with pytest.raises(DefinitionError, match="a whole number from 1 to 64"):
            ConceptDefinition.from_dict({**parts, "parameters": {"prototypes": wrong}})
