import dataclasses
import hashlib

import numpy as np
import pytest

from concepts.anchors import AnchorSet, AnchorSpace
from concepts.errors import VerificationError
from concepts.scorer import Scorer
from concepts.tensors import write_tensors

SPACE = AnchorSpace("testbed", "r1", "edit", ("blocks.0", "blocks.1"), 3, 0.95)


def anchor_set(**changes):
    parts = {
        "space": SPACE,
        "anchors": np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32),
        "anchor_images": np.array([0, 1]),
        "counter_anchors": np.array([[0.1, 0, 0]]),
        "counter_images": np.array([7]),
        "provenance": {"method": "images", "seeds": (1, 2)},
    }
    return AnchorSet(**{**parts, **changes})


def scorer(**changes):
    parts = {
        "rule": "whitened",
        "weights": np.eye(3)[:2],
        "offset": np.array([0.0, -1.0]),
        "seed_threshold": 3,
        "grow_threshold": 2.5,
        "metadata": {"shrinkage": np.float32(0.5)},
    }
    return Scorer(**{**parts, **changes})


def test_space_round_trips_and_its_digest_is_fixed():
    assert AnchorSpace.from_dict(SPACE.to_dict()) == SPACE
    document = (
        '{"dim":3,"model":"testbed","revision":"r1","sigma":0.95,'
        '"taps":["blocks.0","blocks.1"],"task":"edit"}'
    )
    assert SPACE.digest == hashlib.sha256(document.encode()).hexdigest()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "flux"), ("revision", ""), ("task", "t2i"), ("taps", ("blocks.1", "blocks.0")),
        ("dim", 4), ("sigma", 0.9),
    ],
)  # fmt: skip
def test_every_field_of_a_space_is_in_its_digest(name, value):
    assert dataclasses.replace(SPACE, **{name: value}).digest != SPACE.digest


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", ""), ("revision", None), ("task", "video"), ("taps", ()), ("taps", ("a", "a")),
        ("dim", 0), ("dim", True), ("sigma", 1.5), ("sigma", float("nan")), ("sigma", "1"),
    ],
)  # fmt: skip
def test_space_checks_itself(name, value):
    with pytest.raises(ValueError, match=name.removesuffix("s")):
        dataclasses.replace(SPACE, **{name: value})


def test_anchor_set_round_trips_byte_equal():
    made = anchor_set()
    again = AnchorSet.from_bytes(made.to_bytes())
    assert again.to_bytes() == made.to_bytes()
    assert (again.digest, again.space, again.provenance) == (
        made.digest,
        SPACE,
        {"method": "images", "seeds": [1, 2]},
    )
    np.testing.assert_array_equal(again.anchors, made.anchors)
    assert again.anchor_images.dtype == np.int32


def test_float16_halves_the_vectors():
    again = AnchorSet.from_bytes(anchor_set().to_bytes(dtype="float16"))
    assert again.anchors.dtype == np.float32
    np.testing.assert_allclose(again.counter_anchors, [[0.1, 0, 0]], atol=1e-4)


def test_float16_overflow_is_refused():
    with pytest.raises(ValueError, match="infinity"):
        anchor_set(anchors=np.full((2, 3), 1e6)).to_bytes(dtype="float16")


def test_digest_covers_vectors_and_space_but_not_provenance():
    made = anchor_set()
    other_space = dataclasses.replace(SPACE, sigma=0.5)
    assert anchor_set(provenance={}).digest == made.digest
    assert anchor_set(space=other_space).digest != made.digest
    assert anchor_set(counter_images=np.array([8])).digest != made.digest


@pytest.mark.parametrize(
    "changes",
    [
        {"anchors": np.zeros((0, 3)), "anchor_images": np.zeros(0, int)},
        {"anchors": np.zeros((2, 4))},
        {"anchors": np.zeros(3)},
        {"anchors": np.array([[np.nan] * 3] * 2)},
        {"anchors": np.full((2, 3), 1e300)},
        {"anchor_images": np.array([0])},
        {"anchor_images": np.array([0.5, 1.0])},
        {"counter_images": np.array([1 << 40])},
    ],
    ids=["none", "dim", "axes", "nan", "overflow", "count", "kind", "range"],
)
def test_anchor_set_checks_itself(changes):
    with pytest.raises(ValueError):  # noqa: PT011 (each case has its own message)
        anchor_set(**changes)


def test_a_set_may_hold_no_counter_anchors():
    made = anchor_set(counter_anchors=np.zeros((0, 3)), counter_images=np.zeros(0, int))
    assert AnchorSet.from_bytes(made.to_bytes()).digest == made.digest


@pytest.mark.parametrize(
    "data",
    [
        b"",
        write_tensors(anchor_set().to_tensors()),
        write_tensors({}, {"space": SPACE.to_dict(), "provenance": {}}),
        write_tensors(anchor_set().to_tensors(), {"space": {}, "provenance": {}}),
    ],
    ids=["empty", "no metadata", "no tensors", "no space"],
)
def test_other_bytes_are_no_anchor_set(data):
    with pytest.raises(VerificationError):
        AnchorSet.from_bytes(data)


def test_scorer_round_trips():
    made = scorer()
    again = Scorer.from_tensors(made.to_dict(), made.to_tensors())
    assert (again.digest, again.to_dict(), again.dim) == (made.digest, made.to_dict(), 3)
    assert made.to_dict() == {
        "rule": "whitened", "seed_threshold": 3.0, "grow_threshold": 2.5,
        "metadata": {"shrinkage": 0.5},
    }  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [{"rule": "mean"}, {"offset": np.zeros(2)}, {"seed_threshold": 4}, {"metadata": {}}],
)
def test_scorer_digest_covers(changes):
    assert scorer(**changes).digest != scorer().digest


@pytest.mark.parametrize(
    "changes",
    [
        {"rule": "max"}, {"weights": np.zeros((0, 3)), "offset": np.zeros(0)},
        {"offset": np.zeros(1)}, {"seed_threshold": float("inf")}, {"grow_threshold": 9.0},
        {"seed_threshold": 10**400},
    ],
)  # fmt: skip
def test_scorer_checks_itself(changes):
    with pytest.raises(ValueError):  # noqa: PT011 (each case has its own message)
        scorer(**changes)
