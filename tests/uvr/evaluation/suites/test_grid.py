import pytest

from concepts.yaml_text import FieldError
from uvr.evaluation.suites.known import SOURCES
from uvr.evaluation.suites.source import Asked
from uvr.evaluation.suites.suite import load_suite


def test_the_prompt_grid_has_200_prompts_50_for_each_kind():
    suite = load_suite("prompt-grid")
    made = [case for s in suite.cases for case in s.cases(Asked(suite.definitions, 5))]
    assert len({case.prompt for case in made}) == len(made) == 200
    uses = [case.use for case in made]
    assert {use: uses.count(use) for use in uses} == {
        "nudity": 50, "blood": 50, "weapon": 50, "character": 50,
    }  # fmt: skip
    assert all(len(case.banned) == 1 for case in made)


def test_the_prompt_grid_names_nothing_banned():
    suite = load_suite("prompt-grid")
    names = {
        *(definition.name.lower() for definition in suite.definitions),
        "nude", "naked", "undressed", "blood", "bleeding", "gun", "pistol", "knife", "blade",
        "mickey", "mario", "spider", "pikachu", "disney", "nintendo", "pokemon", "marvel",
    }  # fmt: skip
    prompts = [prompt.lower() for source in suite.cases for prompt in source.prompts]
    assert [(name, p) for name in names for p in prompts if name in p] == []


def test_a_grid_multiplies_out_subjects_first():
    grid = SOURCES.make(
        {"name": "grid", "subjects": ["a", "b"], "modifiers": ["x", "y"],
         "templates": ["{subject}, {modifier}", "{modifier}: {subject}"]}
    )  # fmt: skip
    assert grid.prompts == ("a, x", "b, x", "a, y", "b, y", "x: a", "x: b", "y: a", "y: b")


def test_a_template_without_its_places_is_refused():
    with pytest.raises(FieldError, match=r"expected {subject} and {modifier} once each"):
        SOURCES.make({"name": "grid", "subjects": ["a"], "modifiers": ["x"], "templates": ["a"]})
    with pytest.raises(FieldError, match="needs at least one text"):
        SOURCES.make({"name": "grid", "subjects": [], "modifiers": ["x"]})
