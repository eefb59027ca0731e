"""Pages as endpoints: who asks, what was sent, and what errors become."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from concepts.errors import InputError, UVRError
from console import session
from console.addresses import Page
from console.call import Call, go_to, status_of
from console.decisions import DecisionLog
from console.form import FieldError, Form, read_form
from console.identity import Identity, LoginNeeded, identify
from console.logins import Logins
from console.refilled import refilled
from console.render import coded
from console.settings import Settings
from registry.jobs import SameJobError
from registry.registry import Registry

logger = logging.getLogger("uvr.console")


class Endpoints:
    """Makes pages into endpoints: who asks, the form, the token, and what errors become."""

    def __init__(self, registry: Registry, settings: Settings, logins: Logins) -> None:
        self._registry = registry
        self._settings = settings
        self._logins = logins
        self._decisions = DecisionLog(settings.decisions)

    def endpoint(
        self, pages: dict[str, Page], holder: Page | None = None
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return the endpoint of an address.

        Args:
            pages: The page for each method.
            holder: The page that the address's form is on: it shows a form that was refused again.
        """

        async def answer(request: Request) -> Response:
            page = pages["POST" if request.method == "POST" else "GET"]
            form: Form | UVRError | None = None
            if request.method == "POST" and not self._is_known(request):
                form = LoginNeeded("You are not logged in.")  # Nothing a stranger sends is read.
            elif request.method == "POST":
                try:
                    form = await read_form(request)
                except InputError as error:
                    form = error
            # The library waits for disks and locks, which must not hold up other requests.
            return await run_in_threadpool(self._answer, request, page, form, holder)

        return answer

    def _is_known(self, request: Request) -> bool:
        """Whether somebody is named by what came before the body."""
        known = session.session_of(request, self._settings)
        return self._settings.openid is None or self._logins.user(known) is not None

    async def no_page(self, request: Request, error: Exception) -> Response:
        """Answer for an address, or a method, that there is not."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        texts = {404: "There is no such page.", 405: "This page cannot be used like that."}

        def told(call: Call) -> Response:
            return _told(call, status, texts.get(status, "That did not work."))

        return await run_in_threadpool(self._answer, request, told, None, None)

    def _answer(
        self, request: Request, page: Page, form: Form | UVRError | None, holder: Page | None
    ) -> Response:
        """Answer with a page.

        Args:
            request: Who asks for what.
            page: Makes the answer.
            form: What was sent, which needs the session's token; why it cannot be read; None for
                nothing.
            holder: The page that the form is on.
        """
        known = session.session_of(request, self._settings)
        name = known or session.new_session()
        try:
            who = identify(request, self._settings, self._registry, self._logins)
        except UVRError as error:
            call = Call(self._registry, self._settings, self._decisions, Identity("nobody", ()), "")
            needed = isinstance(error, LoginNeeded)
            return _to_login(call, request, error) if needed else _failed(call, error)
        call = Call(
            self._registry, self._settings, self._decisions, who,
            session.form_token(self._settings, name, who.actor), request.path_params,
            request.query_params, form if isinstance(form, Form) else Form(),
            request.headers.get("hx-request") == "true", request.url.path,
        )  # fmt: skip
        answer = self._checked(call, page, form, known, holder)
        if known is None:
            session.keep(answer, self._settings, name)
        return answer

    def _checked(
        self, call: Call, page: Page, form: Form | UVRError | None, known: str | None,
        holder: Page | None,
    ) -> Response:  # fmt: skip
        """Answer with a page once its form has the token of the session, None for a new one."""
        try:
            if isinstance(form, UVRError):
                raise form
            if form is not None:
                token = form.text(session.FIELD)
                session.require_token(self._settings, known, call.actor, token)
            return page(call) if form is None else _done(call, page, holder)
        except UVRError as error:
            return _failed(call, error)
        except Exception:
            logger.exception("the page failed")
            return _told(call, 500, "Something went wrong in the console, and its log says what.")


def _done(call: Call, page: Page, holder: Page | None) -> Response:
    """Answer a form that was sent; one that is refused keeps what was filled in."""
    try:
        return page(call)
    except SameJobError as error:
        # A worker will do what was asked for, though it was asked for before.
        return go_to(f"/jobs/{error.job}", "same")
    except UVRError as error:
        status = status_of(error)
        if holder is None or status == 500:
            raise
        try:
            shown = holder(replace(call, form=Form()))
        except UVRError:  # It is of something that is gone.
            raise error from None
        name = error.field if isinstance(error, FieldError) else ""
        page_text = bytes(shown.body).decode()
        return HTMLResponse(
            refilled(page_text, call.address, call.form, coded(str(error)), name), status
        )


def _to_login(call: Call, request: Request, error: UVRError) -> Response:
    """Send somebody who opens a page to the login; tell whoever sent a form that it did nothing."""
    if request.method == "POST":
        return call.page("refused.html", 401, why=f"Nothing was changed. {error}", back="/login")
    if "hx-request" in request.headers:  # The page that it is a part of is opened anew.
        return Response(status_code=401, headers={"hx-refresh": "true"})
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/login?{urlencode({'to': asked})}", 303)


def _failed(call: Call, error: UVRError) -> Response:
    status = status_of(error)
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
