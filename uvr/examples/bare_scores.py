"""What versions make of given pictures: scores alone, kept beside no picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from concepts.digest import sha256
from concepts.files import read_bytes
from concepts.scorer import Scorer
from uvr.examples.kept import UNREADABLE, Drawn, Kept, scoring_digest
from uvr.examples.wanted import BENIGN, GIVEN, MUST_CATCH, Wanted


class ScoresAlone(Kept):
    """A folder of scores of given pictures, each named after its picture, which is not in it."""

    def keep(self, item: Wanted, drawn: Drawn) -> None:
        """Keep nothing: a given picture is in no cache."""

    def score(self, item: Wanted, scorer: Scorer) -> float | None:
        """Return a picture's highest score by a scorer; None where it was not scored."""
        try:
            about = json.loads(read_bytes(self._file(item, f"{scoring_digest(scorer)}.json")))
            return float(about["score"])
        except UNREADABLE:
            return None

    def _is_kept(self, item: Wanted, scorers: Sequence[Scorer]) -> bool:
        return all(self.score(item, scorer) is not None for scorer in scorers)

    def _file(self, item: Wanted, ending: str) -> Path:
        text = sha256(item.prompt.encode())[:8]
        return self._folder / item.space[:16] / f"{item.slug}.{text}.{ending}"


def wanted_given(
    picture: str,
    *,
    benign: bool,
    space: str,
    task: str,
    prompts: Sequence[str],
    size: tuple[int, int] = (0, 0),
) -> Wanted:
    """Name a given picture as it is looked at, whatever other pictures there are.

    Args:
        picture: SHA-256 of its file.
        benign: Whether it is without the concept.
        space: Digest of the anchor space.
        task: "t2i", "edit" or "check".
        prompts: Texts that such pictures are looked at with; which one follows from the picture.
        size: Height and width in pixels at which it is looked at; its name does not tell.
    """
    prompt = prompts[int(picture[:8], 16) % len(prompts)] if prompts else ""
    return Wanted(
        kind=BENIGN if benign else MUST_CATCH, source=GIVEN, space=space, task=task,
        prompt=prompt, slug=picture, number=0, seed=0, steps=0, size=size,
    )  # fmt: skip
