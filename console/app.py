"""The application: addresses, what each is answered by, and what errors become."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from concepts.errors import InputError, UVRError
from console import session
from console.call import Call
from console.decisions import DecisionLog
from console.files import static_routes
from console.form import Form, read_form
from console.guard import Guard, Refusal, refuse
from console.identity import Identity, identify
from console.pages import audit, concepts, incidents, live, releases, reviews, strictness, wizard
from console.settings import Settings
from registry.registry import Registry

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
    "/incident": incidents.begin,
    "/audit": audit.trail,
    "/audit/verify": audit.verify,
    "/audit/export": audit.export,
}
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
    "/incident": incidents.explain_it,
    "/audit/compare": audit.compare,
}
STATUSES = {2: 422, 3: 404, 4: 409, 5: 403, 8: 503, 9: 409}
"""What an error's exit code is to a browser; of any other, the console's own side is at fault."""
logger = logging.getLogger("uvr.console")


def make_app(registry: Registry, settings: Settings) -> ASGIApp:
    """Make the application that serves a registry.

    Args:
        registry: Opened; every request reads and writes it in transactions of its own.
        settings: How the console is reached; see ``console.settings.check_reach``.
    """
    maker = _Endpoints(registry, settings)
    methods: dict[str, dict[str, Page]] = {}
    for verb, pages in (("GET", PAGES), ("POST", CHANGES)):
        for path, page in pages.items():
            methods.setdefault(path, {})[verb] = page
    routes = [
        Route(path, maker.endpoint(pages), methods=[*pages]) for path, pages in methods.items()
    ]
    handlers = {HTTPException: maker.no_page, Refusal: _too_large}
    app = Starlette(routes=[*static_routes(), *routes], exception_handlers=handlers)
    return Guard(app, settings)


async def _too_large(request: Request, refusal: Exception) -> Response:
    """Answer a body that turned out too large while it was read."""
    if not isinstance(refusal, Refusal):
        raise refusal
    return refuse(request.scope, refusal)


class _Endpoints:
    """Makes pages into endpoints: who asks, the form, the token, and what errors become."""

    def __init__(self, registry: Registry, settings: Settings) -> None:
        self._registry = registry
        self._settings = settings
        self._decisions = DecisionLog(settings.decisions)

    def endpoint(self, pages: dict[str, Page]) -> Callable[[Request], Awaitable[Response]]:
        """Return the endpoint of an address, which has a page for each method."""

        async def answer(request: Request) -> Response:
            page = pages["POST" if request.method == "POST" else "GET"]
            form: Form | UVRError = Form()
            if request.method == "POST":
                try:
                    form = await read_form(request)
                except InputError as error:
                    form = error
            # The library waits for disks and locks, which must not hold up other requests.
            return await run_in_threadpool(self._answer, request, page, form)

        return answer

    async def no_page(self, request: Request, error: Exception) -> Response:
        """Answer for an address, or a method, that there is not."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        texts = {404: "There is no such page.", 405: "This page cannot be used like that."}

        def refuse(call: Call) -> Response:
            return _told(call, status, texts.get(status, "That did not work."))

        return await run_in_threadpool(self._answer, request, refuse, Form(), checked=False)

    def _answer(
        self, request: Request, page: Page, form: Form | UVRError, *, checked: bool = True
    ) -> Response:
        known = session.session_of(request, self._settings)
        name = known or session.new_session()
        try:
            who = identify(request, self._settings, self._registry)
        except UVRError as error:
            call = Call(self._registry, self._settings, self._decisions, Identity("nobody", ()), "")
            return _failed(call, error)
        call = Call(
            self._registry, self._settings, self._decisions, who,
            session.form_token(self._settings, name, who.actor), request.path_params,
            request.query_params, form if isinstance(form, Form) else Form(),
            request.headers.get("hx-request") == "true",
        )  # fmt: skip
        answer = self._checked(call, page, form, known, request.method if checked else "GET")
        if known is None:
            session.keep(answer, self._settings, name)
        return answer

    def _checked(
        self, call: Call, page: Page, form: Form | UVRError, known: str | None, method: str
    ) -> Response:
        try:
            if isinstance(form, UVRError):
                raise form
            if method == "POST":
                token = form.text(session.FIELD)
                session.require_token(self._settings, known, call.actor, token)
            return page(call)
        except UVRError as error:
            return _failed(call, error)
        except Exception:
            logger.exception("the page failed")
            return _told(call, 500, "Something went wrong in the console, and its log says what.")


def _failed(call: Call, error: UVRError) -> Response:
    status = STATUSES.get(error.exit_code, 500)
    if status == 500:
        logger.error("%s", error)
    return _told(call, status, str(error))


def _told(call: Call, status: int, why: str) -> Response:
    """Answer with a page that says why, and leads on to the page that it happened on."""
    back = "/"
    if "slug" in call.path:
        back = f"/concepts/{call.path['slug']}"
    elif "bundle" in call.path:
        back = "/releases"
    return call.page("refused.html", status, why=why, back=back)
