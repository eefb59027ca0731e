"""What commands share: dry runs, expected digests, questions, JSON, completion."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from commands import operations
from commands import team as team_commands
from concepts.definition import load_shipped
from registry import team
from registry.index import kinds
from registry.registry import Registry
from tests.commands.conftest import on_both
from tests.conftest import toy_collection

CHANGES = (
    "add-concept testbed-bomb",
    "edit-version pistol --threshold t2i 1.25 1",
    "submit pistol",
    "release policy --out policy.uvr",
    "actor set ann --role admin",
    "policy set --approvals 2",
    "key add ann ann.pem.pub",
    "channel move prod live",
    "rollback live 1 --reason back",
    "sign live --key ann.pem",
    "audit checkpoint --key ann.pem --out checkpoint.json",
)


@on_both
@pytest.mark.parametrize("command", CHANGES)
def test_a_dry_run_says_what_would_be_and_changes_nothing(run, key, command):
    run("release", "live", "--concept", "pistol")
    run("release", "live", "--concept", "pistol")
    registry = Registry.open(Path("home"))
    registry.versions.add("pistol", [toy_collection(seed=1)], actor="tester")
    command = command.replace("sign live --key ann.pem", f"sign live --key {key}")
    run("key", "generate", "ann")
    before = registry.audit.events(), sorted(Path("home/blobs").rglob("*"))
    result = run(*command.split(), "--dry-run")
    assert (result.code, bool(result.out)) == (0, True), result.err
    assert result.err.startswith("Dry run: nothing was changed.\n")
    assert (registry.audit.events(), sorted(Path("home/blobs").rglob("*"))) == before
    assert not Path("policy.uvr").exists()
    assert not Path("checkpoint.json").exists()
    assert run(*command.split()).code == 0


@on_both
@pytest.mark.parametrize(
    "command",
    [
        "add-concept changed.yaml",
        "edit-version pistol@2 --threshold t2i 1.25 1",
        "submit pistol@2",
        "approve pistol@3",
        "reject pistol@3 --reason x",
        "deprecate pistol@1",
        "revoke pistol@1 --reason x --yes",
        "release live",
        "rollback live 1 --reason x",
        "channel move prod live",
    ],
)
def test_another_digest_than_expected_is_a_conflict(run, filled, command):
    run("release", "live", "--concept", "pistol")
    run("channel", "move", "prod", "live")
    run("release", "live")
    for seed in (1, 2):
        filled.versions.add("pistol", [toy_collection(seed=seed)], actor="tester")
    run("policy", "set", "--approvals", 1)
    run("submit", "pistol@3")
    changed = replace(load_shipped("pistol"), description="Changed.").to_dict()
    Path("changed.yaml").write_text(json.dumps(changed))
    before = filled.audit.events()
    result = run(*command.split(), "--expect-digest", "0" * 64)
    assert (result.code, result.out, len(result.err.splitlines())) == (4, "", 1), result.err
    assert "expected 000" in result.err
    assert filled.audit.events() == before


@pytest.mark.parametrize(
    "command",
    [
        "approve pistol",
        "revoke pistol --reason x",
        "exemplars forget 00 --reason x",
        "gc",
        "restore backup.zip",
        "key rotate --revoke alice --key alice.pem",
    ],
)
def test_what_cannot_be_undone_asks_first(run, key, filled, monkeypatch, command):
    run("policy", "set", "--approvals", 1)
    run("submit", "pistol")
    Path("backup.zip").touch()
    before = filled.audit.events()
    off_terminal = run(*command.split())
    assert (off_terminal.code, off_terminal.out) == (2, "")
    assert "--yes" in off_terminal.err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "n")
    assert run(*command.split()).code == 130
    assert filled.audit.events() == before


LISTS = (
    "init", "export-concept pistol --out pistol.uvrc",
    "concepts", "concepts --shipped", "show pistol", "show pistol@1", "reviews", "releases",
    "channel list", "exemplars list", "actor list", "policy show", "key list", "audit log",
    "audit verify", "index",
)  # fmt: skip


@on_both
@pytest.mark.parametrize("command", LISTS)
def test_what_is_listed_is_also_json(run, filled, command):
    plain, machine = run(*command.split()), run(*command.split(), "--json")
    assert (plain.code, machine.code, machine.err) == (0, 0, "")
    assert isinstance(machine.json(), dict | list)
    assert plain.out != machine.out


def test_every_choice_offered_is_the_librarys():
    assert team_commands.ROLES == team.ROLES
    assert operations.INDEX_KINDS == kinds.KINDS


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("uvr-registry show p", ["plain,pistol"]),
        ("uvr-registry --home no-such show p", []),
        ("uvr-registry release p", ["plain,policy"]),
        ("uvr-registry channel m", ["plain,move"]),
    ],
)
def test_the_shell_completes_what_the_registry_holds(run, filled, monkeypatch, words, found):
    run("release", "policy")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    monkeypatch.setenv("_UVR_REGISTRY_COMPLETE", "bash_complete")
    assert run().out.split() == found
