"""The attacks that ship: each is in the suite of attacks and in the manual."""

import re
from pathlib import Path

import pytest

from uvr.evaluation.attacks.known import ATTACKS
from uvr.evaluation.suites.suite import load_suite

MANUAL = Path(__file__).parents[4] / "docs" / "evaluation.md"


def test_the_suite_of_attacks_has_every_attack_once():
    names = [attack.name for attack in load_suite("testbed-attacks").attacks]
    assert sorted(names) == sorted(ATTACKS.names())


def test_the_manual_s_table_has_every_attack_with_its_tasks():
    rows = re.findall(r"^\| (`[^|]+`) \| (t2i|edit|both) \|", MANUAL.read_text(), re.MULTILINE)
    said = {name: tasks for names, tasks in rows for name in re.findall("`([^`]+)`", names)}
    known = {name: ATTACKS.make(name).tasks for name in ATTACKS.names()}
    assert said == {
        name: "both" if {"t2i", "edit"} <= set(tasks) else tasks[0] for name, tasks in known.items()
    }


@pytest.mark.parametrize("name", ATTACKS.names())
def test_every_attack_says_what_it_does(name):
    assert ATTACKS.make(name).about.endswith(".")
