"""Example pictures as a page shows them: strips of cards, each picture once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from console.evidence.pictures import Pictured
from uvr.examples.examples import Example, Examples
from uvr.pages.chart import Histogram
from uvr.pages.picture import outline_uri, picture_uri
from uvr.pages.words import kind_words

NEAREST = 6
"""Allowed pictures that are shown as the closest to being caught."""
ABOUT_MISSED = (
    "Pictures that must be caught and are not, the least like it first. Look whether the concept "
    "is in them at all."
)
ABOUT_WRONG = "Allowed pictures that it takes for the concept, the surest first."
ABOUT_NEAREST = "None. These allowed pictures come closest, the nearest first."
ABOUT_STRAYED = (
    "They must be caught and are, but not where the concept is: what was found is something else."
)
UNPLACED = (
    " Look whether it is there: nothing tells where the concept is in these pictures, and one that "
    "is caught for another thing counts here too."
)


@dataclass(frozen=True)
class Card:
    """A picture.

    Attributes:
        uri: Of the picture.
        alt: What it is, in words.
        outline: Where the concept was found, laid over it; None where it was not.
        source: The picture that an edit began with, where it differs.
        prompt: What was asked for.
        caught: Whether it is caught.
        right: Whether that is as it should be.
        said: More about it, in words.
        score: For "details".
    """

    uri: str
    alt: str
    outline: str | None
    source: str | None
    prompt: str
    caught: bool
    right: bool
    said: str
    score: float


@dataclass(frozen=True)
class Strip:
    """Cards that show one thing.

    Attributes:
        id: Its name within the page.
        title: What they show.
        about: How they are ordered, or what it means that there are none.
        cards: The pictures.
        open: Whether they are seen at once.
        style: "bad" for what went wrong, "good" for what went right.
    """

    id: str
    title: str
    about: str
    cards: Sequence[Card]
    open: bool
    style: str = ""


def strips_of(item: Pictured) -> list[Strip]:
    """The strips of one model and task: what went wrong, then what went right."""
    examples = item.examples
    if examples is None:
        return []
    missed, wrong = examples.missed(), examples.wrongly_caught()
    strayed = examples.strayed()
    caught = [
        one for one in examples.must_catch if one.caught(examples.threshold) and one not in strayed
    ]
    nearest = [] if wrong else examples.closest(NEAREST)
    left, others = (
        sorted((one for one in found if one not in wrong), key=lambda one: -one.score)
        for found in (examples.look_alikes, examples.benign)
    )
    about_caught = "The least sure first. Outlined: where the concept was found."
    if examples.placed < len(caught) + len(strayed):
        about_caught += UNPLACED
    return [
        _strip("missed", "Missed", ABOUT_MISSED if missed else "", missed, examples, "bad"),
        _strip("wrong", "Wrongly caught", ABOUT_WRONG if wrong else ABOUT_NEAREST, wrong or nearest,
               examples, "bad" if wrong else "", count=len(wrong)),
        *([_strip("strayed", "Caught for another thing", ABOUT_STRAYED, strayed, examples, "bad")]
          if strayed else []),
        _strip("caught", "Caught, as it must be", about_caught,
               sorted(caught, key=lambda one: one.score), examples, "good"),
        _left_alone("look-alikes", "Look-alikes that are allowed, and left alone", left, nearest,
                    examples),
        _left_alone("ordinary", "Ordinary pictures, left alone", others, nearest, examples,
                    shown=False),
    ]  # fmt: skip


def _left_alone(
    id: str,
    title: str,
    found: Sequence[Example],
    above: Sequence[Example],
    examples: Examples,
    *,
    shown: bool = True,
) -> Strip:
    """Allowed pictures that are left alone, all of them counted, those above shown there."""
    rest = [one for one in found if one not in above]
    about = "The most alike first."
    if moved := len(found) - len(rest):
        about += f" {moved} of them {'is' if moved == 1 else 'are'} shown above, as coming closest."
    return _strip(id, title, about, rest, examples, "good", shown=shown, count=len(found))


def changed_strip(item: Pictured, before: int) -> Strip | None:
    """Pictures whose verdict is another than by the version before; None where nothing compares."""
    if item.examples is None or item.before is None:
        return None
    cards = []
    for one in item.changed:
        words = f"version {before} {'caught it' if one.was_caught else 'did not catch it'}"
        cards.append(card_of(one.example, item.examples, words))
    about = (
        f"The same pictures by version {before} and by this one."
        if cards
        else f"No picture: version {before} decides all {len(item.examples.all)} in the same way."
    )
    return Strip("changed", "Decided otherwise than before", about, cards, open=True)


def histogram_of(item: Pictured) -> Histogram | None:
    """How the pictures lie about the threshold."""
    examples = item.examples
    if examples is None or not examples.all:
        return None
    before = item.before.threshold if item.before is not None else None
    return Histogram(
        title="How much each example picture looks like the concept to this version, "
        "and from where on it is caught",
        upwards=[one.score for one in examples.must_catch],
        downwards=[
            ("look-alikes", [one.score for one in examples.look_alikes]),
            ("ordinary", [one.score for one in examples.benign]),
        ],
        threshold=examples.threshold,
        before=None if before == examples.threshold else before,
    )


def _strip(
    id: str,
    title: str,
    about: str,
    found: Iterable[Example],
    examples: Examples,
    style: str,
    *,
    shown: bool = True,
    count: int | None = None,
) -> Strip:
    cards = [card_of(one, examples) for one in found]
    number = len(cards) if count is None else count
    return Strip(id, f"{title}: {number or 'none'}", about, cards, shown, style if number else "")


def card_of(example: Example, examples: Examples, said: str = "") -> Card:
    """Return a picture as a card, with ``said`` beside what it was asked for."""
    caught = example.caught(examples.threshold)
    uri = _uri(example.picture)
    source = None if example.source is None else _uri(example.source)
    outline = example.outline(examples.threshold, examples.grow)
    strays = example.kind == "must-catch" and example.strays(examples.threshold, examples.grow)
    verdict = "caught" if caught else "not caught"
    return Card(
        uri=uri,
        alt=f"{kind_words(example.kind)}, {verdict}: {example.prompt or example.name}",
        outline=outline_uri(outline) if caught else None,
        source=None if source == uri else source,
        prompt=example.prompt,
        caught=caught,
        right=caught == (example.kind == "must-catch") and not strays,
        said=said,
        score=example.score,
    )


def _uri(path: Path) -> str:
    # Whoever can write to the cache must not choose what decodes it.
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return picture_uri(picture)
    except Image.DecompressionBombError as error:
        raise OSError(f"'{path}' is no picture that was kept: {error}") from error
