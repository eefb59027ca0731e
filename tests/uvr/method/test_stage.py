from __future__ import annotations

import pytest

from uvr.method.stage import Stage, plan_stage
from uvr.profiles import PROFILES

SIGMAS = [1.0, 0.9, 0.8, 0.6, 0.3]


@pytest.mark.parametrize(
    ("first", "look_sigma", "stage_end", "expected"),
    [
        (0, 1.0, 0.85, Stage(0, 0, 1)),
        (0, 0.85, 0.85, Stage(0, 2, 2)),  # regulation never ends before the look
        (0, 0.85, 0.3, Stage(0, 2, 4)),
        (3, 0.85, 0.85, Stage(3, 3, 3)),  # starts below the look: the first step that runs
        (3, 0.85, 0.5, Stage(3, 3, 4)),  # and its stage is scaled by where it starts
        (0, 0.1, 0.0, Stage(0, 4, 4)),  # never reaches the look's sigma: the last step
    ],
)
def test_stage_is_the_first_steps_that_run(first, look_sigma, stage_end, expected):
    plan = plan_stage(SIGMAS, first=first, look_sigma=look_sigma, stage_end=stage_end)
    assert plan == expected


def test_stage_refuses_a_step_outside_of_the_schedule():
    with pytest.raises(ValueError, match="outside"):
        plan_stage(SIGMAS, first=5, look_sigma=1, stage_end=0)


def test_every_profile_regulates_at_least_two_steps_of_its_usual_schedule():
    for profile in PROFILES.values():
        sigmas = [1 - step / profile.steps for step in range(profile.steps)]
        plan = plan_stage(sigmas, first=0, look_sigma=profile.sigma, stage_end=profile.stage_end)
        assert plan.last >= 1, profile.name
