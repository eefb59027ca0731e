"""The addresses of the console, and the page that answers each."""

from __future__ import annotations

from collections.abc import Callable

from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.responses import Response

from console.call import Call
from console.pages import (
    audit,
    concepts,
    exemplar,
    exemplars,
    incidents,
    jobs,
    live,
    releases,
    reviews,
    rollback,
    strictness,
    trying,
    wizard,
)


class Number(IntegerConvertor):
    """A whole number of at most nine digits, so that any of them can be read and looked up."""

    regex = "[0-9]{1,9}"


register_url_convertor("number", Number())
Page = Callable[[Call], Response]
PAGES: dict[str, Page] = {
    "/": live.live,
    "/concepts": concepts.concepts,
    "/concepts/{slug}": concepts.newest,
    "/concepts/{slug}/words": concepts.words,
    "/concepts/{slug}/exemplars": exemplars.exemplars,
    "/concepts/{slug}/exemplars/{picture:number}": exemplar.exemplar,
    "/concepts/{slug}/{number:number}": concepts.version,
    "/concepts/{slug}/{number:number}/strictness": strictness.strictness,
    "/concepts/{slug}/{number:number}/against/{before:number}": concepts.compare,
    "/reviews": reviews.queue,
    "/reviews/{slug}/{number:number}": reviews.review,
    "/releases": releases.releases,
    "/releases/{bundle}": releases.newest,
    "/releases/{bundle}/{sequence:number}": releases.release,
    "/releases/{bundle}/{sequence:number}/rollback": rollback.begin,
    "/new-release": wizard.begin,
    "/jobs": jobs.jobs,
    "/jobs/{job:number}": jobs.job,
    "/jobs/{job:number}/report": jobs.report,
    "/try": trying.begin,
    "/try/{job:number}": trying.tried,
    "/incident": incidents.begin,
    "/audit": audit.trail,
    "/audit/verify": audit.verify,
    "/audit/export": audit.export,
}
"""What is asked for with GET, and changes nothing."""

CHANGES: dict[str, Page] = {
    "/concepts/{slug}/exemplars": exemplars.keep,
    "/concepts/{slug}/exemplars/pictures": exemplars.unveil,
    "/concepts/{slug}/exemplars/collect": exemplars.collect,
    "/concepts/{slug}/exemplars/score": exemplars.score,
    "/concepts/{slug}/exemplars/{picture:number}/pictures": exemplar.unveil,
    "/concepts/{slug}/exemplars/{picture:number}/mask": exemplar.set_mask,
    "/concepts/{slug}/exemplars/{picture:number}/exclude": exemplar.exclude,
    "/concepts/{slug}/exemplars/{picture:number}/include": exemplar.include,
    "/concepts/{slug}/exemplars/{picture:number}/forget": exemplar.forget,
    "/concepts/{slug}/look-alikes": concepts.add_look_alike,
    "/concepts/{slug}/{number:number}/submit": concepts.submit,
    "/concepts/{slug}/{number:number}/deprecate": concepts.deprecate,
    "/concepts/{slug}/{number:number}/revoke": concepts.revoke,
    "/concepts/{slug}/{number:number}/pictures": concepts.unveil,
    "/concepts/{slug}/{number:number}/strictness": strictness.save,
    "/concepts/{slug}/{number:number}/strictness/pictures": strictness.unveil,
    "/reviews/{slug}/{number:number}/pictures": reviews.unveil,
    "/reviews/{slug}/{number:number}/approve": reviews.approve,
    "/reviews/{slug}/{number:number}/send-back": reviews.send_back,
    "/releases/{bundle}/{sequence:number}/move": releases.move,
    "/releases/{bundle}/{sequence:number}/rollback": rollback.go_on,
    "/new-release": wizard.go_on,
    "/jobs/{job:number}/cancel": jobs.cancel,
    "/try": trying.ask,
    "/try/{job:number}/pictures": trying.unveil,
    "/concepts/{slug}/collect": jobs.collect,
    "/concepts/{slug}/{number:number}/draw": jobs.draw,
    "/concepts/{slug}/{number:number}/measure": jobs.measure,
    "/incident": incidents.explain_it,
    "/audit/compare": audit.compare,
}
"""What is asked for with POST, and needs the session's token."""

HOLDERS: dict[str, Page] = {
    "/concepts/{slug}/look-alikes": concepts.words,
    "/concepts/{slug}/{number:number}/submit": concepts.version,
    "/concepts/{slug}/{number:number}/deprecate": concepts.version,
    "/concepts/{slug}/{number:number}/revoke": concepts.version,
    "/concepts/{slug}/{number:number}/strictness": strictness.strictness,
    "/reviews/{slug}/{number:number}/approve": reviews.review,
    "/reviews/{slug}/{number:number}/send-back": reviews.review,
    "/releases/{bundle}/{sequence:number}/move": releases.release,
    "/jobs/{job:number}/cancel": jobs.job,
    "/try": trying.begin,
    "/concepts/{slug}/collect": concepts.words,
    "/concepts/{slug}/{number:number}/draw": concepts.version,
    "/concepts/{slug}/{number:number}/measure": concepts.version,
    "/incident": incidents.begin,
    "/audit/compare": audit.trail,
    "/concepts/{slug}/exemplars": exemplars.exemplars,
    "/concepts/{slug}/exemplars/collect": exemplars.exemplars,
    "/concepts/{slug}/exemplars/score": exemplars.exemplars,
    "/concepts/{slug}/exemplars/{picture:number}/mask": exemplar.exemplar,
    "/concepts/{slug}/exemplars/{picture:number}/exclude": exemplar.exemplar,
    "/concepts/{slug}/exemplars/{picture:number}/include": exemplar.exemplar,
    "/concepts/{slug}/exemplars/{picture:number}/forget": exemplar.exemplar,
}
"""The page that a form is on, which shows it again as it was filled in if it is refused."""
