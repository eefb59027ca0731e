from __future__ import annotations

from typing import Any

import pytest
from diffusers import FlowMatchEulerDiscreteScheduler

from uvr.method.stage import Stage, current_step, plan_stage, usual_sigmas
from uvr.profiles import PROFILES, ModelProfile

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
def test_stage_is_the_first_steps_that_run(
    first: int, look_sigma: float, stage_end: float, expected: Stage
) -> None:
    plan = plan_stage(SIGMAS, first=first, look_sigma=look_sigma, stage_end=stage_end)
    assert plan == expected


def test_stage_refuses_a_step_outside_of_the_schedule() -> None:
    with pytest.raises(ValueError, match="outside"):
        plan_stage(SIGMAS, first=5, look_sigma=1, stage_end=0)


def test_current_step_comes_from_the_scheduler_then_from_the_sigma() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(5)
    assert current_step(scheduler, scheduler.timesteps[2:3] / 1000) == 2
    scheduler.set_begin_index(3)
    assert current_step(scheduler, scheduler.timesteps[2:3] / 1000) == 3


def test_usual_sigmas_are_those_of_a_call(t2i_pipe: Any, t2i_profile: ModelProfile) -> None:
    t2i_pipe.scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    t2i_pipe("a cup", output_type="latent", **t2i_profile.call)
    assert usual_sigmas(t2i_pipe, t2i_profile) == t2i_pipe.scheduler.sigmas.tolist()[:-1]


def test_every_profile_regulates_at_least_two_steps_of_its_usual_schedule() -> None:
    for profile in PROFILES.values():
        sigmas = [1 - step / profile.steps for step in range(profile.steps)]
        plan = plan_stage(sigmas, first=0, look_sigma=profile.sigma, stage_end=profile.stage_end)
        assert plan.last >= 1, profile.name
