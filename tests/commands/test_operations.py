"""Commands on a whole registry."""

from pathlib import Path

import pytest

from tests.commands.conftest import on_both
from tests.conftest import Result


def test_init_twice_keeps_the_registry(run, home):
    first, again = run("init"), run("init")
    assert first == again == Result(0, f"Registry ready at {home}\n", "")


def test_a_backup_becomes_the_same_registry_elsewhere(run, filled, home):
    run("release", "policy", "--out", "before.uvr")
    assert run("backup", "all.zip", "--json").json()["blobs"] == 2
    there = ("--home", "elsewhere")
    assert run(*there, "restore", "all.zip", "--yes").out == "Registry ready at elsewhere\n"
    run(*there, "bundle", "export", "policy", "--out", "after.uvr")
    assert Path("before.uvr").read_bytes() == Path("after.uvr").read_bytes()
    assert run(*there, "audit", "log", "--limit", 1, "--json").json()[0]["actor"] == "tester"
    assert run(*there, "restore", "all.zip", "--yes").code == 4
    assert run("--home", "third", "restore", "no-such.zip", "--yes").code == 3


@on_both
def test_garbage_goes_after_its_grace_period(run, filled):
    filled.workspace.store.put(b"named by nothing")
    assert run("gc", "--yes").out == "Deleted 0 blobs (0 bytes) and 0 unfinished files\n"
    would = run("gc", "--grace", "0m", "--dry-run")
    assert would.out == "Would delete 1 blob (16 bytes) and 0 unfinished files\n"
    done = run("gc", "--grace", "0m", "--yes")
    assert done.out == "Deleted 1 blob (16 bytes) and 0 unfinished files\n"
    assert run("gc", "--grace", "soon", "--yes").code == 2


def test_an_index_says_how_well_it_finds(run, filled):
    assert run("index").out == "Nothing to index: no version with anchors is live or approved.\n"
    run("submit", "pistol")
    (row,) = run("index", "--json").json()
    assert (row["kind"], row["vectors"], row["recall"]) == ("flat", 5, 1.0)


def test_an_index_below_its_gate_has_its_exit_code(run, filled, monkeypatch):
    monkeypatch.setattr("registry.index.build.GATE", 1.01)
    run("submit", "pistol")
    result = run("index", "--kind", "fp16")
    assert (result.code, result.out, len(result.err.splitlines())) == (9, "", 1)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_shells_script(run, shell):
    assert "_UVR_REGISTRY_COMPLETE" in run("completion", shell).out
