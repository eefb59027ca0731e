"""Capture batches on the workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from concepts.errors import MismatchError
from uvr.anchors.batches import Batch, batch_key, shared_content
from uvr.anchors.capturing import Captured, Source
from uvr.pipelines import load_pipeline
from uvr.placement import Placement
from uvr.profiles import ModelProfile
from uvr.workers import workers

Keyed = tuple[str, Batch]


@dataclass(frozen=True)
class RayEngine:
    """Captures on a cluster, each worker with a pipeline of its own.

    Attributes:
        model: What ``load_pipeline`` loads the model by, on each worker.
        placement: The same.
        address: Of the cluster; None starts one on this machine.
    """

    model: str
    placement: Placement | None = None
    address: str | None = None

    def __call__(
        self, batches: Mapping[str, Batch], source: Source
    ) -> Generator[Captured, None, None]:
        """Yield each batch's features as soon as a worker captured them.

        Raises:
            MismatchError: A worker has other weights, libraries or another kind of device than
                this process.
            NotFoundError: See ``workers``.
        """
        if not batches:
            return
        make = partial(capturing, self.model, source.profile, self.placement)
        on_gpu = source.shared["model"]["on"][0] == "cuda"
        with workers(self.address, gpu=on_gpu) as pool:
            # One batch a part: a worker's death costs no more than the batch in its hands.
            yield from pool.run(make, [[item] for item in batches.items()])


@contextmanager
def ray_engine(
    model: str, placement: Placement | None = None, address: str | None = None
) -> Iterator[RayEngine]:
    """Give an engine whose cluster stays connected from one collection to the next.

    Raises:
        NotFoundError: See ``workers``.
    """
    with workers(address):
        yield RayEngine(model, placement, address)


def capturing(
    model: str, profile: ModelProfile, placement: Placement | None
) -> Callable[[Sequence[Keyed]], Iterator[Captured]]:
    """What a worker does: load the pipeline, then capture batches as this process would."""
    pipe, _ = load_pipeline(model, None, profile, placement)
    shared = shared_content(pipe, profile)

    def capture(batches: Sequence[Keyed]) -> Iterator[Captured]:
        for key, batch in batches:
            if batch_key(shared, batch) != key:
                raise MismatchError(
                    "A Ray worker has other weights, libraries or another kind of device than "
                    "this process: its features would differ. Install the same everywhere."
                )
            yield key, batch.capture(pipe, profile)

    return capture
