"""What must hold of the package as a whole: light imports, complete docs, shipped data."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.resources import files
from itertools import chain
from pathlib import Path

import pytest
from setuptools import find_packages

from concepts.definition import load_shipped, shipped_definitions
from uvr.testbed.samples import CONCEPTS
from uvr.testbed.scenes import BACKGROUNDS, SYNONYMS, THINGS, WHERE

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {
    "alembic",
    "cryptography",
    "diffusers",
    "faiss",
    "numpy",
    "PIL",
    "rich",
    "sqlalchemy",
    "torch",
    "transformers",
}


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after running some code."""
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return {name.partition(".")[0] for name in json.loads(found.stdout.splitlines()[-1])}


def test_help_imports_nothing_heavy():
    code = "import cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass"
    assert modules_after(code) & HEAVY == set()


def test_concepts_package_imports_neither_sql_nor_torch():
    modules = ("anchors", "bundle.reader", "bundle.summary", "definition")
    code = "import " + ", ".join(f"concepts.{name}" for name in modules)
    assert modules_after(code) & HEAVY <= {"numpy"}


def test_registry_does_not_import_torch():
    assert (
        modules_after("import registry.registry") & {"torch", "diffusers", "transformers"} == set()
    )


def test_the_console_does_not_import_torch():
    heavy = {"torch", "diffusers", "transformers", "alembic", "faiss"}
    assert modules_after("import console.server") & heavy == set()


def test_evidence_is_read_without_torch():
    reading = "import console.evidence.page, console.evidence.release, console.evidence.governance"
    assert modules_after(reading) & {"torch", "diffusers", "transformers"} == set()


def test_engine_does_not_import_sql():
    assert (
        modules_after("import uvr.anchors.collection, uvr.drawing") & {"sqlalchemy", "alembic"}
        == set()
    )


def test_every_shipped_file_is_named_after_its_slug():
    assert {load_shipped(slug).slug for slug in shipped_definitions()} == set(shipped_definitions())


def test_every_category_ships_for_real_models_and_for_the_testbed():
    shipped = [load_shipped(slug) for slug in shipped_definitions()]
    for testbed in (True, False):
        chosen = [item for item in shipped if item.slug.startswith("testbed-") == testbed]
        assert {item.category for item in chosen} == {"nudity", "ip-character", "object"}


def test_shipped_definitions_have_what_collection_needs():
    for slug in shipped_definitions():
        definition = load_shipped(slug)
        counts = [len(getattr(definition, name)) for name in ("prompts", "near_misses", "benign")]
        assert min(counts) >= 8, slug
        assert definition.edits, slug


def test_the_demo_uses_the_testbed_definitions():
    testbed = {slug for slug in shipped_definitions() if slug.startswith("testbed-")}
    assert set(CONCEPTS) == testbed


def test_testbed_prompts_name_things_and_backgrounds_of_the_world():
    nouns = {*THINGS, *(word for words in SYNONYMS.values() for word in words)}
    part = rf"an? (?:{'|'.join(sorted(nouns))}) (?:{'|'.join(WHERE.values())})"
    grammar = re.compile(rf"{part}(?: and {part})? on a (?:{'|'.join(BACKGROUNDS)}) background")
    for slug in CONCEPTS:
        item = load_shipped(slug)
        for prompt in (*item.prompts, *item.near_misses, *item.paraphrases, *item.benign):
            assert grammar.fullmatch(prompt), prompt


def test_every_package_of_the_tree_is_packaged():
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    listed = set(find_packages(str(ROOT), include=found["find"]["include"]))
    roots = ("commands", "concepts", "console", "migrations", "registry", "uvr")
    folders = {
        path.parent.relative_to(ROOT) for root in roots for path in (ROOT / root).rglob("*.py")
    }
    assert listed == {".".join(folder.parts) for folder in folders}


@pytest.mark.parametrize("package", ["concepts", "registry", "uvr"])
def test_packages_are_typed(package):
    assert (files(package) / "py.typed").is_file()


def test_constraints_pin_every_direct_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = chain.from_iterable(project["optional-dependencies"].values())
    wanted = [*project["dependencies"], *extras]
    names = {re.split(r"[\[<>=!]", item)[0].lower().replace("_", "-") for item in wanted}
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    assert names <= pinned


def test_the_lowest_versions_are_those_that_are_allowed():
    """What `make test-lowest` installs, but for torch, is where the ranges begin."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    allowed = [*project["dependencies"], *extras["postgres"], *extras["test"]]
    lines = (ROOT / ".ci/lowest.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    ranges = (re.match(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", item) for item in allowed)
    begins = {found[1]: found[2] for found in ranges if found and found[1] in pinned}
    assert {**begins, "torch": pinned["torch"]} == pinned
    named = {re.split(r"[<>=]", item)[0] for item in project["dependencies"]}
    assert named <= set(pinned)
