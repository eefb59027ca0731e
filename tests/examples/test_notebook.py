import json

from tests.examples.conftest import EXAMPLES


def test_the_notebook_runs_from_top_to_bottom(publish, monkeypatch, capsys):
    monkeypatch.setenv("UVR_BUNDLE", str(publish()))
    notebook = json.loads((EXAMPLES / "pictures.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    names: dict = {}
    for cell in cells:
        exec("".join(cell["source"]), names)
    assert names["stock"].tobytes() != names["image"].tobytes()
    assert capsys.readouterr().out.startswith("regulated - Ball was found at the look")
