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
        f"OK policy@1 {digest}\n",
        "Who made it was not checked: give --keys.\n",
    )
    found = run("bundle", "inspect", "policy.uvr", "--json").json()
    assert found["digest"] == digest
    assert [member["slug"] for member in found["variants"][0]["members"]] == ["pistol"]
    assert "pistol" in run("bundle", "inspect", "policy.uvr").out


BY_HAND = "Strictness set by hand, not measured: {} (testbed t2i)\n"
COVERS = (
    "Covers with testbed: pictures drawn from a text. Not: edited pictures, finished pictures that "
    "are checked.\n"
)


@on_both
def test_a_release_says_what_it_does_not_cover(run, filled):
    _, scorer = toy_collection()
    anchors = toy_collection(seed=3)[0]
    edit = replace(anchors, space=replace(anchors.space, task="edit"))
    filled.versions.add("knife", [(anchors, scorer), (edit, scorer)], actor="tester")
    run("add-concept", "testbed-bomb")
    expected = (
        "Warning: pistol is not covered everywhere by this release: nothing collected for edited "
        "pictures (testbed).\nWarning: testbed-bomb is not in this release: nothing collected "
        "yet.\n"
    )
    dry = run("release", "policy", "--dry-run")
    assert dry.err == "Dry run: nothing was changed.\n" + expected
    released = run("release", "policy", "--json")
    assert (released.json()["left_out"], released.err) == ([
        {
            "slug": "pistol", "why": "no anchors for testbed edit", "nowhere": False, "takes": "",
            "older": False,
        },
        {
            "slug": "testbed-bomb", "why": "no anchors yet", "nowhere": True, "takes": "",
            "older": False,
        },
    ], expected)  # fmt: skip
    assert released.json()["coverage"] == [
        {"model": "testbed", "tasks": ["t2i", "edit"], "lacks": ["check"]}
    ]


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(run, filled, key):
    dry = ("--out", "policy.uvr", "--dry-run")
    ways = [("release", "policy"), ("sign", "policy", "--key", key),
            ("rollback", "policy", 1, "--reason", "back")]  # fmt: skip
    told = []
    for way in ways:
        done = run(*way, *dry)
        assert done.code == 0, done.err
        told.append([done.out.splitlines()[0], done.out.splitlines()[-1]])
        run("release", "policy")
    assert [first for first, _ in told] == [
        "Would release policy@1 with 1 concept",
        "Would sign policy@1 with 1 concept",
        "Would roll back to policy@1, as policy@3 with 1 concept",
    ]
    assert {last for _, last in told} == {"Nothing was written to policy.uvr"}
    assert not Path("policy.uvr").exists()


@on_both
def test_a_pause_ships_no_draft_and_says_what_waits(run, filled):
    filled.versions.add("knife", [toy_collection(seed=2)], actor="tester")
    first = run("release", "policy")
    assert first == Result(
        0,
        "Released policy@1 with 2 concepts\n"
        "  knife: added, version 1, newly approved\n"
        "  pistol: added, version 1, newly approved\n"
        + COVERS
        + BY_HAND.format("knife (testbed t2i), pistol"),
        "",
    )
    run("add-concept", "grenade")
    filled.versions.add("grenade", [toy_collection(seed=3)], actor="tester")
    filled.versions.add("pistol", [toy_collection(seed=5)], actor="tester")
    assert run("release", "policy", "--disable", "pistol=2999-01-01") == Result(
        0,
        "Released policy@2 with 2 concepts, 1 of them regulated\n"
        "Changes since policy@1:\n"
        "  pistol: switched off until 2999-01-01T00:00:00Z\n"
        + COVERS
        + BY_HAND.format("knife (testbed t2i), pistol"),
        "Warning: Not in this release: grenade (version 1 is draft). A release takes one "
        "in with --concept SLUG, all with --all.\n"
        "Warning: This release holds an older version: pistol (version 2 is draft). A release "
        "takes one in with --concept SLUG, all with --all.\n",
    )
    run("submit", "grenade")
    approved = run("release", "policy", "--all-approved", "--enable", "pistol")
    assert approved.out.splitlines()[1:] == [
        "Changes since policy@2:",
        "  grenade: added, version 1",
        "  pistol: switched on again (was until 2999-01-01T00:00:00Z)",
        COVERS.strip(),
        BY_HAND.format("grenade (testbed t2i), knife (testbed t2i), pistol").strip(),
    ]
    taken = run("release", "policy", "--all", "--drop", "knife")
    assert taken == Result(
        0,
        "Released policy@4 with 2 concepts\n"
        "Changes since policy@3:\n"
        "  knife: removed, was version 1\n"
        "  pistol: version 1 -> 2, newly approved\n"
        + COVERS
        + BY_HAND.format("grenade (testbed t2i), pistol"),
        "Warning: Not in this release: knife (version 1 is approved). A release takes one "
        "in with --concept SLUG, all with --all-approved.\n",
    )
    assert run("release", "policy").out.splitlines()[1] == (
        "Nothing changed since policy@4; it was made all the same"
    )
    assert run("release", "policy", "--dry-run").out.splitlines()[1] == (
        "Nothing changed since policy@5; it would be made all the same"
    )


def test_signatures_that_are_missing_are_told(run, filled, key):
    run("policy", "set", "--signatures", 1)
    told = "Warning: Not signed: 1 of 1 missing; `uvr-registry sign policy@1 --key FILE`."
    made = run("release", "policy")
    assert (made.code, made.err.splitlines()[-1]) == (0, told)
    assert "igned" not in run("release", "policy", "--key", key).err
    run("policy", "set", "--signatures", 2)
    assert "enough keys: 1 of 2 missing;" in run("release", "policy", "--key", key).err


