"""The addresses of the console, and the page that answers each."""

from __future__ import annotations

from collections.abc import Callable

from starlette.responses import Response

from console.call import Call
from console.pages import (
    audit,
    concepts,
    incidents,
    jobs,
    live,
    releases,
    reviews,
    strictness,
    trying,
    wizard,
)

Page = Callable[[Call], Response]
PAGES: dict[str, Page] = {
    "/": live.live,
    "/concepts": concepts.concepts,
    "/concepts/{slug}": concepts.newest,
    "/concepts/{slug}/words": concepts.words,
    "/concepts/{slug}/{number:int}": concepts.version,
    "/concepts/{slug}/{number:int}/strictness": strictness.strictness,
    "/concepts/{slug}/{number:int}/against/{before:int}": concepts.compare,
    "/reviews": reviews.queue,
    "/reviews/{slug}/{number:int}": reviews.review,
    "/releases": releases.releases,
    "/releases/{bundle}": releases.newest,
    "/releases/{bundle}/{sequence:int}": releases.release,
    "/new-release": wizard.begin,
    "/jobs": jobs.jobs,
    "/try": trying.begin,
    "/try/{job:int}": trying.tried,
    "/incident": incidents.begin,
    "/audit": audit.trail,
    "/audit/verify": audit.verify,
    "/audit/export": audit.export,
}
"""What is asked for with GET, and changes nothing."""

CHANGES: dict[str, Page] = {
    "/concepts/{slug}/look-alikes": concepts.add_look_alike,
    "/concepts/{slug}/{number:int}/submit": concepts.submit,
    "/concepts/{slug}/{number:int}/deprecate": concepts.deprecate,
    "/concepts/{slug}/{number:int}/revoke": concepts.revoke,
    "/concepts/{slug}/{number:int}/pictures": concepts.unveil,
    "/concepts/{slug}/{number:int}/strictness": strictness.save,
    "/concepts/{slug}/{number:int}/strictness/pictures": strictness.unveil,
    "/reviews/{slug}/{number:int}/pictures": reviews.unveil,
    "/reviews/{slug}/{number:int}/approve": reviews.approve,
    "/reviews/{slug}/{number:int}/send-back": reviews.send_back,
    "/releases/{bundle}/{sequence:int}/move": releases.move,
    "/new-release": wizard.go_on,
    "/jobs/{job:int}/cancel": jobs.cancel,
    "/try": trying.ask,
    "/try/{job:int}/pictures": trying.unveil,
    "/concepts/{slug}/collect": jobs.collect,
    "/concepts/{slug}/{number:int}/draw": jobs.draw,
    "/concepts/{slug}/{number:int}/measure": jobs.measure,
    "/incident": incidents.explain_it,
    "/audit/compare": audit.compare,
}
"""What is asked for with POST, and needs the session's token."""
