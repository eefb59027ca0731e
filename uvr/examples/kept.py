"""The cache of example pictures: a PNG, a description, and one file of scores for each scorer.

Everything in it can be drawn again, so that it may be deleted at any time. It is no part of any
digest or backup, and pictures that were given are never put into it. Each file is written whole or
not at all, so that drawing that was stopped goes on where it was.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from concepts.files import write_file
from concepts.scorer import Scorer
from concepts.tensors import tensors_digest
from uvr.examples.examples import Example, Examples
from uvr.examples.wanted import Wanted

FOLDER = Path("cache") / "examples"
"""Where they lie in a registry's home."""

UNREADABLE = (OSError, ValueError, KeyError, TypeError)
"""What reading raises where a file was deleted or damaged: the picture is drawn again."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A picture that was just drawn.

    Attributes:
        image: The picture.
        prompt: What was asked for.
        shown: Patches that are known to show the concept, (rows, columns); None for unknown.
        source: The picture that an edit began with.
        name: What whoever gave it calls it.
    """

    image: Image.Image
    prompt: str
    shown: NDArray[np.bool_] | None = None
    source: Image.Image | None = None
    name: str = ""


def scoring_digest(scorer: Scorer) -> str:
    """Digest of what gives scores; thresholds are no part of it, so that they move for nothing."""
    return tensors_digest({"weights": scorer.weights, "offset": scorer.offset})[:32]


class Kept:
    """A folder of example pictures with scores.

    Args:
        folder: Such as ``home / FOLDER``; made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def lacking(self, wanted: Iterable[Wanted], scorers: Sequence[Scorer]) -> list[Wanted]:
        """Those that were not drawn, or not scored by one of the scorers, or are damaged."""
        return [item for item in wanted if not self._is_kept(item, scorers)]

    def _is_kept(self, item: Wanted, scorers: Sequence[Scorer]) -> bool:
        try:
            return all(self.example(item, scorer) for scorer in scorers)
        except UNREADABLE:
            return False

    def keep(self, item: Wanted, drawn: Drawn) -> None:
        """Keep a picture; its description is written last and says that all of it is there."""
        write_file(self._file(item, "png"), _png(drawn.image))
        if drawn.source is not None:
            write_file(self._file(item, "source.png"), _png(drawn.source))
        about = {
            "prompt": drawn.prompt,
            "name": drawn.name,
            "source": drawn.source is not None,
            "shown": None if drawn.shown is None else drawn.shown.astype(int).tolist(),
        }
        write_file(self._file(item, "json"), _json(about))

    def keep_scores(self, item: Wanted, scorer: Scorer, scores: NDArray[np.float32]) -> None:
        """Keep a picture's scores by one scorer, (rows, columns)."""
        packed = base64.b64encode(scores.astype("<f4").tobytes()).decode()
        about = {"score": float(scores.max()), "grid": list(scores.shape), "scores": packed}
        write_file(self._file(item, f"{scoring_digest(scorer)}.json"), _json(about))

    def example(self, item: Wanted, scorer: Scorer) -> Example:
        """Read a picture with its scores.

        Raises:
            OSError: It is not there.
            ValueError: A file of it is damaged.
        """
        about = json.loads(self._file(item, "json").read_bytes())
        scored = json.loads(self._file(item, f"{scoring_digest(scorer)}.json").read_bytes())
        values = np.frombuffer(base64.b64decode(scored["scores"]), dtype="<f4")
        shown = about["shown"]
        picture = self._file(item, "png")
        if not picture.is_file():
            raise FileNotFoundError(str(picture))
        return Example(
            kind=item.kind,
            key=item.key,
            picture=picture,
            prompt=about["prompt"],
            score=scored["score"],
            scores=values.reshape(scored["grid"]),
            shown=None if shown is None else np.array(shown, dtype=bool),
            source=self._file(item, "source.png") if about["source"] else None,
            name=about["name"],
        )

    def examples(self, wanted: Sequence[Wanted], scorer: Scorer, **about: Any) -> Examples | None:
        """Read pictures with their scores; None where one of them is not there.

        Args:
            wanted: Which.
            scorer: By which scores and thresholds.
            about: Other attributes of ``Examples``.
        """
        try:
            found = [self.example(item, scorer) for item in wanted]
        except UNREADABLE:
            return None
        thresholds = {"threshold": scorer.seed_threshold, "grow": scorer.grow_threshold}
        return Examples.of(found, **thresholds, **about)

    def _file(self, item: Wanted, ending: str) -> Path:
        return self._folder / item.space[:16] / f"{item.key}.{ending}"


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def _json(about: dict[str, Any]) -> bytes:
    return json.dumps(about, separators=(",", ":")).encode()
