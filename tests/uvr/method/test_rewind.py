from __future__ import annotations

from collections.abc import Sequence

import torch

from uvr.method.rewind import Call, StepRecord, Trajectory, euler_step, plan_replay

SIGMAS = [1.0, 0.7, 0.4, 0.0]


def halved(call: Call, latents: torch.Tensor) -> Sequence[torch.Tensor]:
    return [0.5 * latents]


def doubled(call: Call, latents: torch.Tensor) -> Sequence[torch.Tensor]:
    return [2 * latents]


def recorded(steps: int = 2) -> Trajectory:
    """A trajectory as a pipeline would leave it, of two pictures with four tokens."""
    latents = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    records = []
    for step in range(steps):
        (velocity,) = halved({}, latents)
        records.append(StepRecord(step, latents, [{}], [velocity]))
        latents = euler_step(latents, velocity, SIGMAS[step + 1] - SIGMAS[step])
    plan = plan_replay(records, SIGMAS, latents)
    assert isinstance(plan, Trajectory)
    return plan


def test_an_unchanged_replay_ends_where_the_steps_led():
    plan = recorded()
    torch.testing.assert_close(plan.replay(halved), plan.end)


def test_kept_tokens_go_where_they_went_before_at_every_step():
    plan = recorded()
    kept = torch.tensor([[True, True, False, False], [False, False, False, True]])
    seen = []

    def forward(call: Call, latents: torch.Tensor) -> Sequence[torch.Tensor]:
        seen.append(latents)
        return doubled(call, latents)

    end = plan.replay(forward, kept)
    plain = [plan.records[0].latents, plan.records[1].latents, plan.end]
    for latents, before in zip([*seen, end], plain, strict=True):
        assert torch.equal(latents[kept], before[kept])
    assert torch.equal(end[~kept], plan.replay(doubled)[~kept])
    assert not torch.isclose(end[~kept], plan.end[~kept]).any()
