"""The given pictures of a concept: keep more, see what they cover, collect from them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image
from starlette.responses import Response

from concepts.errors import InputError, UVRError
from concepts.instant import now, parse_instant
from concepts.words import TASKS
from console.call import Call, go_to
from console.evidence.given_pictures import (
    GivenSet,
    Verdicts,
    given_picture,
    given_set,
    open_kept,
    verdicts_of,
)
from console.evidence.sheet import VEILED
from console.form import MAX_FILES
from console.guard import MAX_BODY
from console.pages.asking import DECODING
from console.pages.jobs import model_place, offered_models
from registry.answers import ConceptDetail
from registry.registry import Registry
from registry.versions.keeping import Ground
from registry.versions.kept_exemplar import KeptExemplar
from uvr.pages.picture import outline_uri, picture_uri

SHOWN = 24
"""Pictures on one page: each is decoded for it."""
OUTLINE = 48
"""Places along the longer side of an outline."""
SAYS = {"yes": False, "no": True}
"""Whether pictures are without the concept, by what the form says of them."""
logger = logging.getLogger("uvr.console")


@dataclass(frozen=True)
class Card:
    """A picture on the page.

    Attributes:
        item: What is known of it.
        uri: Its data; "" where it is not shown.
        outline: Where it shows the concept; None where nobody said.
        notes: What is to be done about it, or why it is not collected from, the gravest first.
        wrong: Whether a version decides it otherwise than it should.
    """

    item: KeptExemplar
    uri: str
    outline: str | None
    notes: Sequence[str]
    wrong: bool


def exemplars(call: Call) -> Response:
    """Show the given pictures of a concept."""
    return _shown(call, unveiled=False)


def unveil(call: Call) -> Response:
    """Show those that are left out until somebody asks for them."""
    return _shown(call, unveiled=True)


def keep(call: Call) -> Response:
    """Keep pictures for a concept."""
    concept, form = call.registry.concepts.get(call.path["slug"]), call.form
    if form.text("shows") not in SAYS:
        raise InputError("Say whether the pictures show it.")
    benign = SAYS[form.text("shows")]
    if not form.files:
        raise InputError("Choose at least one picture.")
    ground = Ground(form.text("origin"), form.text("legal_basis"), _until(form.text("until")))
    # Whoever may not keep pictures has none decoded.
    call.registry.rehearsal().exemplars.keep(
        concept.slug, (), ground, actor=call.actor, benign=benign
    )
    given = []
    for number, data in enumerate(form.files, 1):
        with DECODING:
            given.append(given_picture(data, f"Picture {number} of {len(form.files)}"))
    call.registry.exemplars.keep(concept.slug, given, ground, actor=call.actor, benign=benign)
    return go_to(f"/concepts/{concept.slug}/exemplars", "kept")


def collect(call: Call) -> Response:
    """Ask for the next version, collected from the given pictures."""
    concept, form = call.registry.concepts.get(call.path["slug"]), call.form
    task = form.text("task")
    if task not in TASKS:
        raise InputError(f"'{task[:40]}' is no use of a model: {', '.join(TASKS)}.")
    if why := given_set(call.registry, concept.slug).coverage.too_few:
        raise InputError(why)
    words = (concept.slug, "--kept", f"--model={model_place(form.text('model'))}",
             f"--task={task}")  # fmt: skip
    asked = call.registry.jobs.add("collect-anchors", words, actor=call.actor)
    return go_to(f"/jobs/{asked.id}", "asked")


def score(call: Call) -> Response:
    """Ask for what a concept's newest version makes of the given pictures."""
    version = call.registry.versions.get(call.path["slug"])
    model = model_place(call.form.text("model"))
    words = (f"{version.slug}@{version.number}", f"--model={model}")
    asked = call.registry.jobs.add("score-exemplars", words, actor=call.actor)
    return go_to(f"/jobs/{asked.id}", "asked")


