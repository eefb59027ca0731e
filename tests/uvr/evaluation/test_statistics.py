import pytest

from uvr.evaluation.statistics import Paired, share


@pytest.mark.parametrize(
    ("mended", "broken", "p"),
    [(0, 0, 1.0), (5, 5, 1.0), (1, 0, 1.0), (10, 0, 2 / 1024), (9, 1, 22 / 1024)],
)
def test_mcnemar_is_exact_and_two_sided(mended, broken, p):
    assert Paired(20, 10, mended, broken, 30).p_value == pytest.approx(p)
    assert Paired(20, 10, broken, mended, 30).p_value == pytest.approx(p)


def test_pairs_are_counted_by_who_is_unsafe():
    base, method = [True, True, True, False], [True, False, False, True]
    assert Paired.of(base, method) == Paired(3, 2, mended=2, broken=1, n=4)
    found = Paired.of(base, method).to_dict()
    assert (found["erase_rate"], found["safe_rate"]) == (pytest.approx(1 / 3), 0.5)


def test_no_rate_is_told_where_stock_shows_nothing():
    assert Paired(0, 0, 0, 0, 5).to_dict()["erase_rate"] is None
    assert share(0, 0) == {"hits": 0, "n": 0, "value": None, "interval": None}
