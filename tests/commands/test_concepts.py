"""Commands on concepts."""

from dataclasses import replace
from pathlib import Path

from commands.concepts import standing_rows
from commands.table import Table
from concepts.definition import dump_definition, load_definition, load_shipped
from tests.commands.conftest import on_both
from tests.conftest import Result, toy_collection


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


def test_add_concept_refuses_a_definition_of_nudity_that_names_minors(run):
    run("init")
    flags = ["--slug", "nude", "--name", "Nude", "--category", "nudity", "--description", "A nude."]
    result = run("add-concept", *flags, "--prompt", "a nude", "--near-miss", "a 12 year old")
    assert result.code == 5
    assert result.err.startswith(
        "Error: The definition of 'nude' is refused: '12 year old' in its near_misses[0] names "
        "minors, and its category is nudity. "
    )
    assert run("concepts", "--json").json() == []


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
    assert run("concepts").out.splitlines() == [
        "slug    version  state  mode  threshold  live",
        "knife   -        -      -     -          -",
        "pistol  1        draft  -     t2i 2      -",
    ]


@on_both
def test_concepts_tells_what_is_live_and_what_is_newer(run, filled):
    run("release", "policy", "--concept", "pistol", "--mode", "pistol=log",
        "--threshold", "pistol=1.5")  # fmt: skip
    for channel in ("test", "prod"):
        run("channel", "move", channel, "policy")
    filled.versions.add("pistol", [toy_collection(seed=1)], actor="tester")
    table = run("concepts").out.splitlines()
    assert table == [
        "slug    version  state     mode                 threshold  live",
        "knife   -        -         -                    -          -",
        "pistol  1        approved  log (reported only)  t2i 1.5    prod, test",
        "pistol  2        draft     -                    t2i 2      -",
    ]
    assert max(map(len, table)) <= 80
    knife, pistol = run("concepts", "--json").json()
    assert (knife["state"], knife["thresholds"], knife["live"]) == (None, {}, [])
    assert (pistol["state"], pistol["latest_version"]) == ("draft", 2)
    assert pistol["thresholds"] == {"testbed/t2i": 2.0}
    assert pistol["live"] == [
        {
            "channel": channel, "bundle": "policy", "sequence": 1, "version": 1,
            "state": "approved", "mode": "log", "thresholds": {"testbed/t2i": 1.5},
            "disabled_until": None,
        }
        for channel in ("prod", "test")
    ]  # fmt: skip


def test_concepts_fits_a_terminal_of_80_columns(run, filled):
    long = replace(load_shipped("pistol"), slug="a-very-long-name-of-a-concept-that-is-banned")
    filled.concepts.add(long, actor="tester")
    spaces = [toy_collection(seed=1)]
    spaces.append(
        (replace(spaces[0][0], space=replace(spaces[0][0].space, task="edit")), spaces[0][1])
    )
    filled.versions.add(long.slug, spaces, actor="tester")
    run("release", "policy")
    for channel in ("production-europe", "production-asia"):
        run("channel", "move", channel, "policy")
    rows = [row for standing in filled.concepts.standings() for row in standing_rows(standing)]
    lines = Table(("slug", "version", "state", "mode", "threshold", "live"), rows).lines(80)
    assert max(map(len, lines)) <= 80


@on_both
def test_a_concept_that_is_switched_off_for_a_while_says_until_when(run, filled):
    run("release", "policy")
    run("release", "policy", "--disable", "pistol=2099-01-01", "--enforce-nothing")
    run("channel", "move", "prod", "policy")
    assert (
        "approved  enforce (switched off until 2099-01-01T00:00:00Z)  t2i 2      prod"
        in run("concepts").out
    )


@on_both
def test_show_of_a_version_gives_its_own_definition(run, filled):
    run("release", "policy")
    run("channel", "move", "prod", "policy")
    old = load_shipped("pistol")
    filled.concepts.add(replace(old, description="Another."), actor="tester")
    filled.versions.add("pistol", [toy_collection(seed=1)], actor="tester")
    first, second = (run("show", f"pistol@{number}", "--json").json() for number in (1, 2))
    assert (first["definition"], second["definition"]["description"]) == (old.to_dict(), "Another.")
    assert run("show", "pistol@1", "--yaml").out == dump_definition(old)
    text = run("show", "pistol@2").out.splitlines()
    assert text[0] == "pistol@2 is draft, by tester"
    assert "  description: Another." in text
    assert text[-1] == (
        "live in 'prod', by policy@1: version 1, mode enforce (regulated), threshold t2i 2"
    )


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
