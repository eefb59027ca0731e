"""What waits for review: what differs, and a decision that binds what was shown."""

from __future__ import annotations

from starlette.responses import Response

from concepts.errors import NotFoundError
from concepts.instant import now
from console.call import Call, go_to
from console.pages.concepts import found_words
from console.pages.pictures import pictures_of
from registry.answers import RequestInfo
from registry.registry import Registry


def queue(call: Call) -> Response:
    """List what waits for review, and what was decided last."""
    versions = call.registry.versions
    decided = versions.requests(closed=20)[::-1]
    return call.page("reviews.html", waiting=versions.requests(), decided=decided)


def review(call: Call) -> Response:
    """Show what a version in review changes, and ask for a decision."""
    return _shown(call, unveiled=False)


def unveil(call: Call) -> Response:
    """Show a review with pictures that are blurred until somebody asks for them."""
    return _shown(call, unveiled=True)


def _shown(call: Call, *, unveiled: bool) -> Response:
    slug, number = call.path["slug"], call.path["number"]
    request = _request(call.registry, slug, number)
    detail = call.registry.versions.detail(slug, number)
    diff = None
    if detail.approved is not None:
        diff = call.registry.versions.diff(slug, detail.approved, number)
    evaluation = next((item.digest for item in detail.version.evaluations), "none")

    def approve(registry: Registry) -> object:
        return registry.versions.approve(
            slug, number, actor=call.actor, expect_digest=detail.version.content_digest,
            expect_evaluation=evaluation,
        )  # fmt: skip

    return call.page(
        "review.html", at=now(), request=request, detail=detail, version=detail.version, diff=diff,
        found=found_words(detail.version), evaluation=evaluation, refused=call.refusal(approve),
        pictures=pictures_of(call, detail, detail.approved, unveiled=unveiled),
    )  # fmt: skip


def approve(call: Call) -> Response:
    """Approve what was shown: its content and its newest measurement."""
    form = call.form
    slug, number = call.path["slug"], call.path["number"]
    call.registry.versions.approve(
        slug, number, actor=call.actor, reason=form.text("reason"),
        break_glass=form.flag("break_glass"), expect_digest=form.text("content"),
        expect_evaluation=form.text("evaluation"),
    )  # fmt: skip
    return go_to(f"/concepts/{slug}/{number}", "approved")


def send_back(call: Call) -> Response:
    """Send a version back to its authors, with a reason."""
    slug, number = call.path["slug"], call.path["number"]
    call.registry.versions.reject(
        slug, number, actor=call.actor, reason=call.form.text("reason"),
        expect_digest=call.form.text("content"),
    )  # fmt: skip
    return go_to(f"/concepts/{slug}/{number}", "returned")


def _request(registry: Registry, slug: str, number: int) -> RequestInfo:
    for item in registry.versions.requests():
        if (item.slug, item.version) == (slug, number):
            return item
    state = registry.versions.get(slug, number).state
    raise NotFoundError(
        f"Version {number} of '{slug}' does not wait for review: it is {state.replace('_', ' ')}."
    )
