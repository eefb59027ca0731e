"""Draw the calls of a plan that are not kept yet, and measure what each costs.

An *engine* draws calls and yields what it drew. ``draw_calls`` is the one of this process; what is
kept, counted and drawn again after a stop is the business of ``uvr.evaluation.run.run`` alone.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import torch

from uvr.evaluation.cases import Case
from uvr.evaluation.drawing import Drawer, Picture
from uvr.evaluation.run.plan import Call, Model
from uvr.evaluation.run.work import Cost


@dataclass(frozen=True)
class Done:
    """A call that was drawn: its key, a picture for each case, and what they cost."""

    key: str
    pictures: list[Picture]
    cost: Cost


class Engine(Protocol):
    """Draws calls, wherever and in whatever order; pictures must not depend on either."""

    def __call__(
        self, calls: Sequence[Call], models: Mapping[str, Model]
    ) -> Generator[Done, None, None]:
        """Yield each call as soon as it was drawn.

        Args:
            calls: What to draw, each key once.
            models: By task, as the calls were planned for.
        """
        ...


def draw_calls(calls: Sequence[Call], models: Mapping[str, Model]) -> Generator[Done, None, None]:
    """Draw calls one after the other, each method opened once for all that follow each other."""
    for (task, _, _), group in groupby(calls, lambda call: (call.task, call.attack, call.method)):
        part, model = list(group), models[task]
        attack, method = part[0].attack, part[0].method
        learned = [attack.learn(model.pipe, call.cases, model.setting) for call in part]
        with attack.open(model.pipe, method, model.setting) as drawer:
            for call, cases in zip(part, learned, strict=True):
                pictures, cost = measured(model.pipe, drawer, cases)
                if len(pictures) != len(call.cases):
                    raise ValueError(
                        f"the method {method.name!r} under the attack {attack.name!r} drew "
                        f"{len(pictures)} pictures of {len(call.cases)} cases"
                    )
                yield Done(call.key, pictures, cost)


def measured(pipe: Any, draw: Drawer, cases: Sequence[Case]) -> tuple[list[Picture], Cost]:
    """Draw cases, and what one of them cost on average."""
    device = next(pipe.transformer.parameters()).device
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    with counted_passes(pipe.transformer) as passes:
        pictures = draw(cases)
    if cuda:
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - start
    memory = torch.cuda.max_memory_allocated(device) if cuda else None
    return pictures, Cost(seconds / len(cases), sum(passes) / len(cases), memory)


@contextmanager
def counted_passes(transformer: Any) -> Iterator[list[int]]:
    """Give a list that grows by the number of pictures in each pass of a transformer.

    Its first block is watched: a regulator has calls of the transformer itself go elsewhere.
    """
    passes: list[int] = []
    lists = (child for child in transformer.children() if isinstance(child, torch.nn.ModuleList))
    block = next(child for child in lists if len(child))[0]

    def count(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        del module
        given = next(t for t in (*args, *kwargs.values()) if isinstance(t, torch.Tensor))
        passes.append(len(given))

    handle = block.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield passes
    finally:
        handle.remove()
