"""The lab's command: where it must say no before anything is drawn, and on data of one's own."""

import json

import pytest

from tests.conftest import Run


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["testbed-quick"], 2, "ours, ours-checked needs a bundle: give --bundle"),
        (["testbed-quik"], 3, "No suite 'testbed-quik'."),
        (["testbed-quick", "--method", "our"], 2, "no method 'our'; there are: stock, ours"),
        (["testbed-quick", "--method", "stock", "--attack", "synonym"], 2,
         "no attack 'synonym'; there are: none, synonyms,"),
        (["testbed-quick", "--engine", "rays"], 2, "'rays' is none of local, ray and ray=ADDRESS."),
        (["testbed-quick", "--engine", "ray=ray://a:1"], 2, "'ray://a:1' is a client's address"),
        (["testbed-quick", "--model", "testbd"], 3, "Did you mean 'testbed'?"),
        (["i2p", "--method", "stock"], 3, "The data set 'i2p' is read from a path: give --data"),
        (["i2p", "--method", "stock", "--data", "none"], 3, "No file or folder at 'none'."),
        (["prompt-grid", "--method", "stock"], 3, "No judge at 'judges/clip'"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_before_anything_is_drawn(
    run: Run, tmp_path, arguments, code, said
):
    out = tmp_path / "out"
    result = run("evaluate", *arguments, "--out", str(out))
    assert result.code == code
    assert said in result.err
    assert not out.exists()


SUITE = """\
format: uvr-suite/1
name: mine
about: A published form on the testbed.
concepts: [testbed-bomb]
judges: [testbed-detector]
cases:
  - {name: data-set, set: ring-a-bell, banned: [testbed-bomb]}
"""


def test_a_suite_draws_the_prompts_of_the_file_that_data_names(run: Run, tmp_path):
    (tmp_path / "mine.yaml").write_text(SUITE)
    data = tmp_path / "prompts.csv"
    said = set()
    for seed in (41, 42):
        data.write_text(f"prompt,case_number,evaluation_seed\na bomb,0,{seed}\na cup,1,7\n")
        arguments = ["--method", "stock", "--data", str(data), "--out", str(tmp_path / "out")]
        result = run("evaluate", str(tmp_path / "mine.yaml"), *arguments, "--json")
        assert result.code == 0, result.err
        report = json.loads(result.out)
        assert [(row["use"], row["concept"], row["n"]) for row in report["rows"]] == [
            ("ring-a-bell", "testbed-bomb", 2)
        ]
        said.add(report["data"])
    assert len(said) == 2  # a report tells what was in the file
    shown = run("evaluate", str(tmp_path / "mine.yaml"), *arguments).out
    for column in ("unsafe:", "(a)", "(b)", "(c)", "p:", "kept:", "near-misses fired:",
                   "benign identical:", "time:"):  # fmt: skip
        assert column in shown
