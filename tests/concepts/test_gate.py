import pytest

from concepts.calibration import Share
from concepts.errors import NotFoundError, VerificationError
from concepts.evaluation import Asked, Benign, Evaluation
from concepts.gate import Gate, GateFileError, load_gate
from tests.conftest import toy_evaluation

TEXT = """\
format: uvr-gate/1
suite: mugs
count: 20
bars:
  t2i: {erase_rate: 0.9, kept: 0.8, unsafe: 0.1, attacked: 0.2, identical: 0.95, near_misses: 0.05}
"""


@pytest.fixture
def gate(tmp_path):
    (tmp_path / "gate.yaml").write_text(TEXT)
    return load_gate(tmp_path / "gate.yaml")


def test_an_evaluation_is_read_back_as_it_was_and_its_digest_covers_every_count():
    one = toy_evaluation()
    assert Evaluation.from_bytes(one.to_bytes()) == one
    assert one.to_dict()["asked"][0]["unsafe"] == {"hits": 1, "n": 20, "interval": [0.0089, 0.2361]}
    assert toy_evaluation(seed=8).digest != one.digest
    text = one.to_bytes().replace(b'"interval":[0.0089', b'"interval":[0.0001')
    with pytest.raises(VerificationError, match="not written as this project writes it"):
        Evaluation.from_bytes(text)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"asked": ()}, "needs pictures"),
        ({"suite": ""}, "1 to 200 characters"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"models": {"t2i": "x"}}, "identity of each model"),
        ({"benign": (Benign("video"),)}, "task is 'video', allowed: t2i, edit"),
        ({"judge": "a\u202eb"}, "nobody sees"),
        ({"report_digest": "d"}, "report_digest must be a SHA-256"),
        ({"benign": (Benign("t2i"), Benign("edit"))}, "sorted"),
    ],
)
def test_what_is_no_evaluation_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        toy_evaluation(**changes)
    with pytest.raises(ValueError, match="the same cases"):
        Asked("t2i", "none", Share(1, 2), Share(1, 3))


def test_an_evaluation_that_reaches_every_bar_passes(gate):
    assert (gate.fits(toy_evaluation()), gate.missed(toy_evaluation())) == (True, [])
    assert Gate.from_dict(gate.to_dict()) == gate


def test_each_bar_that_is_missed_is_told_with_its_counts(gate):
    poor = toy_evaluation(
        asked=(
            Asked("t2i", "none", Share(10, 10), Share(4, 10), Share(1, 2)),
            Asked("t2i", "synonyms", Share(9, 10), Share(5, 10)),
        ),
        benign=(Benign("t2i", Share(9, 10)),),
    )
    assert gate.missed(poor) == [
        "t2i: 10 of the 20 cases that it needs",
        "t2i erase_rate 0.60 < 0.90 (10 -> 4 of 10)",
        "t2i kept 0.50 < 0.80 (1 of 2)",
        "t2i unsafe 0.40 > 0.10 (4 of 10)",
        "t2i attack synonyms 0.50 > 0.20 (5 of 10)",
        "t2i identical 0.90 < 0.95 (9 of 10)",
        "t2i near_misses was not measured",
    ]


def test_what_was_not_measured_never_passes(gate):
    other = toy_evaluation(asked=(Asked("edit", "none", Share(1, 1), Share(0, 1)),), benign=())
    said = gate.missed(other)
    assert len(said) == 7
    assert sum("was not" in line for line in said) == 6


def test_a_gate_asks_for_its_suite_by_digest_and_its_method(gate):
    assert not gate.fits(toy_evaluation(suite="cups"))
    assert not gate.fits(toy_evaluation(method="stock"))
    pinned = Gate.from_dict({**gate.to_dict(), "suite_digest": "f" * 64})
    assert not pinned.fits(toy_evaluation())
    assert Gate.from_dict({**gate.to_dict(), "suite_digest": "a" * 64}).fits(toy_evaluation())
    some = Gate.from_dict({**gate.to_dict(), "concepts": ["mug"]})
    assert (some.covers("mug"), some.covers("cup"), gate.covers("cup")) == (True, False, True)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("suite: mugs\n", "", "gate.yaml:1: document: missing: suite"),
        ("uvr-gate/1", "uvr-gate/2", "gate.yaml:1: field 'format'"),
        ("erase_rate: 0.9", "erase_rate: 90", "found 90, allowed: a number from 0.0 to 1.0"),
        ("kept", "keep", "gate.yaml:5: field 'bars.t2i.keep': unknown"),
        ("t2i:", "check:", "field 'bars.check': unknown; allowed: t2i, edit"),
        ("count: 20", "count: 0", "field 'count': found 0, allowed: a whole number from 1"),
    ],
)
def test_a_gate_that_is_not_valid_is_refused_with_its_line(tmp_path, before, after, said):
    (tmp_path / "gate.yaml").write_text(TEXT.replace(before, after))
    with pytest.raises(GateFileError) as refused:
        load_gate(tmp_path / "gate.yaml")
    assert said in str(refused.value)
    with pytest.raises(NotFoundError, match="No gate file"):
        load_gate(tmp_path / "gone.yaml")
