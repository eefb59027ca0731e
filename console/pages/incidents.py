"""A picture in question: what found it, who stands behind that, and what can be done."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from itertools import islice
from typing import Any

from starlette.responses import RedirectResponse, Response

from concepts.errors import InputError, MismatchError, NotFoundError, UVRError
from concepts.instant import now
from console.call import Call
from console.decisions import NO_LOG
from console.evidence.caught import (
    SHARED,
    CaughtIn,
    caught_by_decisions,
    caught_by_report,
    caught_in_pictures,
)
from console.pages.asking import DECODING, KIND, Asked, ask_to_draw, checkable, why_unchecked
from registry.operations import explain
from uvr.anchors.pictures import decode_picture
from uvr.decisions.decision import pixels_digest
from uvr.report import RegulationReport

NEAREST = 3
MOST = 50
"""Pictures, and findings in them, that one page explains: each costs a search."""
OFFERED = "Choose under which release a worker checks it."


def begin(call: Call) -> Response:
    """Ask for a report, a request or a picture."""
    return call.page("incident.html", told=None, **_form(call))


def explain_it(call: Call) -> Response:
    """Say why a picture was caught."""
    workspace = call.registry.workspace
    try:
        found = _asked(call)
        if found is None:
            return _checked_by_worker(call)
        _check_count(found)
        caught = iter(explain(workspace, (one for item in found for one in item.caught), NEAREST))
        told = [(item, list(islice(caught, len(item.caught)))) for item in found]
    except MismatchError as error:
        raise InputError(f"The report's features are of another model. {error}") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, UVRError):
            raise
        raise InputError(
            "That is no report. Paste the whole file that `uvr-registry generate --report`, or an "
            "engine, wrote."
        ) from error
    names = {item.slug: item.name for item in call.registry.concepts.list()}
    return call.page(
        "incident.html", told=told, names=names, at=now(), counted=call.decisions.counted(),
        **_form(call),
    )  # fmt: skip


def _form(call: Call) -> dict[str, Any]:
    """What the form offers: a log to look in, and releases that whoever asks may check by."""
    unchecked = _unchecked(call)
    return {
        "has_log": call.decisions.path is not None,
        "checkable": {} if unchecked else checkable(call),
        "unchecked": unchecked,
    }


def _unchecked(call: Call) -> str:
    """Say why whoever asks cannot have a picture checked; "" where they can."""
    may_not = call.refusal(lambda registry: registry.jobs.add(KIND, (), actor=call.actor))
    if may_not:
        return f"You cannot have a picture checked: {may_not}"
    return why_unchecked(call)


def _checked_by_worker(call: Call) -> Response:
    """Ask a worker to check a picture that no log tells of."""
    release, _, model = call.form.text("check").rpartition("/")
    job = ask_to_draw(call, Asked(release=release, model=model), call.form.file)
    return RedirectResponse(f"/try/{job.id}", 303)


def _asked(call: Call) -> list[CaughtIn] | None:
    """Return what was found in the pictures that a form names in one of its three ways.

    None is a picture that no log tells of, and that is to be checked.
    """
    form = call.form
    report, request = form.text("report"), form.text("request")
    given = [name for name in ("report", "request") if form.text(name)]
    if len(given) + (form.file is not None) != 1:
        raise InputError("Give one of three: a report's text, the name of a request, or a file.")
    if request:
        named = (item for item in call.decisions.read() if item.request == request)
        return caught_by_decisions(islice(named, MOST + 1), "this request")
    if report:
        return caught_by_report(_report(report.encode()), "this report")
    data = form.file or b""
    if data.lstrip()[:1] == b"{":
        return caught_by_report(_report(data), "this report")
    wanted = bool(form.text("check"))
    if call.decisions.path is None:
        if wanted:
            return None
        raise InputError(f"{NO_LOG} {_unchecked(call) or OFFERED}")
    log = call.decisions.read()
    with DECODING:
        pixels = pixels_digest(decode_picture(io.BytesIO(data), "The file"))
    decisions = log.of_picture(pixels, SHARED + 1)
    if not decisions and wanted:
        return None
    if not decisions:
        raise NotFoundError(f"The log tells of no such picture. {_unchecked(call) or OFFERED}")
    return caught_in_pictures(decisions, "this picture")


def _check_count(found: Sequence[CaughtIn]) -> None:
    """Refuse more than a page can tell."""
    count = sum(len(item.caught) for item in found)
    if max(count, len(found)) > MOST:
        raise InputError(
            f"More than {MOST} pictures, or findings in them: too many for a page. `uvr-registry "
            "incident` on the command line explains as many as there are."
        )


def _report(data: bytes) -> RegulationReport:
    return RegulationReport.from_dict(json.loads(data))
