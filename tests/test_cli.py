"""The command line as a whole: exit codes, errors of one line, and the help."""

import logging
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import cli
from registry.registry import Registry
from tests.commands.conftest import on_both
from tests.conftest import Result


def test_home_before_the_command_wins_over_the_environment(run, tmp_path):
    assert run("--home", tmp_path / "other", "init").out == f"Registry ready at {tmp_path}/other\n"
    assert (tmp_path / "other").is_dir()


def test_a_command_without_a_registry_says_how_to_make_one(run, home):
    result = run("concepts")
    assert (result.code, result.out) == (3, "")
    assert "uvr-registry init" in result.err
    assert not home.exists()


@on_both
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("show pistl", 3, "Did you mean 'pistol'?"),
        ("add-concept pistol", 4, "pistol"),
        ("add-concept no-such", 3, "concepts --shipped"),
        ("add-concept no-such.yaml", 3, "no-such.yaml"),
        ("add-concept", 2, "Give a YAML file"),
        ("add-concept knife --slug knife", 2, "Give a YAML file"),
        ("collect-anchors no-such", 3, "no-such"),
        ("collect-anchors pistol --model no-such/", 3, "no-such"),
        ("collect-anchors pistol --task video", 2, "video"),
        ("release policy --concept knife", 5, "knife"),
        ("bundle export no-such --out x.uvr", 3, "no-such"),
        ("bundle verify no-such.uvr", 3, "no-such.uvr"),
        ("generate prompt --heat-map x.png", 2, "--bundle"),
        ("edit no-such.png instruction", 3, "no-such.png"),
        ("search no-such.png", 3, "no-such.png"),
        ("no-such", 2, "No such command"),
        ("concepts --home x", 2, "--home goes before the command"),
        ("show pistol@0", 2, "SLUG@NUMBER"),
        ("show pistol@9", 3, "has no version 9"),
        ("submit knife", 3, "knife"),
        ("approve pistol", 5, "draft"),
        ("approve pistol --break-glass", 2, "--reason"),
        ("reject pistol", 2, "--reason"),
        ("edit-version pistol", 2, "--threshold"),
        ("edit-version pistol --threshold video 3 2", 3, "video"),
        ("edit-version pistol --threshold t2i 2 9", 2, "grow_threshold"),
        ("edit-version pistol --threshold t2i nan 1", 2, "finite"),
        ("copy-version pistol --threshold t2i 3 2", 5, "draft, not approved"),
        ("copy-version pistol", 2, "--threshold"),
        ("submit pistol --expect-digest 123", 2, "64 lower-case hex digits"),
        ("generate x --seed 99999999999999999999", 2, "--seed"),
        ("generate x --steps 100000000", 2, "--steps"),
        ("generate x --width 99999999", 2, "--width"),
        ("generate x --out .", 1, "'.'"),
        ("generate x --bundle . --report r.json", 2, "is a folder"),
        ("generate x --bundle b --out x.png --report x.png", 2, "one file twice"),
        ("bundle export --out x.uvr", 2, "--channel"),
        ("show pistol@1 --shipped", 2, "@NUMBER"),
        ("diff pistol 1 2", 3, "version 2"),
        ("release policy --mode pistol", 2, "SLUG=MODE"),
        ("release policy --mode pistol=off", 2, "shadow"),
        ("release policy --mode knife=log", 3, "knife"),
        ("release policy --threshold pistol=nan", 2, "'nan'"),
        ("release policy --threshold pistol=1 --threshold pistol/t2i=2", 2, "twice"),
        ("release policy --disable pistol=soon", 2, "30d"),
        ("release policy --disable pistol=7d --enable pistol", 2, "twice"),
        ("release policy --key no-such.pem", 3, "no-such.pem"),
        ("rollback policy 1 --reason x", 3, "policy"),
        ("sign policy", 2, "--key"),
        ("channel move prod policy", 3, "policy"),
        ("channel history prod", 3, "prod"),
        ("live prod", 3, "prod"),
        ("pull x.uvr --state s", 2, "--unsigned"),
        ("pull x.uvr --state s --unsigned", 3, "x.uvr"),
        ("actor set bob --role king", 2, "king"),
        ("actor set bob --role reviewer", 5, "admin"),
        ("policy set", 2, "--approvals"),
        ("policy set --max-shrink 2", 2, "2"),
        ("policy set --approvals 0", 4, "already"),
        ("key add alice no-such.pub", 3, "no-such.pub"),
        ("key rotate --add alice", 2, "--key"),
        ("key export --out keys.json", 3, "key rotate"),
        ("audit verify --keys keys.json", 2, "--against"),
        ("audit verify --against no-such.json", 3, "no-such.json"),
        ("attribute no-such.json", 3, "no-such.json"),
        ("collect-anchors pistol --origin web", 2, "--legal-basis"),
        ("completion csh", 2, "csh"),
    ],
)
def test_bad_input_gets_one_line_and_an_exit_code(run, filled, arguments, code, message):
    before = filled.audit.events()
    result = run(*arguments.split())
    assert (result.code, result.out, len(result.err.splitlines())) == (code, "", 1), result.err
    assert message in result.err
    assert filled.audit.events() == before


