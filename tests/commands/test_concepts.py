"""Commands on concepts."""

from dataclasses import replace
from pathlib import Path

from concepts.definition import load_definition, load_shipped
from tests.commands.conftest import on_both
from tests.conftest import Result


def test_add_concept_takes_a_shipped_name(run):
    run("init")
    assert run("add-concept", "pistol") == Result(0, "Added pistol (object): Pistol\n", "")


def test_add_concept_takes_a_file(run, tmp_path):
    run("init")
    file = tmp_path / "mine.yaml"
    file.write_text(
        "slug: kite\nname: Kite\ncategory: object\ndescription: A kite.\n"
        "prompts: [a red kite]\nnear_misses: [a red flag]\n"
    )
    assert run("add-concept", file).out == "Added kite (object): Kite\n"
    assert run("show", "kite", "--json").json()["definition"]["prompts"] == ["a red kite"]


def test_add_concept_takes_flags(run):
    run("init")
    flags = ["--slug", "kite", "--name", "Kite", "--category", "object", "--description", "A kite."]
    result = run("add-concept", *flags, "--prompt", "a red kite", "--near-miss", "a red flag")
    assert result == Result(0, "Added kite (object): Kite\n", "")


def test_add_concept_reports_the_line_of_a_yaml_error(run, tmp_path):
    run("init")
    file = tmp_path / "bad.yaml"
    file.write_text("slug: kite\nname: Kite\ncategory: objet\ndescription: A.\nprompts: [a]\n"
                    "near_misses: [b]\n")  # fmt: skip
    result = run("add-concept", file)
    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert f"{file}:3" in result.err
    assert "object" in result.err
    assert run("concepts", "--json").json() == []


@on_both
def test_concepts_lists_what_was_added(run, filled):
    listed = run("concepts", "--json").json()
    assert [(item["slug"], item["latest_version"]) for item in listed] == [
        ("knife", None),
        ("pistol", 1),
    ]
    assert run("concepts").out.splitlines()[0].split() == ["slug", "category", "latest", "version",
                                                           "name"]  # fmt: skip


def test_show_gives_definition_and_versions(run, filled):
    shown = run("show", "pistol", "--json").json()
    assert shown["definition"] == load_shipped("pistol").to_dict()
    version = shown["versions"][0]
    assert (version["number"], version["anchors"], version["counter_anchors"]) == (1, 5, 6)
    assert "No versions yet" in run("show", "knife").out


def test_a_shipped_definition_is_a_file_to_begin_with(run, filled, tmp_path):
    (tmp_path / "mine.yaml").write_text(run("show", "--shipped", "testbed-bomb").out)
    assert run("add-concept", "mine.yaml", "--json").json()["created"]
    assert run("show", "testbed-bomb", "--yaml").out == (tmp_path / "mine.yaml").read_text()
    odd = replace(
        load_shipped("testbed-bomb"), name="\u2067\u05e9\u05dc\u2069", scope="one\u2028two"
    )
    filled.concepts.add(odd, actor="tester")
    Path("odd.yaml").write_text(run("show", "testbed-bomb", "--yaml").out)
    assert load_definition("odd.yaml") == odd
    changed = (tmp_path / "mine.yaml").read_text().replace("name: Bomb", "name: Bombs")
    (tmp_path / "mine.yaml").write_text(changed)
    assert run("add-concept", "mine.yaml").out.startswith("Changed testbed-bomb (object): Bombs")
