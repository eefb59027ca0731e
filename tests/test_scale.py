"""The benchmark of growth runs, at tiny sizes."""

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

SCALE = Path(__file__).parent.parent / "benchmarks" / "scale.py"


def test_the_growth_of_cost_is_measured_in_pairs(tmp_path, capsys, monkeypatch):
    spec = spec_from_file_location("scale", SCALE)
    scale = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "scale", scale)  # dataclasses look there
    spec.loader.exec_module(scale)
    scale.main(["--quick", "--pairs", "2", "--json", str(tmp_path / "scale.json")])
    rows = json.loads((tmp_path / "scale.json").read_text())
    assert rows == [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["series"], row["fires"]) for row in rows] == [
        ("concepts", False), ("concepts", False),
        ("tokens", False), ("tokens", True), ("tokens", False), ("tokens", True),
        ("batch", False), ("batch", True), ("batch", False), ("batch", True),
    ]  # fmt: skip
    for row in rows:
        assert row["n"] == 2
        assert row["ratio"] == row["regulated_s"] / row["stock_s"]
        assert row["cpu_pairs"][0] <= row["cpu_pairs"][1]