def test_arguments_are_checked_before_a_model_is_loaded(filled, tmp_path):
    (tmp_path / "empty").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "16.png")
    refused = {
        "search nope.png": "No picture at 'nope.png'",
        "search 16.png --model tesbed": "Did you mean 'testbed'?",
        "search 16.png --task edit": "No anchors for edit on the testbed",
        "generate x --model empty": "holds no pipeline",
        "generate x --width 100": "a multiple of 8",
        "generate x --bundle nope.uvr": "nope.uvr",
        "edit nope.png x": "No picture at 'nope.png'",
        "edit 16.png x --height 100": "a multiple of 8",
        "collect-anchors pistl": "Did you mean 'pistol'?",
        "collect-anchors pistol --model empty": "holds no pipeline",
        "collect-anchors pistol --images nope": "No folder of pictures at 'nope'",
        "demo --out 16.png": "16.png",
    }
    script = (
        "import sys, cli\n"
        "for line in sys.argv[1:]:\n"
        "    try: cli.main(line.split())\n"
        "    except SystemExit as stop: assert stop.code\n"
        "print(*(name for name in ('torch', 'diffusers') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *refused], check=True, capture_output=True, text=True
    )
    for message, line in zip(refused.values(), done.stderr.splitlines(), strict=True):
        assert message in line
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "Stopped"),
        (OSError(28, "No space left on device"), 1, "disk is full"),
        (PermissionError(13, "Permission denied", "/srv/x"), 1, "/srv/x"),
        (RuntimeError("odd\nlines"), 1, "internal, RuntimeError: odd (UVR_TRACEBACK=1"),
    ],
)
def test_what_goes_wrong_inside_a_command_gets_one_line(run, monkeypatch, error, code, message):
    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(Registry, "open", fail)
    result = run("concepts")
    lines = [line for line in result.err.splitlines() if line]
    assert (result.code, len(lines)) == (code, 1)
    assert message in lines[0]


def test_a_definition_nested_too_deeply_is_a_bad_file(run, home, tmp_path):
    run("init")
    (tmp_path / "deep.yaml").write_text("[" * 3000)
    assert run("add-concept", "deep.yaml") == Result(
        2, "", "Error: deep.yaml:1: document: nested too deeply\n"
    )


INTERRUPTED = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)  # A job in the background ignores it.
sys.meta_path.insert(0, Interrupt())
import cli
cli.main(["concepts"])
"""


@pytest.mark.parametrize(
    ("module", "code", "message"),
    [
        ("click", -2, ""),
        ("commands.app", -2, ""),
        ("commands.versions", -2, ""),
        ("registry.registry", 130, "\nError: Stopped. Nothing unfinished was recorded.\n"),
        ("sqlalchemy", 130, "\nError: Stopped. Nothing unfinished was recorded.\n"),
    ],
)
def test_ctrl_c_shows_no_traceback_however_early_it_comes(filled, module, code, message):
    found = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, module], capture_output=True, text=True, check=False,
        cwd=Path(cli.__file__).parent,
    )  # fmt: skip
    assert (found.returncode, found.stdout, found.stderr) == (code, "", message)


def test_the_libraries_are_quiet_unless_somebody_asks(monkeypatch):
    code = (
        "import contextlib, cli\n"
        "with contextlib.suppress(SystemExit): cli.main(['--version'])\n"
        "from diffusers.utils import logging as one\n"
        "from transformers.utils import logging as other\n"
        "print(one.get_verbosity(), other.get_verbosity())\n"
    )
    monkeypatch.delenv("TRANSFORMERS_VERBOSITY", raising=False)
    monkeypatch.setenv("DIFFUSERS_VERBOSITY", "info")
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == f"{logging.INFO} {logging.ERROR}"


def test_errors_come_through_the_installed_script():
    script = "import cli; cli.main(['bundle', 'verify', 'no-such.uvr'])"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        cwd=Path(cli.__file__).parent, env={**os.environ, "PYTHONWARNINGS": "error"},
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (3, "Error: No bundle file at 'no-such.uvr'.\n")


def test_a_schema_of_another_program_has_its_exit_code(run, filled, home):
    with sqlite3.connect(home / "registry.db") as database:
        database.execute("UPDATE uvr_alembic_version SET version_num = '9999'")
    database.close()
    result = run("concepts")
    assert (result.code, len(result.err.splitlines())) == (7, 1)
    assert "9999" in result.err


def test_a_registry_that_another_process_writes_to_has_its_exit_code(
    run, filled, home, monkeypatch
):
    monkeypatch.setattr("registry.store.db.SQLITE_PRAGMAS", ("PRAGMA busy_timeout = 10",))
    database = sqlite3.connect(home / "registry.db", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    result = run("submit", "pistol")
    database.close()
    assert (result.code, result.err.count("\n")) == (8, 1)
    assert run("submit", "pistol").code == 0


def test_every_command_is_in_one_section_of_the_help(run):
    named = [command.name for commands in cli.SECTIONS.values() for command in commands]
    assert sorted(named) == sorted(cli.cli.commands)
    shown = run("--help").out
    assert all(f"\n  {name} " in shown for name in named)


def test_a_reader_that_has_read_enough_is_no_error(filled):
    command = [sys.executable, "-c", "import cli; cli.main(['audit', 'export'])"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(cli.__file__).parent,
    ) as process:  # fmt: skip
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (1, b"")