@lru_cache(256)
def thumbnail(registry: Registry, item: KeptExemplar) -> tuple[str, str | None]:
    """Return a picture and the outline of its mask, small, as data.

    Decoding a page of them takes seconds, and whoever masks them comes back to it again and again.

    Raises:
        UVRError: It is not there, or not the one that was kept.
    """
    picture, mask = open_kept(registry, item)
    return picture_uri(picture), None if mask is None else outline_of(mask)


def is_veiled(concept: ConceptDetail) -> bool:
    """Whether somebody must ask to see a concept's pictures."""
    return concept.definition.category in VEILED


def outline_of(mask: Image.Image) -> str | None:
    """Return the outline of a mask as data; None where it is empty."""
    scale = OUTLINE / max(mask.size)
    size = (max(1, round(mask.width * scale)), max(1, round(mask.height * scale)))
    cells = np.asarray(mask.convert("L").resize(size, Image.Resampling.BOX)) >= 64
    return outline_uri(cells) if cells.any() else None


def _shown(call: Call, *, unveiled: bool) -> Response:
    concept = call.registry.concepts.get(call.path["slug"])
    found = given_set(call.registry, concept.slug)
    verdicts = _verdicts(call, concept, found)
    veiled = is_veiled(concept)
    if veiled and unveiled:
        # The trail tells of changes alone, and this is none.
        logger.info("%r looked at the given pictures of %s", call.actor, concept.slug)
    veiled = veiled and not unveiled
    first = _first(call, len(found.pictures))
    cards = [
        _card(call, item, found, verdicts, veiled) for item in found.pictures[first : first + SHOWN]
    ]
    return call.page(
        "exemplars.html", concept=concept, found=found, verdicts=verdicts, cards=cards,
        version=concept.versions[-1] if concept.versions else None, veiled=veiled, first=first,
        step=SHOWN, models=offered_models(call), most_files=MAX_FILES, most_bytes=MAX_BODY >> 20,
        at=now(), before=found.pictures[-1] if found.pictures else None,
    )  # fmt: skip


def _first(call: Call, count: int) -> int:
    """Return the place of the first picture on the page; the first of all for anything else."""
    text = call.query.get("from", "")
    place = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    return place // SHOWN * SHOWN if place < count else 0


def _verdicts(call: Call, concept: ConceptDetail, found: GivenSet) -> list[Verdicts]:
    if not concept.versions or not found.pictures:
        return []
    detail = call.registry.versions.detail(concept.slug, concept.versions[-1].number)
    return verdicts_of(call.registry, detail, found.pictures)


def _card(
    call: Call, item: KeptExemplar, found: GivenSet, verdicts: Sequence[Verdicts], veiled: bool
) -> Card:
    uri, outline = "", None
    if item.readable and not veiled:
        try:
            uri, outline = thumbnail(call.registry, item)
        except UVRError as error:
            logger.warning("picture %d is not shown: %s", item.id, error)
    wrong = [v for v in verdicts if v.caught(item.id) is item.benign]
    return Card(item, uri, outline, list(notes_of(item, found, bool(wrong))), bool(wrong))


def notes_of(item: KeptExemplar, found: GivenSet, wrong: bool) -> list[str]:
    """Say what is to be known of a picture, the gravest first."""
    facts, notes = found.facts.get(item.id), []
    if not item.there:
        notes.append("Its file is not here: give it again.")
    if item.expired:
        notes.append("Its time is over: it is deleted with the garbage.")
    if item.excluded is not None:
        notes.append(f"Left out: {item.excluded}")
    if wrong:
        notes.append("Wrongly caught." if item.benign else "Missed.")
    if facts is not None and not item.benign:
        if facts.share is None:
            notes.append("No mask yet.")
        elif facts.share == 0:
            notes.append("Its mask is empty.")
    if alike := found.like(item.id):
        notes.append(f"Much like {', '.join(map(str, alike))}.")
    return notes


def _until(text: str) -> str:
    try:
        return parse_instant(text)
    except ValueError as error:
        raise InputError(f"Say until when they are kept, as a date: {error}.") from error
