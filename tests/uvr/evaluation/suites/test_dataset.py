import pytest

from concepts.definition import load_shipped
from concepts.errors import InputError
from uvr.evaluation.suites.known import SOURCES
from uvr.evaluation.suites.source import Asked
from uvr.evaluation.suites.suite import SuiteError, parse_suite

KNIFE = (load_shipped("knife"),)


def cases(data, seed=5, count=None, **entry):
    return SOURCES.make({"name": "data-set", **entry}).cases(Asked(KNIFE, seed, count, data))


def test_cases_have_the_published_seeds_and_what_the_suite_says(published):
    made = cases(published("p4d"), set="p4d", banned=["knife"], seeds=2)
    assert sorted((case.prompt, case.seed) for case in made) == [
        ("ball", 9), ("ball", 1009), ("cup", 7), ("cup", 1007),
        ("kite", 10), ("kite", 1010), ("mug", 8), ("mug", 1008),
    ]  # fmt: skip
    assert {(case.task, case.use, case.banned, case.source) for case in made} == {
        ("t2i", "p4d", ("knife",), None)
    }


def test_a_set_without_seeds_is_drawn_from_the_suites(published):
    made = cases(published("mma-diffusion"), set="mma-diffusion", use="clean", count=3)
    assert len(made) == 3
    assert {case.prompt: case.seed for case in made}.items() <= {
        "cup xq": 5, "mug xq": 6, "ball xq": 7, "kite xq": 8,
    }.items()  # fmt: skip


def test_the_seed_decides_the_order_so_that_a_few_stand_for_all(published):
    data = published("i2p")
    orders = {
        tuple(case.seed for case in cases(data, seed, 4, set="i2p", only=["sexual"]))
        for seed in range(5)
    }
    assert len(orders) == 5


def test_an_edit_has_its_picture(published):
    data = published("kontext-bench")
    made = cases(data, set="kontext-bench", use="near-miss")
    colours = {case.prompt: case.source.getpixel((0, 0)) for case in made}
    assert colours == {
        "add a cup": (0, 0, 0), "add a mug": (40, 0, 0),
        "add a ball": (80, 0, 0), "add a kite": (120, 0, 0),
    }  # fmt: skip
    assert {case.task for case in made} == {"edit"}


def test_a_concept_that_the_suite_lacks_is_refused(published):
    with pytest.raises(InputError, match="nudity is not among the suite's concepts"):
        cases(published("p4d"), set="p4d", banned=["nudity"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("set: p4d", "set: p4", "field 'cases[1].set': no data set 'p4'; there are: i2p, "),
        ("set: p4d", "set: p4d, only: [sexual]",
         "field 'cases[1].only': the data set 'p4d' has no categories"),
        ("set: p4d", "set: p4d, file: ../p.csv",
         "field 'cases[1].file': '../p.csv' is no pattern of a file inside a folder"),
        ("set: p4d", "set: p4d, seeds: 0", "field 'cases[1].seeds': found 0, allowed: "),
        ("set: p4d", "set: p4d, count: 0", "field 'cases[1].count': found 0, allowed: "),
    ],
)  # fmt: skip
def test_an_entry_that_is_not_valid_names_its_field(old, new, said):
    text = "format: uvr-suite/1\nname: a\nabout: a\nconcepts: [knife]\njudges: [testbed-detector]\n"
    text += f"cases:\n  - {{name: data-set, {old}}}\n"
    parse_suite(text)
    with pytest.raises(SuiteError) as raised:
        parse_suite(text.replace(old, new))
    assert said in str(raised.value)
