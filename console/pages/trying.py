"""A prompt that somebody tries: asked for here, drawn by a worker, shown once it is there."""

from __future__ import annotations

import io
import logging
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from starlette.responses import RedirectResponse, Response

from concepts.errors import InputError, NotFoundError, UVRError
from console.call import Call
from console.evidence.caught import caught_by_report
from console.evidence.sheet import VEILED
from console.evidence.tried import Tried, keep_given, read_tried
from console.pages.incidents import DECODING
from console.pages.jobs import MODELS, OPEN, model_place
from registry.jobs import JobInfo
from registry.operations import NearExample, explain
from registry.store.home import TRIED
from uvr.anchors.pictures import decode_picture
from uvr.pages.picture import outline_uri, picture_uri

KIND = "try"
MAX_PROMPT = 2000
SIDE = 768
"""Pixels on the longer side of a picture on the page."""
NEAREST, CLOSEST, EARLIER = 3, 20, 20
"""Examples of each concept, concepts, and tries before this one that are shown at most."""
LOOKED_AT = 500
"""Jobs of any kind among which earlier tries are looked for."""
_VERSION = re.compile(r"([a-z0-9][a-z0-9-]*)(?:@([1-9][0-9]{0,8}))?")
_RELEASE = re.compile(r"([^@]+)@([1-9][0-9]{0,8})")
logger = logging.getLogger("uvr.console")


@dataclass(frozen=True)
class Asked:
    """What was asked for, as the form has it."""

    prompt: str = ""
    release: str = ""
    version: str = ""
    model: str = "testbed"
    seed: str = "0"


@dataclass(frozen=True)
class Shot:
    """One picture: its title, its data, what it is in words, and outlines laid over it."""

    title: str
    uri: str
    alt: str
    outline: str | None = None


def begin(call: Call) -> Response:
    """Ask for a prompt."""
    asked = Asked(release=call.query.get("release", ""), version=call.query.get("version", ""))
    return call.page("try.html", **_form(call, asked), earlier=_earlier(call))


def ask(call: Call) -> Response:
    """Ask a worker to draw a prompt, regulated and not."""
    form, jobs = call.form, call.registry.jobs
    seed = int(form.number("seed", 0, 2**53))
    words = [_subject(call), f"--model={model_place(form.text('model'))}", f"--seed={seed}"]
    prompt = ["--", _prompt(form.text("prompt"))]
    if form.file is not None:
        with DECODING:
            given = decode_picture(io.BytesIO(form.file), "The picture")
        # Whoever may not ask leaves no picture behind.
        call.registry.rehearsal().jobs.add(KIND, [*words, *prompt], actor=call.actor)
        words.append(f"--picture={keep_given(call.registry.home, given)}")
    job = jobs.add(KIND, [*words, *prompt], actor=call.actor)
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
        raise NotFoundError(f"Job {job.id} tried no prompt. The page of jobs tells what it did.")
    found = _read(call, job)
    veiled = found is not None and _is_veiled(call, found)
    if veiled and unveiled:
        logger.info("%r looked at pictures of job %d", call.actor, job.id)
    return call.page(
        "tried.html", job=job, open=job.state in OPEN, tried=found,
        veiled=veiled and not unveiled,
        shots=[] if found is None or (veiled and not unveiled) else shots_of(found),
        findings=[] if found is None else found.findings[:CLOSEST],
        nearest={} if found is None else _nearest(call, found), **_form(call, asked_of(job)),
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


def shots_of(found: Tried) -> list[Shot]:
    """The pictures side by side, and then the heat maps."""
    outline = None if found.outline is None else outline_uri(found.outline)
    names = {item.slug: item.name for item in found.findings}
    prompt = found.about.prompt
    shots = [
        _shot("The picture that was given", found.given, "Before the edit"),
        _shot("Not regulated", found.stock, f"Not regulated: {prompt}", outline),
        _shot("Regulated", found.regulated, f"Regulated: {prompt}", outline),
    ]
    maps = [
        _shot(f"Where it looks like {names.get(slug, slug)}", picture, "The redder, the more alike")
        for slug, picture in found.heat_maps.items()
    ]
    return [shot for shot in (*shots, *maps) if shot is not None]


def _shot(
    title: str, picture: Image.Image | None, alt: str, outline: str | None = None
) -> Shot | None:
    return None if picture is None else Shot(title, picture_uri(picture, SIDE), alt, outline)


def _nearest(call: Call, found: Tried) -> dict[str, Sequence[NearExample]]:
    """Pictures of examples nearest to what was found, each once, by concept."""
    caught = caught_by_report(found.report, "this picture")
    try:
        told = explain(call.registry.workspace, caught[0].caught if caught else (), NEAREST)
    except UVRError as error:
        logger.warning("no nearest examples: %s", error)
        return {}
    return {
        item.caught.slug: list({one.picture: one for one in item.nearest}.values()) for item in told
    }


def asked_of(job: JobInfo) -> Asked:
    """Return what a job was asked for; one that the command line asked for has other forms."""
    words = job.arguments
    if "--" not in words:
        return Asked(prompt=" ".join(words))
    place = words.index("--")
    given = dict(word[2:].partition("=")[::2] for word in words[:place])
    names = ("release", "version", "model", "seed")
    return Asked(" ".join(words[place + 1 :]), **{n: given[n] for n in names if n in given})


def _form(call: Call, asked: Asked) -> dict[str, Any]:
    """What the form offers: releases that are live, and versions by the names of concepts."""
    live: dict[str, list[str]] = {}
    for channel in call.registry.channels.list():
        live.setdefault(f"{channel.bundle}@{channel.sequence}", []).append(channel.name)
    concepts = [item for item in call.registry.concepts.list() if item.versions]
    return {
        "asked": asked, "live": live, "concepts": concepts, "models": MODELS, "most": MAX_PROMPT,
    }  # fmt: skip


def _earlier(call: Call) -> list[tuple[JobInfo, Asked]]:
    listed = call.registry.jobs.list(limit=LOOKED_AT, results=False)
    found = [item for item in listed if item.kind == KIND][:EARLIER]
    return [(item, asked_of(item)) for item in found]


def _subject(call: Call) -> str:
    """Return the option that names what is tried, which must be there."""
    version, release = call.form.text("version"), call.form.text("release")
    if version:
        if not (named := _VERSION.fullmatch(version)):
            raise InputError(f"'{version[:40]}' is neither a concept's name nor NAME@NUMBER.")
        number = int(named[2]) if named[2] else None
        found = call.registry.versions.get(named[1], number)
        return f"--version={found.slug}@{found.number}"
    if not (named := _RELEASE.fullmatch(release)):
        raise InputError("Choose a release, or name a version.")
    known = call.registry.releases.get(named[1], int(named[2]))
    return f"--release={known.bundle}@{known.sequence}"


def _prompt(text: str) -> str:
    """Return a prompt on one line.

    Raises:
        InputError: There is none, or it is too long, or holds what no text does.
    """
    prompt = " ".join(text.split())
    if not prompt or len(prompt) > MAX_PROMPT:
        raise InputError(f"Say what to draw, in at most {MAX_PROMPT:,} characters.")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in prompt):
        raise InputError("The prompt holds control characters, which no model reads.")
    return prompt
