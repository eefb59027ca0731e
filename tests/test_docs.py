"""What must hold of the manual's text: the commands, links and names that it mentions exist."""

import importlib
import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import click
import pytest

from cli import cli
from commands.parameters import Output
from concepts.errors import UVRError

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
TOP = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "CHANGELOG")]
PAGES = sorted([*DOCS.glob("*.md"), *TOP])
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
PACKAGES = r"(?:commands|concepts|console|migrations|registry|uvr)"


def reference() -> ModuleType:
    """The program that writes the page of commands."""
    spec = spec_from_file_location("command_reference", DOCS / "command_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REFERENCE = reference()
COMMANDS = {
    REFERENCE.path(context): context
    for context in REFERENCE.commands(click.Context(cli, info_name="uvr-registry"))
}


def test_every_command_that_writes_checks_the_place():
    writing = {
        f"{name} {param.name}"
        for name, context in COMMANDS.items()
        for param in context.command.params
        if isinstance(param.type, Output)
    }
    assert writing == {
        "analyse out", "audit checkpoint out", "audit export out", "backup file",
        "bundle export out", "bundle sbom out", "demo out", "edit heat_map", "edit log_file",
        "edit out", "edit report",
        "evaluate out", "export-concept out",
        "generate heat_map", "generate log_file", "generate out", "generate report",
        "key export out",
        "key generate out", "pull out", "pull state", "release out", "report governance out",
        "report release out", "report version out", "rollback out", "sign out",
            "try out",
    }  # fmt: skip
    others = {
        f"{name} {param.name}"
        for name, context in COMMANDS.items()
        for param in context.command.params
        if param.name == "out" and not isinstance(param.type, Output)
    }
    assert others == set()


def prose(text: str) -> str:
    return FENCE.sub("", text)


def examples(text: str) -> Iterator[list[str]]:
    """Calls of the program in the shell blocks of a text, as words without the program's name."""
    for block in re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                del words[0]
            if words and words[0] == "uvr-registry":
                yield words[1:]


def test_the_page_of_commands_is_what_the_command_line_says():
    assert TEXTS["docs/commands.md"] == REFERENCE.page(), "run `make docs`"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_documented_with_its_options_and_an_example(name):
    part = TEXTS["docs/commands.md"].split(f"\n### {name}\n")[1].split("\n### ")[0]
    options = [item for item in COMMANDS[name].command.params if isinstance(item, click.Option)]
    for option in options:
        assert f"- `{option.opts[0]}" in part, option.opts
    assert any(" ".join(words).startswith(name) for words in map(named, examples(part)))


def test_every_group_of_commands_has_an_example_in_its_help():
    groups = [item for item in cli.commands.values() if isinstance(item, click.Group)]
    without = [group.name for group in groups if f"uvr-registry {group.name} " not in group.help]
    assert (bool(groups), without) == (True, [])


def test_every_exit_code_of_an_error_is_in_the_table():
    listed = set(
        map(int, re.findall(r"^\| (\d+) \|", TEXTS["docs/commands_head.md"], re.MULTILINE))
    )
    raised = {UVRError, *UVRError.__subclasses__()}
    assert {error.exit_code for error in raised} <= listed


def named(words: list[str]) -> list[str]:
    """Words without the options before the command, and with a group's default command."""
    while words and words[0].startswith("--"):
        words = words[2:]
    if words[:1] == ["report"] and f"report {words[1]}" not in COMMANDS:
        return ["report", "version", *words[1:]]
    return words


@pytest.mark.parametrize("page", TEXTS)
def test_examples_use_commands_and_options_that_exist(page):
    for words in map(named, examples(TEXTS[page])):
        if words[:2] == ["jobs", "add"]:  # what follows is the command that a job is of
            del words[:2]
        name = next((name for name in COMMANDS if words[: len(name.split())] == name.split()), None)
        assert name is not None or not words, words
        if name is not None:
            known = {opt for item in COMMANDS[name].command.params for opt in item.opts}
            used = {word.partition("=")[0] for word in words if re.match("--[a-z]", word)}
            flags = {opt for item in COMMANDS[name].command.params for opt in item.secondary_opts}
            assert used <= known | flags | {"--help"}, words


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(TEXTS[page])):
        if link.startswith(("http:", "https:")):
            continue
        target, _, anchor = link.partition("#")
        file = (ROOT / page).parent / target if target else ROOT / page
        assert file.is_file(), link
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), link


