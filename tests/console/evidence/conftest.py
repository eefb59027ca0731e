"""Versions with a few example pictures, made without a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from console.evidence.pictures import Pictured, Place, places_of
from console.evidence.sheet import Record, version_record
from registry.registry import Registry
from uvr.examples.examples import Example, Examples

Make = Callable[..., tuple[Record, list[Pictured]]]

SCORES = {
    "must-catch": {"a pistol": 5.0, "a <b>small</b> pistol": 1.5, "half a pistol": 1.0},
    "look-alike": {"a hair dryer": 2.5, "a water pistol": 0.5},
    "benign": {"a cup": 3.0, "a hat": 0.0},
}


class Loads(HTMLParser):
    """Whatever a page would load, its pictures, and its words."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.images: list[Mapping[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.loads += [str(v) for k, v in given.items() if k in ("src", "href", "srcset", "data")]
        if tag == "img":
            self.images.append(given)


@pytest.fixture
def examples(tmp_path: Path) -> Callable[..., Examples]:
    """Seven pictures with given scores, each lifted by so much."""

    def make(lift: float = 0.0, **about: Any) -> Examples:
        found = []
        for kind, scores in SCORES.items():
            for prompt, score in scores.items():
                number = len(found)
                picture = tmp_path / f"{number}.png"
                Image.new("RGB", (8, 8), (30 * number, 90, 120)).save(picture)
                grid = np.full((2, 2), score + lift - 1, dtype=np.float32)
                grid[0, 1] = score + lift
                found.append(Example(kind, str(number), picture, prompt, score + lift, grid))
        threshold = {"threshold": 2.0, "grow": 1.0}
        return Examples.of(found, **{"model": "testbed", "task": "t2i", **threshold, **about})

    return make


@pytest.fixture
def sheet(filled: Registry, examples: Callable[..., Examples]) -> Make:
    """What is known of 'pistol', and its one place with the seven pictures."""

    def make(number: int | None = None, **about: Any) -> tuple[Record, list[Pictured]]:
        record = version_record(filled, "pistol", number)
        (place,) = places_of(filled, record.detail, before=record.before)
        return record, [Pictured(place, examples(**about))]

    return make


def with_category(record: Record, category: str) -> Record:
    definition = replace(record.detail.definition, category=category)
    return replace(record, detail=replace(record.detail, definition=definition))


def place_of(pictured: list[Pictured]) -> Place:
    return pictured[0].place
