"""Commands on anchors."""

import pytest


def test_prototypes_share_out_the_anchors(run, filled):
    rows = run("prototypes", "pistol", "-k", 2, "--json").json()
    assert sum(row["anchors"] for row in rows) == 5
    assert sum(row["share"] for row in rows) == pytest.approx(1)
