import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concepts.definition import (
    ConceptDefinition,
    load_definition,
    load_shipped,
    parse_definition,
    shipped_definitions,
)
from concepts.errors import DefinitionError, NotFoundError
from concepts.words import CATEGORIES

TEXT = """\
slug: water-pistol
name: Water pistol
category: object
description: A toy that squirts water.
prompts:
  - a water pistol on a table
  - "a green water pistol"
near_misses:
  - a garden hose
parameters:
  seeds_per_prompt: 4
  shrinkage: 0.1
"""


def test_reads_every_field():
    assert parse_definition(TEXT) == ConceptDefinition(
        slug="water-pistol",
        name="Water pistol",
        category="object",
        description="A toy that squirts water.",
        prompts=("a water pistol on a table", "a green water pistol"),
        near_misses=("a garden hose",),
        parameters={"seeds_per_prompt": 4, "shrinkage": 0.1},
    )


def test_dict_round_trips():
    made = parse_definition(TEXT)
    assert ConceptDefinition.from_dict(made.to_dict()) == made
    assert ConceptDefinition.from_dict(made.to_dict()).digest == made.digest


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "object", "objct",
            "x.yaml:3: field 'category': found 'objct', allowed: nudity, ip-character, object. "
            "Did you mean 'object'?",
        ),
        (
            "near_misses", "near_miss",
            "x.yaml:8: field 'near_miss': unknown; allowed: slug, name, category, description, "
            "scope, prompts, near_misses, paraphrases, benign, edits, parameters. "
            "Did you mean 'near_misses'?",
        ),
        ("name: Water pistol\n", "", "x.yaml:1: document: missing: name"),
        (
            '"a green water pistol"', "yes",
            "x.yaml:7: field 'prompts[2]': found true/false, expected text (put it in quotes)",
        ),
        (
            "a garden hose", "a green water pistol",
            "x.yaml:9: field 'near_misses[1]': 'a green water pistol' is also one of the prompts",
        ),
        (
            '"a green water pistol"', "a water pistol on a table",
            "x.yaml:7: field 'prompts[2]': repeats item 1: 'a water pistol on a table'",
        ),
        (
            "seeds_per_prompt: 4", "seeds_per_prompt: 0",
            "x.yaml:11: field 'parameters.seeds_per_prompt': found 0, allowed: a whole number "
            "from 1 to 1000",
        ),
        (
            "shrinkage", "shrinkge",
            "x.yaml:12: field 'parameters.shrinkge': unknown; allowed: seeds_per_prompt, "
            "noise_draws, shrinkage, image_false_positive_rate, patch_false_positive_rate, "
            "within_share, margin, prototypes, rule. "
            "Did you mean 'shrinkage'?",
        ),
        (
            "slug: water-pistol", "slug: Water_Pistol",
            "x.yaml:1: field 'slug': found 'Water_Pistol', allowed: lower-case letters and digits "
            "in words joined by single hyphens, at most 64 characters",
        ),
        ("name:", "slug:", "x.yaml:2: field 'slug': occurs twice"),
        ("Water pistol", "", "x.yaml:2: field 'name': found nothing, expected text (put it in "
         "quotes)"),
        ("\n  - a garden hose", " a garden hose",
         "x.yaml:8: field 'near_misses': found text, expected a list of texts"),
    ],
)  # fmt: skip
def test_errors_say_where_what_and_what_is_allowed(old, new, message):
    with pytest.raises(DefinitionError) as caught:
        parse_definition(TEXT.replace(old, new, 1), "x.yaml")
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["", "- a", "just text", "a: [", "slug: !!python/object:x {}"])
def test_other_texts_are_no_definition(text):
    with pytest.raises(DefinitionError, match=r"^x\.yaml"):
        parse_definition(text, "x.yaml")


@pytest.mark.parametrize("text", ["[" * 3000, "{a: " * 3000 + "}" * 3000, "- " * 3000 + "x"])
def test_a_text_nested_thousands_deep_is_refused(text):
    with pytest.raises(DefinitionError, match=r"^x\.yaml:1: document: nested too deeply$"):
        parse_definition(text, "x.yaml")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("!!bool x", "'x' cannot be read as 'bool'"),
        ("!!int ''", "'' cannot be read as 'int'"),
        ("!!int '-'", "'-' cannot be read as 'int'"),
        ("!!float ''", "'' cannot be read as 'float'"),
        ("!!timestamp x", "'x' cannot be read as 'timestamp'"),
        ("2020-99-99", "'2020-99-99' cannot be read as 'timestamp'"),
        ("!!set {a}", "has the tag 'tag:yaml.org,2002:set', plain YAML is expected"),
        ("!!python/tuple [a]", "has the tag 'tag:yaml.org,2002:python/tuple'"),
        ("!mine {a: b}", "has the tag '!mine', plain YAML is expected"),
        (r'"\ud800"', "holds half a character"),
        (r'"\UFFFFFFFF"', "not valid YAML"),
    ],
)
def test_odd_tags_and_escapes_are_refused(value, message):
    with pytest.raises(DefinitionError) as caught:
        parse_definition(TEXT + f"scope: {value}\n", "x.yaml")
    assert str(caught.value).startswith("x.yaml:")
    assert message in str(caught.value)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40), st.integers(0, len(TEXT)))
def test_any_text_gives_a_definition_or_an_error(noise, position):
    with contextlib.suppress(DefinitionError):
        parse_definition(TEXT[:position] + noise + TEXT[position:])


def test_files_are_read_and_named_in_errors(tmp_path):
    path = tmp_path / "water.yaml"
    path.write_text(TEXT)
    assert load_definition(path) == parse_definition(TEXT)
    path.write_bytes(b"name: \xff")
    with pytest.raises(DefinitionError, match=r"water\.yaml: not UTF-8"):
        load_definition(path)
    with pytest.raises(DefinitionError, match="cannot be read"):
        load_definition(tmp_path)
    with pytest.raises(NotFoundError, match=r"No definition file at '.*none\.yaml'"):
        load_definition(tmp_path / "none.yaml")


def test_flags_are_checked_like_files():
    with pytest.raises(DefinitionError, match="field 'prompts': needs at least one prompt"):
        ConceptDefinition("a", "A", "object", "An a.", ())


def test_every_shipped_definition_is_valid_and_findable_by_its_slug():
    found = [load_shipped(slug) for slug in shipped_definitions()]
    assert [definition.slug for definition in found] == shipped_definitions()
    assert {definition.category for definition in found} == set(CATEGORIES)


def test_unknown_shipped_name_suggests_the_closest():
    with pytest.raises(NotFoundError, match=r"No shipped definition 'nudty'\. Did you mean 'nud"):
        load_shipped("nudty")
