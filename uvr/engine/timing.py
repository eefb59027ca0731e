"""How long parts of a call take, where a device runs behind the program."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def timed(
    seconds: dict[str, float], name: str, device: torch.device | None = None
) -> Iterator[None]:
    """Add the seconds that the context takes to those of a name.

    Args:
        seconds: What is added to.
        name: Of the part.
        device: Where its tensors are: it is waited for, before and after, so that what was asked
            of it earlier does not count. A look waits for its scores in any case.
    """
    _wait(device)
    begun = time.perf_counter()
    try:
        yield
    finally:
        _wait(device)
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - begun


def _wait(device: torch.device | None) -> None:
    if device is not None and device.type not in ("cpu", "meta"):
        torch.accelerator.synchronize(device)
