"""Peak memory of a collection, in memory and in a folder: `python benchmarks/collecting.py`.

On Linux. Each figure is of a process of its own: the highest resident memory, above what the
process had before, while pictures of 4,096 patches are captured, labelled, collected and fitted.
Features are random numbers with a concept in a tenth of the patches of half of the pictures: no
picture is drawn, and what the model takes is not counted.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from memory import highest
from scale import Size, make_pipe, profile_of

from concepts.definition import ConceptDefinition
from uvr.anchors.calibration import fit_scorer
from uvr.anchors.capturing import Capturing
from uvr.anchors.extract import collect_from_prompts
from uvr.anchors.feature_folder import FeatureFolder

SIZE = Size(width=512, tokens=4096)
ARMS = ("memory", "folder")


def definition(pictures: int) -> ConceptDefinition:
    """A concept for which so many pictures are drawn, half of them without it."""
    return ConceptDefinition(
        slug="ball", name="Ball", category="object", description="A ball.",
        prompts=("a red ball", "a blue ball"), near_misses=("a cup",), benign=("a star",),
        parameters={"seeds_per_prompt": pictures // 4},
    )  # fmt: skip


def random_features(batches: Any, _: Any) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Features as an engine gives them."""
    for key, batch in batches.items():
        random = np.random.default_rng(batch.first)
        kinds = random.standard_normal((2, len(batch), SIZE.tokens, SIZE.width), np.float32)
        for place, prompt in enumerate(batch.prompts):
            if "ball" in prompt:
                kinds[:, place, : SIZE.tokens // 10, 0] += 12
        yield key, tuple(kinds)


def of_one_collection(arm: str, pictures: int, found: Any) -> None:
    """Send the peak of one collection in MB, its anchors' MB and its seconds."""
    pipe, profile = make_pipe(SIZE.width, compiled=False), profile_of(SIZE)
    before, start = highest(), time.perf_counter()
    with ExitStack() as stack:
        kept: Any = {}
        if arm == "folder":
            kept = FeatureFolder(Path(stack.enter_context(tempfile.TemporaryDirectory(dir="."))))
        capturing = Capturing(kept=kept, engine=random_features)  # type: ignore[arg-type]
        anchors = collect_from_prompts(pipe, profile, definition(pictures), capturing=capturing)
        fit_scorer(anchors)
    size = (anchors.anchors.nbytes + anchors.counter_anchors.nbytes) / 1e6
    found.put((highest() - before, size, time.perf_counter() - start))


def measured(arm: str, pictures: int) -> dict[str, Any]:
    """A row of the result."""
    fresh = multiprocessing.get_context("spawn")
    found = fresh.SimpleQueue()
    process = fresh.Process(target=of_one_collection, args=(arm, pictures, found))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"the process of '{arm}' failed")
    peak, anchors, seconds = map(round, found.get())
    features = round(2 * pictures * SIZE.tokens * SIZE.width * 4 / 1e6)
    return {"arm": arm, "pictures": pictures, "features_mb": features, "anchors_mb": anchors,
            "peak_mb": peak, "seconds": seconds}  # fmt: skip


def main() -> None:
    """Measure and print a row for each arm and number of pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, nargs="+", default=[16, 64])
    for pictures in parser.parse_args().pictures:
        for arm in ARMS:
            print(json.dumps(measured(arm, pictures)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