def test_the_same_content_is_warned_of_by_whatever_options_it_came(run, filled):
    filled.versions.add("knife", [toy_collection(seed=2)], actor="tester")
    left = "Warning: Not in this release: pistol (version 1 is {}). A release takes one in with "
    told = left.format("draft") + "--concept SLUG, all with --all.\n"
    released = run("release", "policy", "--concept", "knife", "--json")
    assert (released.err, released.json()["left_out"]) == (told, [
        {"slug": "pistol", "why": "version 1 is draft", "nowhere": True, "takes": "pistol@1",
         "older": False}
    ])  # fmt: skip
    assert run("release", "policy").err == told
    run("release", "policy", "--concept", "pistol")
    told = left.format("approved") + "--concept SLUG, all with --all-approved.\n"
    back = run("rollback", "policy", 1, "--reason", "back", "--drop", "pistol")
    assert (back.code, back.err) == (0, told)
    dry = run("release", "policy", "--dry-run")
    assert dry.err == f"Dry run: nothing was changed.\n{told}"


@on_both
def test_a_refusal_names_the_way_out(run, filled):
    filled.versions.add("knife", [toy_collection(seed=2)], actor="tester")
    run("release", "policy")
    run("revoke", "knife", "--reason", "broken", "--yes")
    refused = run("release", "policy", "--allow-shrink", "--mode", "pistol=log")
    assert (refused.code, refused.err) == (
        5,
        "Error: 1 of 2 regulated concepts would be regulated less, later or no more: knife "
        "(version 1 is revoked). No concept would be regulated now. If that is meant, add "
        "--drop knife --enforce-nothing\n",
    )
    way_out = ("--allow-shrink", "--mode", "pistol=log", "--drop", "knife", "--enforce-nothing")
    assert run("release", "policy", *way_out).out == (
        "Released policy@2 with 1 concept, 0 of them regulated\n"
        "Changes since policy@1:\n"
        "  knife: removed, was version 1\n"
        "  pistol: mode enforce (regulated) -> log (reported only)\n"
        + COVERS
        + BY_HAND.format("pistol")
    )


RAISED = "pistol finds less than was approved: threshold 2.05"


@on_both
def test_a_raised_threshold_is_told_wherever_the_release_is_shown(run, filled):
    raise_it = ("release", "policy", "--threshold", "pistol=2.05")
    refused = run(*raise_it)
    assert (refused.code, refused.err.endswith('add --allow-shrink --note "WHY"\n')) == (5, True)
    warning = (
        f"Warning: {RAISED} for testbed t2i, its version's own is 2. Take it back with --threshold "
        "pistol=none.\n"
    )
    made = run(*raise_it, "--allow-shrink", "--note", "fires on toys", "--out", "policy.uvr")
    assert (made.code, made.err.splitlines(True)[0]) == (0, warning)
    assert "  pistol: added, version 1, threshold for testbed t2i 2 -> 2.05, newly" in made.out
    assert run("release", "policy").err.splitlines(True)[0] == warning
    run("channel", "move", "prod", "policy")
    assert BY_HAND.format("pistol") in run("live", "prod").out
    for command in ("live prod", "bundle inspect policy.uvr"):
        assert f"\n{RAISED}" in run(*command.split()).out
    assert [row.split()[2] for row in run("releases").out.splitlines()] == [
        "raised",
        *["pistol"] * 2,
    ]
    assert "2.05" in run("log", "pistol").out


def test_two_releases_are_compared(run, filled):
    run("release", "policy")
    run("release", "policy", "--threshold", "pistol=1")
    assert run("diff-releases", "policy", 1, 2).out == (
        "  pistol: threshold for testbed t2i 2 -> 1\n"
    )
    assert run("diff-releases", "policy", 1, 2, "--json").json() == [
        {"slug": "pistol", "what": "threshold", "before": 2.0, "after": 1.0, "place": "testbed t2i"}
    ]
    assert run("diff-releases", "policy", 2, 2).out == "No difference.\n"
    assert run("diff-releases", "policy", 2, 3).code == 3


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
        "Error: policy@1 is recorded, but 'policy.uvr' cannot be written: No space "
        "left on device. Write it with `uvr-registry bundle export policy@1 "
        "--out FILE`.\n",
    )
    again = run("bundle", "export", "policy@1", "--out", "policy.uvr")
    assert again.code == 0


def test_release_without_anchors_is_refused(run, home):
    run("init")
    run("add-concept", "pistol")
    assert run("release", "policy", "--out", "policy.uvr").code == 5
    assert not Path("policy.uvr").exists()


def test_a_release_inherits_what_is_not_given(run, filled):
    run("release", "policy", "--mode", "pistol=shadow", "--threshold", "pistol/t2i=1")
    again = run("release", "policy", "--enable", "pistol", "--json").json()["members"][0]
    assert (again["mode"], list(again["thresholds"].values())) == ("shadow", [1.0])
    taken_back = run("release", "policy", "--threshold", "pistol=none", "--json").json()
    assert taken_back["members"][0]["thresholds"] == {}


@on_both
def test_a_rollback_is_a_new_release(run, filled):
    run("release", "policy")
    run("release", "policy", "--mode", "pistol=log", "--allow-shrink", "--enforce-nothing")
    result = run("rollback", "policy", 1, "--reason", "back", "--out", "policy.uvr")
    assert result.out.splitlines()[0] == "Rolled back to policy@1, as policy@3 with 1 concept"
    assert result.out.splitlines()[1:3] == [
        "Changes since policy@2:", "  pistol: mode log (reported only) -> enforce (regulated)",
    ]  # fmt: skip
    found = run("releases", "policy", "--json").json()
    assert [item["rollback_of"] for item in found] == [None, None, 1]
    assert found[2]["lock_digest"] == found[0]["lock_digest"]
