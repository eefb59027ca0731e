"""One given picture: where it shows its concept, whether it is collected from, its end."""

from __future__ import annotations

import logging
from typing import Any

from starlette.responses import Response

from concepts.errors import InputError, NotFoundError, UVRError
from concepts.instant import now
from console.call import Call, go_to
from console.evidence.given_pictures import given_set, new_mask, open_kept
from console.form import FieldError
from console.pages.asking import DECODING
from console.pages.exemplars import is_veiled, notes_of
from registry.versions.kept_exemplar import KeptExemplar
from uvr.pages.picture import data_uri, picture_uri

SIDE = 1024
"""Pixels on the longer side of the picture on the page; its mask has those of the kept one."""
BOX = ("left", "top", "width", "height")
logger = logging.getLogger("uvr.console")


def exemplar(call: Call) -> Response:
    """Show a given picture with its mask."""
    return _shown(call, unveiled=False)


def unveil(call: Call) -> Response:
    """Show one that is left out until somebody asks for it."""
    return _shown(call, unveiled=True)


def set_mask(call: Call) -> Response:
    """Say where it shows its concept: a painted mask, a box, or nothing any more."""
    item, form = _item(call), call.form
    mask = None
    if not form.flag("none"):
        with DECODING:
            mask = new_mask(call.registry, item.id, form.file, _box(call))
    call.registry.exemplars.set_mask(item.id, mask, actor=call.actor)
    here = f"/concepts/{item.slug}/exemplars"
    if mask is None:
        return go_to(f"{here}/{item.id}", "unmasked")
    following = _unmasked(call, item)
    if following is None:
        return go_to(here, "masked-last")
    return go_to(f"{here}/{following}", "masked", picture=item.id)


def exclude(call: Call) -> Response:
    """Leave it out of the next collections."""
    item = _item(call)
    call.registry.exemplars.exclude(item.id, actor=call.actor, reason=call.form.text("reason"))
    return go_to(f"/concepts/{item.slug}/exemplars", "left-out")


def include(call: Call) -> Response:
    """Collect from it again."""
    item = _item(call)
    call.registry.exemplars.include(item.id, actor=call.actor)
    return go_to(f"/concepts/{item.slug}/exemplars", "taken-in")


def forget(call: Call) -> Response:
    """Delete it, and what is recorded of it wherever it was collected from."""
    item = _item(call)
    call.registry.exemplars.forget(item.sha256, actor=call.actor, reason=call.form.text("reason"))
    return go_to(f"/concepts/{item.slug}/exemplars", "forgotten")


def _unmasked(call: Call, item: KeptExemplar) -> int | None:
    """Return the next picture that shows the concept and says nowhere where."""
    numbers = [
        one.id
        for one in call.registry.exemplars.kept(item.slug)
        if one.usable and not one.benign and one.mask is None and one.id != item.id
    ]
    return next((number for number in numbers if number > item.id), next(iter(numbers), None))


def _item(call: Call) -> KeptExemplar:
    """Return the picture of an address; one of another concept is not there."""
    item = call.registry.exemplars.one(call.path["picture"])
    if item.slug != call.path["slug"]:
        raise NotFoundError(f"Picture {item.id} is none of '{call.path['slug']}'.")
    return item


def _shown(call: Call, *, unveiled: bool) -> Response:
    item = _item(call)
    concept, found = call.registry.concepts.get(item.slug), given_set(call.registry, item.slug)
    veiled = is_veiled(concept)
    if veiled and unveiled:
        logger.info("%r looked at given picture %d of %s", call.actor, item.id, item.slug)
    veiled = veiled and not unveiled
    numbers = [one.id for one in found.pictures]
    place = numbers.index(item.id)
    return call.page(
        "exemplar.html", concept=concept, item=item, veiled=veiled, at=now(),
        notes=notes_of(item, found, wrong=False), **_pixels(call, item, veiled),
        before=numbers[place - 1] if place else None,
        after=numbers[place + 1] if place + 1 < len(numbers) else None,
        **_masked(call, item),
    )  # fmt: skip


def _masked(call: Call, item: KeptExemplar) -> dict[str, Any]:
    """Say whose mask was saved, where another picture is shown; an address gives its number."""
    given = call.query.get("picture", "")
    if call.query.get("done") != "masked" or not (given.isascii() and given.isdigit()):
        return {}
    return {"notice": f"The mask of picture {given[:9]} was saved; this is picture {item.id}."}


def _pixels(call: Call, item: KeptExemplar, veiled: bool) -> dict[str, Any]:
    """Return a picture as the page has it: its data, its size, and its mask's data."""
    none: dict[str, Any] = {"uri": "", "mask": "", "size": (0, 0)}
    if veiled or not item.readable:
        return none
    try:
        picture, mask = open_kept(call.registry, item)
    except UVRError as error:
        logger.warning("picture %d is not shown: %s", item.id, error)
        return none
    return {
        "uri": picture_uri(picture, SIDE),
        "mask": "" if mask is None else data_uri(call.registry.exemplars.files(item)[1] or b""),
        "size": picture.size,
    }


def _box(call: Call) -> list[float] | None:
    """Return the box of a form, as shares of the picture; None where a file says it."""
    if call.form.file is not None:
        return None
    if not any(call.form.text(name) for name in BOX):
        raise InputError("Say where it shows: paint it, or give the four numbers of a box.")
    left, top, width, height = (call.form.number(name, 0, 100) for name in BOX)
    for name, start, length in (("width", left, width), ("height", top, height)):
        if not 0 < length <= 100.1 - start:  # As near as ``new_mask`` takes it.
            raise FieldError(
                name, f"A box that begins at {start:g}% has a {name} of more than 0 and at most "
                f"{100 - start:g}%, or it would leave the picture; this has {length:g}%.",
            )  # fmt: skip
    return [left / 100, top / 100, width / 100, height / 100]
