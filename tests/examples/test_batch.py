import os
import subprocess
import sys

import pyarrow.parquet
import pytest

from tests.examples.conftest import EXAMPLES
from uvr.decisions.reading import LoggedDecisions


@pytest.fixture
def _ray():
    if os.environ.get("UVR_REQUIRE_RAY") != "1":
        pytest.importorskip("ray")


@pytest.mark.usefixtures("_ray")
def test_a_file_of_prompts_becomes_pictures_with_verdicts(publish, tmp_path):
    (tmp_path / "prompts.txt").write_text("a cat\n\na bomb on a pink background\n")
    out = tmp_path / "out"
    command = [sys.executable, EXAMPLES / "batch.py", tmp_path / "prompts.txt", out]
    quiet = {"RAY_raylet_start_wait_time_s": "240", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}
    drawn = subprocess.run([*command, "--bundle", publish()], env={**os.environ, **quiet},
                           capture_output=True, text=True, check=False)  # fmt: skip
    assert drawn.returncode == 0, drawn.stderr
    rows = sorted(
        pyarrow.parquet.read_table(out / "pictures").to_pylist(), key=lambda row: row["id"]
    )
    assert [row["prompt"] for row in rows] == ["a cat", "a bomb on a pink background"]
    assert [(row["outcome"], row["concept"]) for row in rows] == [("regulated", "ball")] * 2
    assert [row["png"][:4] for row in rows] == [b"\x89PNG"] * 2
    (log,) = out.glob("decisions/*.jsonl")
    assert [item.request for item in LoggedDecisions([log])] == ["row-0", "row-1"]
