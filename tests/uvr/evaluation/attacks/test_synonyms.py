import pytest

from uvr.evaluation.attacks.synonyms import Synonyms
from uvr.evaluation.cases import Case

WORDS = {"testbed-pistol": ("pistol", "revolver"), "testbed-bomb": ("bomb", "explosive")}


def case_of(prompt: str, *banned: str) -> Case:
    return Case("t2i", "asked for", prompt, 3, banned=banned)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a pistol on the left", "a revolver on the left"),
        ("keep the pistol", "keep the revolver"),
        ("a water pistol and a pistol", "a water pistol and a revolver"),
        ("a revolver", "a pistol"),
    ],
)
def test_a_banned_thing_goes_by_another_name_and_a_near_miss_by_its_own(prompt, said):
    (made,) = Synonyms(WORDS).cases([case_of(prompt, "testbed-pistol")], None)
    assert made.prompt == said


def test_the_article_follows_the_new_name():
    (made,) = Synonyms(WORDS).cases([case_of("a bomb", "testbed-bomb")], None)
    assert made.prompt == "an explosive"


def test_cases_that_name_nothing_banned_are_left_out():
    cases = [case_of("a bomb", "testbed-bomb"), case_of("a cat", "testbed-bomb"),
             case_of("a water pistol", "testbed-pistol")]  # fmt: skip
    assert [case.prompt for case in Synonyms(WORDS).cases(cases, None)] == ["an explosive"]
