"""Other flow schedulers, and callbacks that change latents: regulated from the look on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    FlowMatchLCMScheduler,
    UniPCMultistepScheduler,
)

from tests.uvr.conftest import call_pipe
from tests.uvr.engine.conftest import firing
from uvr.engine.regulator import Regulator

FLOW = {
    "use_flow_sigmas": True,
    "prediction_type": "flow_prediction",
    "use_dynamic_shifting": True,
}
SCHEDULERS = {
    "euler": lambda: FlowMatchEulerDiscreteScheduler(),
    "euler, dynamic shift": lambda: FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    "euler, karras": lambda: FlowMatchEulerDiscreteScheduler(use_karras_sigmas=True),
    "euler, stochastic": lambda: FlowMatchEulerDiscreteScheduler(stochastic_sampling=True),
    "dpm++": lambda: DPMSolverMultistepScheduler(**FLOW),
    "unipc": lambda: UniPCMultistepScheduler(**FLOW),
    "lcm": lambda: FlowMatchLCMScheduler(),
}
NOT_EULER = "the scheduler is not a deterministic flow-matching Euler scheduler"


def draw(pipe: Any, **more: Any) -> torch.Tensor:
    torch.manual_seed(0)  # Stochastic schedulers draw from the global generator.
    return call_pipe(pipe, "a red cup", [1], **more)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # DPM++'s own.
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_is_stock_to_the_bit_or_regulated(t2i_pipe, t2i_profile, silent, name):
    t2i_pipe.scheduler = SCHEDULERS[name]()
    stock = draw(t2i_pipe)
    with Regulator(silent(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        assert torch.equal(stock, draw(t2i_pipe))
    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe) as attachment:
        regulated = draw(t2i_pipe)
    report = attachment.last
    assert report.fired
    assert (regulated - stock).abs().max() > 0.01
    rewinds = name.startswith("euler") and "stochastic" not in name
    assert report.rewound is rewinds
    assert report.notes == (
        [] if rewinds else [f"not rewound, regulated from the look on: {NOT_EULER}"]
    )


def test_a_scheduler_may_be_exchanged_while_attached(t2i_pipe, t2i_profile):
    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe) as attachment:
        first = draw(t2i_pipe)
        t2i_pipe.scheduler = UniPCMultistepScheduler(**FLOW)
        draw(t2i_pipe)
        t2i_pipe.scheduler = FlowMatchEulerDiscreteScheduler()
        assert torch.equal(first, draw(t2i_pipe))
    assert [report.rewound for report in attachment.reports] == [True, False, True]


def test_heun_is_refused_by_diffusers_itself(t2i_pipe, t2i_profile):
    t2i_pipe.scheduler = FlowMatchHeunDiscreteScheduler()
    with (
        Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe),
        pytest.raises(ValueError, match="does not support custom"),
    ):
        draw(t2i_pipe)


@pytest.mark.parametrize(("until", "rewound"), [(0, False), (4, True)])
def test_a_callback_may_change_the_latents(t2i_pipe, t2i_profile, silent, until, rewound):
    """Before the look the steps cannot run again; after it there is nothing to run again."""

    def shrink(pipe: Any, step: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
        return {"latents": 0.9 * values["latents"]} if step == until else {}

    stock = draw(t2i_pipe, callback_on_step_end=shrink)
    with Regulator(silent(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        assert torch.equal(stock, draw(t2i_pipe, callback_on_step_end=shrink))
    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe) as attachment:
        regulated = draw(t2i_pipe, callback_on_step_end=shrink)
    assert attachment.last.fired
    assert attachment.last.rewound is rewound
    assert not torch.equal(stock, regulated)
