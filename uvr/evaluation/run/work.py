"""The work folder of a run: pictures by their content, and what was said of them.

``pictures/ab/DIGEST.png`` holds each picture once, whoever drew it; ``drawn.jsonl`` has a row a
call, ``scores.jsonl`` a row a judge and picture. All of it can be removed and is made anew.
"""

from __future__ import annotations

import base64
import fcntl
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from concepts.errors import BusyError
from concepts.files import write_file
from uvr.evaluation.cases import picture_digest
from uvr.evaluation.drawing import Picture
from uvr.evaluation.judging import RawScores, SuiteJudge
from uvr.evaluation.run.ledger import Ledger
from uvr.verdict import Verdict


@dataclass(frozen=True)
class Cost:
    """What a call cost, for each picture: seconds, passes of the transformer, peak bytes."""

    seconds: float
    passes: float
    memory: int | None = None


@dataclass(frozen=True)
class Kept:
    """What is kept of a picture: all but its pixels, which its digest finds."""

    digest: str
    cost: Cost
    verdict: Verdict | None
    fired: tuple[str, ...]
    mask: NDArray[np.bool_] | None
    scores: Mapping[str, NDArray[np.float32]]


class WorkFolder:
    """Where a run keeps what it drew.

    Args:
        path: The folder, made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.drawn = Ledger(path / "drawn.jsonl")
        self.scored = Ledger(path / "scores.jsonl")

    def keep(self, key: str, pictures: Sequence[Picture], cost: Cost) -> None:
        """Keep the pictures of a call: the files first, then the row that says they are there."""
        rows = []
        for picture in pictures:
            digest = picture_digest(picture.image)
            path = self.picture_path(digest)
            if not path.exists():
                write_file(path, _png(picture.image))
            rows.append({"digest": digest, **_said(picture)})
        costs = {"seconds": cost.seconds, "passes": cost.passes, "memory": cost.memory}
        self.drawn.add([{"key": key, **costs, "pictures": rows}])

    def kept(self, key: str) -> list[Kept]:
        """What was kept of a call's pictures."""
        row = self.drawn[key]
        cost = Cost(row["seconds"], row["passes"], row["memory"])
        return [_kept(item, cost) for item in row["pictures"]]

    def picture_path(self, digest: str) -> Path:
        """Where the picture of a digest is."""
        return self.path / "pictures" / digest[:2] / f"{digest}.png"

    def picture(self, digest: str) -> Image.Image:
        """Read a picture."""
        with Image.open(self.picture_path(digest)) as picture:
            return picture.convert("RGB")

    def unscored(self, judge: SuiteJudge, digests: Sequence[str]) -> list[str]:
        """The pictures that a judge has not scored yet, each once."""
        return [d for d in dict.fromkeys(digests) if f"{judge.digest}:{d}" not in self.scored]

    def score(self, judge: SuiteJudge, digests: Sequence[str]) -> None:
        """Have a judge score pictures and keep its raw scores."""
        scores = judge.raw_scores([self.picture(digest) for digest in digests])
        self.scored.add(
            {
                "key": f"{judge.digest}:{digest}",
                "judge": judge.name,
                "version": judge.judge.version,
                "scores": {k: [round(float(v), 6) for v in values] for k, values in row.items()},
            }
            for digest, row in zip(digests, scores, strict=True)
        )

    def scores(self, judge: SuiteJudge, digest: str) -> RawScores:
        """A judge's raw scores of a picture."""
        scores: RawScores = self.scored[f"{judge.digest}:{digest}"]["scores"]
        return scores


@contextmanager
def work_folder(path: Path) -> Iterator[WorkFolder]:
    """Open a work folder for one run at a time.

    Raises:
        BusyError: Another run works in it.
    """
    path.mkdir(parents=True, exist_ok=True)
    with (path / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(f"Another run works in '{path}'. Wait for it, or choose a folder of "
                            "your own with --out.") from error  # fmt: skip
        yield WorkFolder(path)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def _said(picture: Picture) -> dict[str, Any]:
    return {
        "verdict": None if picture.verdict is None else picture.verdict.to_dict(),
        "fired": list(picture.fired),
        "mask": None if picture.mask is None
        else ["".join("1" if cell else "0" for cell in row) for row in picture.mask],
        "scores": {slug: encoded(scores) for slug, scores in sorted(picture.scores.items())},
    }  # fmt: skip


def _kept(row: Mapping[str, Any], cost: Cost) -> Kept:
    mask = row["mask"]
    return Kept(
        row["digest"],
        cost,
        None if row["verdict"] is None else Verdict.from_dict(row["verdict"]),
        tuple(row["fired"]),
        None if mask is None else np.array([[cell == "1" for cell in line] for line in mask]),
        {slug: decoded(scores) for slug, scores in row["scores"].items()},
    )


def encoded(scores: NDArray[np.float32]) -> dict[str, Any]:
    """Numbers as JSON: their shape, and float16 in base64."""
    data = base64.b64encode(scores.astype("<f2").tobytes()).decode()
    return {"shape": list(scores.shape), "float16": data}


def decoded(row: Mapping[str, Any]) -> NDArray[np.float32]:
    """Read numbers from JSON."""
    flat = np.frombuffer(base64.b64decode(row["float16"]), dtype="<f2").astype(np.float32)
    return flat.reshape(row["shape"])
