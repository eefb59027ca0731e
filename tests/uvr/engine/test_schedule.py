from __future__ import annotations

from types import SimpleNamespace

from diffusers import FlowMatchEulerDiscreteScheduler

from uvr.engine.schedule import current_step


def test_current_step_comes_from_the_scheduler_then_from_the_sigma():
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(5)
    assert current_step(scheduler, scheduler.timesteps[2:3] / 1000) == 2
    scheduler.set_begin_index(3)
    assert current_step(scheduler, scheduler.timesteps[2:3] / 1000) == 3
    unplaced = SimpleNamespace(sigmas=scheduler.sigmas)
    assert current_step(unplaced, scheduler.timesteps[2:3] / 1000 + 1e-3) == 2
