"""Commands on releases."""

from dataclasses import replace
from pathlib import Path

import pytest

from concepts.bundle import read_bundle
from tests.commands.conftest import on_both
from tests.conftest import Result, toy_collection


@on_both
def test_release_writes_a_bundle_that_verifies(run, filled, tmp_path):
    released = run("release", "policy", "--out", "policy.uvr", "--json")
    assert (released.code, released.json()["sequence"]) == (0, 1)
    digest = read_bundle(tmp_path / "policy.uvr").digest
    assert run("bundle", "verify", "policy.uvr", "--digest", digest) == Result(
        0,
        f"OK policy release 1 {digest}\n",
        "Who made it was not checked: give --keys.\n",
    )
    found = run("bundle", "inspect", "policy.uvr", "--json").json()
    assert found["digest"] == digest
    assert [member["slug"] for member in found["variants"][0]["members"]] == ["pistol"]
    assert "pistol" in run("bundle", "inspect", "policy.uvr").out


@on_both
def test_a_release_says_what_it_does_not_cover(run, filled):
    _, scorer = toy_collection()
    anchors = toy_collection(seed=3)[0]
    edit = replace(anchors, space=replace(anchors.space, task="edit"))
    filled.versions.add("knife", [(anchors, scorer), (edit, scorer)], actor="tester")
    run("add-concept", "testbed-bomb")
    released = run("release", "policy", "--json")
    assert released.json()["left_out"] == [
        {"slug": "pistol", "why": "no anchors for testbed edit"},
        {"slug": "testbed-bomb", "why": "no anchors yet"},
    ]
    assert released.err == (
        "Warning: pistol is not banned everywhere by this release: no anchors for testbed edit.\n"
        "Warning: testbed-bomb is not banned everywhere by this release: no anchors yet.\n"
    )


def test_a_concept_that_was_not_asked_for_is_no_gap(run, filled):
    run("submit", "pistol")
    filled.versions.add("pistol", [toy_collection(seed=1)], actor="tester")
    filled.versions.add("knife", [toy_collection(seed=2)], actor="tester")
    released = run("release", "policy", "--concept", "knife", "--json")
    assert (released.err, released.json()["left_out"]) == (
        "", [{"slug": "pistol", "why": "not asked for"}],
    )  # fmt: skip
    assert "left_out" not in run("release", "policy", "--dry-run", "--json").json()
    run("release", "policy")
    back = run("rollback", "policy", 1, "--reason", "back", "--allow-shrink")
    assert "pistol is not banned everywhere by this release: not asked for" in back.err


@pytest.mark.parametrize("out", [".", "file/policy.uvr", "locked/new/policy.uvr"])
def test_release_to_a_place_that_cannot_be_written_records_nothing(
    run, filled, tmp_path, monkeypatch, out
):
    (tmp_path / "file").touch()
    (tmp_path / "locked").mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "locked")  # for root
    result = run("release", "policy", "--out", out)
    assert (result.code, result.out, len(result.err.splitlines())) == (1, "", 1)
    assert f"'{out}'" in result.err
    assert filled.releases.list() == []
    assert not (tmp_path / "locked" / "new").exists()


def test_release_whose_file_cannot_be_written_says_how_to_write_it(run, filled, monkeypatch):
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("commands.output.write_file", full)
        result = run("release", "policy", "--out", "policy.uvr")
    assert result == Result(
        1,
        "",
        "Error: Release 1 of 'policy' is recorded, but 'policy.uvr' cannot be written: No space "
        "left on device. Write it with `uvr-registry bundle export policy --sequence 1 "
        "--out FILE`.\n",
    )
    again = run("bundle", "export", "policy", "--sequence", "1", "--out", "policy.uvr")
    assert again.code == 0


def test_release_without_anchors_is_refused(run, home):
    run("init")
    run("add-concept", "pistol")
    assert run("release", "policy", "--out", "policy.uvr").code == 5
    assert not Path("policy.uvr").exists()


def test_a_release_inherits_what_is_not_given(run, filled):
    run("release", "policy", "--mode", "pistol=shadow", "--threshold", "pistol/t2i=4")
    again = run("release", "policy", "--enable", "pistol", "--json").json()["members"][0]
    assert (again["mode"], list(again["thresholds"].values())) == ("shadow", [4.0])
    taken_back = run("release", "policy", "--threshold", "pistol=none", "--json").json()
    assert taken_back["members"][0]["thresholds"] == {}


@on_both
def test_a_rollback_is_a_new_release(run, filled):
    run("release", "policy")
    run("release", "policy", "--mode", "pistol=log", "--allow-shrink")
    result = run("rollback", "policy", 1, "--reason", "back", "--out", "policy.uvr")
    assert result.out.splitlines()[0] == "Rolled back to policy 1, as release 3 with 1 concept"
    found = run("releases", "policy", "--json").json()
    assert [item["rollback_of"] for item in found] == [None, None, 1]
    assert found[2]["lock_digest"] == found[0]["lock_digest"]
