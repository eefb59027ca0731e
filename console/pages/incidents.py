"""A picture in question: what found it, who stands behind that, and what can be done."""

from __future__ import annotations

import io
import json

from starlette.responses import Response

from concepts.errors import InputError, MismatchError, UVRError
from concepts.instant import now
from console.call import Call
from console.evidence.caught import (
    CaughtIn,
    caught_by_decisions,
    caught_by_report,
    caught_in_pictures,
)
from registry.operations import explain
from uvr.anchors.pictures import decode_picture
from uvr.decisions.decision import pixels_digest
from uvr.report import RegulationReport

NEAREST = 3


def begin(call: Call) -> Response:
    """Ask for a report, a request or a picture."""
    return call.page("incident.html", told=None, has_log=call.decisions.path is not None)


def explain_it(call: Call) -> Response:
    """Say why a picture was caught."""
    workspace = call.registry.workspace
    try:
        found = _asked(call)
        told = [(item, explain(workspace, item.caught, NEAREST)) for item in found]
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
        has_log=call.decisions.path is not None,
    )  # fmt: skip


def _asked(call: Call) -> list[CaughtIn]:
    """Return what was found in the pictures that a form names in one of its three ways."""
    form = call.form
    report, request = form.text("report"), form.text("request")
    given = [name for name in ("report", "request") if form.text(name)]
    if len(given) + (form.file is not None) != 1:
        raise InputError("Give one of three: a report's text, the name of a request, or a file.")
    if request:
        return caught_by_decisions(call.decisions.read().of_request(request), "this request")
    if report:
        return caught_by_report(_report(report.encode()), "this report")
    data = form.file or b""
    if data.lstrip()[:1] == b"{":
        return caught_by_report(_report(data), "this report")
    image = decode_picture(io.BytesIO(data), "The file")
    decisions = call.decisions.read().of_picture(pixels_digest(image))
    return caught_in_pictures(decisions, "this picture")


def _report(data: bytes) -> RegulationReport:
    return RegulationReport.from_dict(json.loads(data))
