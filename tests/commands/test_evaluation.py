"""The lab's command, where it must say no before anything is drawn."""

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
        (["testbed-quick", "--model", "testbd"], 3, "Did you mean 'testbed'?"),
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
