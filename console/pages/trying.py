"""What somebody tries: asked for here, drawn or checked by a worker, shown once it is there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from starlette.responses import RedirectResponse, Response

from concepts.errors import NotFoundError, UVRError
from console.call import Call
from console.evidence.caught import caught_by_check, caught_by_report
from console.evidence.sheet import VEILED
from console.evidence.tried import Tried, read_tried
from console.pages.asking import KIND, MAX_PROMPT, Asked, ask_to_draw, asked_of, releases_to_try
from console.pages.jobs import OPEN, model_name, offered_models
from registry.jobs import JobInfo
from registry.operations import Incident, explain
from registry.store.home import TRIED
from uvr.pages.picture import outline_uri, picture_uri

SIDE = 768
"""Pixels on the longer side of a picture on the page."""
NEAREST, CLOSEST, EARLIER = 3, 20, 20
"""Examples of each concept, concepts, and tries before this one that are shown at most."""
LOOKED_AT = 500
"""Jobs of any kind among which earlier tries are looked for."""
logger = logging.getLogger("uvr.console")


@dataclass(frozen=True)
class Shot:
    """One picture: its title, its data, what it is in words, and outlines laid over it."""

    title: str
    uri: str
    alt: str
    outline: str | None = None


def begin(call: Call) -> Response:
    """Ask for a prompt, or a picture."""
    named = {name: call.query.get(name, "") for name in ("release", "version")}
    asked = Asked(**named, model="")
    return call.page("try.html", **_form(call, asked), earlier=_earlier(call))


def ask(call: Call) -> Response:
    """Ask a worker to draw a prompt, regulated and not, or to check a picture."""
    form = call.form
    seed = int(form.number("seed", 0, 2**53))
    named = {name: form.text(name) for name in ("prompt", "release", "version", "model")}
    job = ask_to_draw(call, Asked(**named, seed=str(seed)), form.file)
    return RedirectResponse(f"/try/{job.id}", 303)


def tried(call: Call) -> Response:
    """Show what it came to, or how far it is."""
    return _shown(call, unveiled=False)


def unveil(call: Call) -> Response:
    """Show pictures that are left out until somebody asks for them."""
    return _shown(call, unveiled=True)


def _shown(call: Call, *, unveiled: bool) -> Response:
    job = call.registry.jobs.show(call.path["job"])
    if job.kind != KIND:
        raise NotFoundError(f"Job {job.id} tried nothing. The page of jobs tells what it did.")
    found = _read(call, job)
    veiled = found is not None and _is_veiled(call, found)
    if veiled and unveiled:
        logger.info("%r looked at pictures of job %d", call.actor, job.id)
    return call.page(
        "tried.html", job=job, open=job.state in OPEN, tried=found,
        veiled=veiled and not unveiled, names=_names(call), counted=call.decisions.counted(),
        shots=[] if found is None or (veiled and not unveiled) else shots_of(found),
        findings=[] if found is None else found.findings[:CLOSEST],
        checked=[] if found is None or found.report is None else found.checked[:CLOSEST],
        incidents=[] if found is None else _explained(call, found, job),
        **_form(call, asked_of(job)),
    )  # fmt: skip


def _read(call: Call, job: JobInfo) -> Tried | None:
    """Read what a job came to; None while it is not there, or no longer."""
    if job.state != "done":
        return None
    try:
        return read_tried(call.registry.home / TRIED / f"job-{job.id}")
    except NotFoundError:
        return None


def _is_veiled(call: Call, found: Tried) -> bool:
    """Whether nudity was looked for: then it may be there, whether it was found or not."""
    categories = {item.slug: item.category for item in call.registry.concepts.list()}
    return any(categories.get(slug) in VEILED for slug in found.about.concepts)


def _names(call: Call) -> dict[str, str]:
    return {item.slug: item.name for item in call.registry.concepts.list()}


def shots_of(found: Tried) -> list[Shot]:
    """The pictures side by side, and then the heat maps."""
    names = {item.slug: item.name for item in found.findings}
    pictures = found.pictures
    if found.report is None:
        shots = [_shot("The picture", pictures["given"], "What was checked", found.outline)]
    else:
        prompt = found.about.prompt
        shots = [
            _shot("The picture that was given", pictures.get("given"), "Before the edit"),
            _shot("Not regulated", pictures["stock"], f"Not regulated: {prompt}",
                  found.outline),
            _shot(found.other, pictures["regulated"], f"{found.other}: {prompt}", found.outline),
        ]  # fmt: skip
    maps = [
        _shot(f"Where it looks like {names.get(slug, slug)}", picture, "The redder, the more alike")
        for slug, picture in found.heat_maps.items()
    ]
    return [shot for shot in (*shots, *maps) if shot is not None]


def _shot(
    title: str, picture: Image.Image | None, alt: str, outline: NDArray[np.bool_] | None = None
) -> Shot | None:
    if picture is None:
        return None
    mask = None if outline is None else outline_uri(outline)
    return Shot(title, picture_uri(picture, SIDE), alt, mask)


def _explained(call: Call, found: Tried, job: JobInfo) -> Sequence[Incident]:
    """What is known of each concept that was found; examples come once a picture."""
    if found.report is None:
        caught = caught_by_check(found.checks["given"], job.ended_at or job.asked_at)
    else:
        caught = [
            one for item in caught_by_report(found.report, "this picture") for one in item.caught
        ]
    caught.sort(key=lambda one: one.threshold - one.score)
    try:
        return explain(call.registry.workspace, caught[:CLOSEST], NEAREST)
    except UVRError as error:
        logger.warning("no nearest examples: %s", error)
        return []


def _form(call: Call, asked: Asked) -> dict[str, Any]:
    """What the form offers: releases, live or the newest, and versions by the names of concepts."""
    concepts = [item for item in call.registry.concepts.list() if item.versions]
    return {
        "asked": asked, "releases": releases_to_try(call), "concepts": concepts,
        "models": offered_models(call), "model": model_name(asked.model), "most": MAX_PROMPT,
    }  # fmt: skip


def _earlier(call: Call) -> list[tuple[JobInfo, Asked]]:
    listed = call.registry.jobs.list(limit=LOOKED_AT, results=False)
    found = [item for item in listed if item.kind == KIND][:EARLIER]
    return [(item, asked_of(item)) for item in found]