def anchors(text: str) -> set[str]:
    """Names of a page's headings, as GitHub and the site make them."""
    titles = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", TEXTS)
def test_modules_and_functions_that_the_manual_names_exist(page):
    if page == "CHANGELOG.md":  # It tells what was.
        return
    names = re.findall(rf"`({PACKAGES}(?:\.\w+)+)(?:\(\))?`", TEXTS[page])
    names += re.findall(rf"auto\w+:: ({PACKAGES}(?:\.\w+)+)", TEXTS[page])
    for name in names:
        if not name.endswith((".py", ".db", ".yaml")):
            assert exists(name), name


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            fields = getattr(found, "__dataclass_fields__", {})
            if not hasattr(found, part) and part not in fields:
                return False
            found = getattr(found, part, None)
        return True
    return False


@pytest.mark.parametrize("page", TEXTS)
def test_files_and_tests_that_the_manual_names_exist(page):
    if page == "CHANGELOG.md":
        return
    for path, test in re.findall(r"`((?:\w+/)+[\w.-]+\.\w+)(?:::(\w+))?`", TEXTS[page]):
        if path.startswith(("demo/", "build/")):
            continue
        assert (ROOT / path).is_file(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), test


def test_each_invariant_has_a_test_of_its_number():
    text = TEXTS["docs/architecture.md"].partition("## The thirteen invariants")[2]
    rows = re.findall(r"^\| (\d+) \| .* \| `test_(\d+)_(\w+)` \|$", text, re.MULTILINE)
    tests = (ROOT / "tests/registry/test_invariants.py").read_text(encoding="utf-8")
    assert [int(number) for number, _, _ in rows] == list(range(1, 14))
    for number, same, name in rows:
        assert number == same
        assert f"def test_{number}_{name}(" in tests, name


def test_each_row_of_the_compatibility_page_names_its_test():
    rows = re.findall(r"^\| .*\|$", TEXTS["docs/compatibility.md"], re.MULTILINE)
    rows = [row for row in rows if row != "| what | does | test |"]
    assert len(rows) > 40
    for row in rows:
        named = re.fullmatch(r"\| .+ \| .+ \| `(test_\w+\.py)::(test_\w+)` \|", row)
        assert named, row
        (path,) = (ROOT / "tests/uvr").glob(f"[ef]*/{named[1]}")
        assert f"def {named[2]}(" in path.read_text(encoding="utf-8"), row


def test_each_method_of_a_family_is_explained():
    family = importlib.import_module("uvr.families.family").Family
    methods = {name for name, item in vars(family).items() if callable(item) and name[0] != "_"}
    assert methods == set(re.findall(r"`(\w+)\([a-z, ]*\)`", TEXTS["docs/add-a-family.md"]))


@pytest.mark.parametrize("page", TEXTS)
def test_programs_that_the_manual_names_exist(page):
    for name in re.findall(rf"python -m ({PACKAGES}[\w.]+)", TEXTS[page]):
        assert find_spec(name), name
    for path in re.findall(r"python ([\w/]+\.py)", TEXTS[page]):
        assert (ROOT / path).is_file(), path


@pytest.mark.parametrize("page", TEXTS)
def test_make_targets_that_the_manual_names_exist(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z-]+)", TEXTS[page]):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_check_with_openssl_that_is_shown_is_the_one_that_is_tested():
    (shown,) = re.findall(r"```sh\n# FILE is.*?\n(.*?)```", TEXTS["docs/security.md"], re.DOTALL)
    tested = (ROOT / "tests/concepts/bundle/test_bundle.py").read_text(encoding="utf-8")
    assert shown in tested


def test_the_readme_is_a_front_page():
    readme = TEXTS["README.md"]
    assert len(readme.splitlines()) <= 160
    assert "benchmarks/results/demo.png" in readme
    linked = set(re.findall(r"\(docs/([a-z-]+\.md)", readme))
    own = {page.name for page in DOCS.glob("*.md")} - {
        "api.md", "changelog.md", "commands_head.md", "contributing.md", "index.md", "reporting.md",
    }  # fmt: skip
    assert own <= linked


def test_every_page_is_in_the_sites_contents():
    index = TEXTS["docs/index.md"]
    for page in DOCS.glob("*.md"):
        if page.stem not in ("index", "commands_head"):
            assert re.search(rf"^{page.stem}$", index, re.MULTILINE), page.name
