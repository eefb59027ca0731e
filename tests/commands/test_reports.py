"""The commands that write reports; tiny random weights stand in for the testbed's."""

import zipfile
from pathlib import Path
from typing import Any

import pytest

from concepts.errors import VerificationError
from registry.registry import Registry
from tests.conftest import Run


@pytest.fixture
def collected(run: Run, filled: Registry, models, pictures) -> Registry:
    """Version 2 of 'pistol', from four pictures of it and four others, all on record."""
    result = run(
        "collect-anchors", "pistol", "--model", models["t2i"], "--images", pictures / "with",
        "--benign", pictures / "without", "--origin", "archive", "--legal-basis", "licence",
        "--yes",
    )  # fmt: skip
    assert result.code == 0, result.err
    return filled


def refuse(*arguments: Any, **options: Any) -> None:
    raise VerificationError("a model was loaded")


def test_a_second_report_draws_nothing_and_the_cache_may_be_deleted(
    run, collected, models, monkeypatch, home
):
    ask = ("report", "pistol", "--model", models["t2i"], "--count", "2", "--out", "page.html")
    first = run(*ask, "--json")
    assert first.code == 0, first.err
    (place,) = first.json()["places"]
    assert place["examples"]["must_catch"]["n"] == place["examples"]["benign"]["n"] == 2
    page = Path("page.html").read_text("utf-8")
    with monkeypatch.context() as patched:
        patched.setattr("console.evidence.drawing.load_pipeline", refuse)
        assert run(*ask, "--json").json() == first.json()
    assert page.count('<figure class="contact') == 6
    for file in (home / "cache").rglob("*.png"):
        file.unlink()
    assert run(*ask, "--json").json() == first.json()


def test_the_cache_is_in_no_backup_and_nothing_counts_on_it(run, collected, models, home):
    assert run("report", "pistol", "--model", models["t2i"], "--count", "1", "--json").code == 0
    assert list((home / "cache").rglob("*.png"))
    assert run("backup", "all.zip").code == 0
    with zipfile.ZipFile("all.zip") as archive:
        assert not [name for name in archive.namelist() if "cache" in name or "png" in name]
    assert run("gc", "--yes").code == run("doctor").code == 0


def test_given_pictures_are_told_by_their_hashes_and_kept_nowhere(
    run, collected, models, pictures, home
):
    given = ("--images", pictures / "with", "--benign", pictures / "without")
    out = ("--out", "page.html", "--json")
    result = run("report", "pistol@2", "--model", models["t2i"], *given, *out)
    assert result.code == 0, result.err
    (place,) = result.json()["places"]
    assert place["note"].startswith(
        "These pictures were given for this report. 8 of 8 have a hash that is on record"
    )
    assert place["seen"]
    assert place["examples"]["must_catch"]["n"] == place["examples"]["benign"]["n"] == 4
    assert Path("page.html").read_text("utf-8").count('<figure class="contact') == 8
    assert not (home / "cache" / "examples").exists()


def test_pictures_of_another_model_are_asked_for_by_its_name(run, collected):
    result = run("report", "version", "pistol", "--json")
    assert result.code == 0
    (place,) = result.json()["places"]
    assert place["examples"] is None
    assert place["note"].startswith("Its pictures could not be drawn. The examples are of other")


def test_a_release_and_an_instant_are_reported(run, collected, models):
    assert run("release", "policy").code == 0
    assert run("channel", "move", "prod", "policy").code == 0
    result = run("report", "release", "policy", "--kept", "--out", "release.html", "--json")
    assert result.code == 0, result.err
    assert result.json()["pictures"] == {"pistol": {"t2i": None}}
    found = run("report", "governance", "--json").json()
    assert [item["slug"] for item in found["channels"][0]["banned"]] == ["pistol"]
    text = run("report", "governance").out
    assert "prod: policy@1" in text
    assert "licence (archive)" in text
    assert "Strictness set by hand, not measured: pistol (testbed t2i)" in text


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("report", "pistol"), 2, "Give --out FILE, or --json for the numbers."),
        (("report", "pistol", "--images", "a", "--json"), 2, "--images and --benign go together."),
        (("report", "pistl", "--json"), 3, "No concept 'pistl'. Did you mean 'pistol'?"),
        (("report", "release", "policy@x", "--json"), 2, "neither BUNDLE nor BUNDLE@NUMBER"),
    ],
)
def test_reports_say_what_is_wrong(run, filled, arguments, code, message):
    result = run(*arguments)
    assert result.code == code
    assert message in result.err
