"""Draw the calls of a plan on the workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from math import ceil

from concepts.errors import MismatchError
from uvr.evaluation.run.draw import Done, draw_calls
from uvr.evaluation.run.plan import Call, Model, call_key, shared_key
from uvr.evaluation.setting import Setting
from uvr.pipelines import load_pipeline
from uvr.workers import workers


@dataclass(frozen=True)
class RayEngine:
    """Draws on a cluster, each worker with the model's pipeline of its own.

    Attributes:
        address: Of the cluster; None starts one on this machine.
    """

    address: str | None = None

    def __call__(
        self, calls: Sequence[Call], models: Mapping[str, Model]
    ) -> Generator[Done, None, None]:
        """Yield each call as soon as a worker drew it.

        Raises:
            MismatchError: A worker would draw with other weights, code, libraries or another kind
                of device than this process.
            NotFoundError: See ``workers``.
        """
        if not calls:
            return
        needed = {task: models[task] for task in dict.fromkeys(call.task for call in calls)}
        if made_here := [task for task, model in needed.items() if not model.name]:
            raise ValueError(f"no name to load the model by elsewhere, of {', '.join(made_here)}")
        gpu = any(model.pipe.device.type == "cuda" for model in needed.values())
        sources = {task: (model.name, model.setting) for task, model in needed.items()}
        with workers(self.address, gpu=gpu) as pool:
            yield from pool.run(partial(drawing, sources), parts_of(calls, pool.size))


def parts_of(calls: Sequence[Call], count: int) -> Iterator[list[Call]]:
    """Calls of each method in as many parts as there are workers, so that each opens it once."""
    for _, group in groupby(calls, lambda call: (call.task, call.attack, call.method)):
        same = list(group)
        size = ceil(len(same) / count)
        yield from (same[first : first + size] for first in range(0, len(same), size))


def drawing(
    sources: Mapping[str, tuple[str, Setting]],
) -> Callable[[Sequence[Call]], Iterator[Done]]:
    """What a worker does: load the pipelines, then draw calls as this process would.

    Args:
        sources: By task, what ``load_pipeline`` loads the model by, and the setting.
    """
    models = {}
    for task, (name, setting) in sources.items():
        pipe, _ = load_pipeline(name, task, setting.profile)
        models[task] = Model(pipe, _at_home(setting), name)

    def draw(calls: Sequence[Call]) -> Iterator[Done]:
        for call in calls:
            shared = shared_key(call.task, call.attack, call.method, models[call.task])
            if call_key(shared, call.cases) != call.key:
                raise MismatchError(
                    "A Ray worker has other weights, code, libraries or another kind of device "
                    "than this process: its pictures would differ. Install the same everywhere."
                )
        yield from draw_calls(calls, models)

    return draw


def _at_home(setting: Setting) -> Setting:
    """The setting without the folder of what attacks learn, where that is on another machine."""
    folder = setting.folder
    there = folder is not None and folder.parent.is_dir()
    return setting if there else replace(setting, folder=None)
