"""Logging in and out at a provider of OpenID Connect.

A browser is sent to the provider and comes back with a code, which the console exchanges for a
signed token (``console.provider``). What the answer is compared with lies meanwhile in a signed
cookie of that browser alone.
"""

from __future__ import annotations

import hashlib
import logging
import re
from typing import Any, Literal
from urllib.parse import parse_qs, quote, urlsplit

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from concepts.errors import PolicyError, UVRError
from concepts.printable import printable
from console import session
from console.form import read_form
from console.identity import require_actor
from console.logins import Logins
from console.provider import Provider
from console.render import render
from console.settings import OpenID, Settings
from registry.registry import Registry

PLACE, BACK, LEAVE = "/login", "/login/callback", "/logout"
PENDING_S = 600
"""Seconds that somebody may take at the provider."""
MOST_PENDING = 4096
"""Characters of all that a browser keeps of logins it began: proxies take some 8000 of cookies."""
_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]{0,1000}")
logger = logging.getLogger("uvr.console")


class Login:
    """The addresses at which people log in and out.

    Args:
        registry: Whose actors log in.
        settings: How the console is reached.
        openid: The provider.
        logins: Where it is kept who is logged in.
    """

    def __init__(
        self, registry: Registry, settings: Settings, openid: OpenID, logins: Logins
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._logins = logins
        self._provider = Provider(openid)
        self._pending = URLSafeTimedSerializer(settings.secret, salt="login")

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(PLACE, self._begin),
            Route(BACK, self._finish),
            Route(LEAVE, self._leave, methods=["POST"]),
        ]

    async def _begin(self, request: Request) -> Response:
        """Send a browser to the provider."""
        flow: dict[str, Any] = {}
        request.scope["session"] = flow  # Authlib writes there what it compares the answer with.
        scheme = "https" if self._settings.is_secure else "http"
        try:
            # The guard has let only hosts get here that the settings name.
            back = f"{scheme}://{request.headers['host'].lower()}{BACK}"
            answer = await self._provider.begin(request, back)
        except UVRError as error:
            return self._refused(request, error, 502)
        # The last one, as the provider's own address may have parameters.
        state = parse_qs(urlsplit(answer.headers["location"]).query)["state"][-1]
        for known in flow.values():  # Where it was sent to is long, and compared with nothing.
            del known["data"]["url"]
        to = _own_path(request.query_params.get("to", "/"))
        pending = self._pending.dumps({"to": to, "flow": flow})
        self._keep(answer, self._cookie(state), pending, PENDING_S)
        for name in self._crowded(request, len(pending)):
            self._keep(answer, name, "", 0)
        return answer

    async def _finish(self, request: Request) -> Response:
        """Log in whom the provider sent back."""
        cookie = self._cookie(request.query_params.get("state", ""))
        try:
            pending = self._pending_of(request.cookies.get(cookie, ""))
            request.scope["session"] = pending["flow"]
            user = await self._provider.user(request)
            await run_in_threadpool(require_actor, self._registry, user)
        except PolicyError as error:
            answer = self._refused(request, error, 403)
        else:
            logger.info("%r logged in", user)
            answer = RedirectResponse(pending["to"], 303)
            session.keep(answer, self._settings, self._logins.begin(user))
        self._keep(answer, cookie, "", 0)  # What was compared counts once.
        return answer

    async def _leave(self, request: Request) -> Response:
        """Log out whoever asks, from a page of theirs."""
        known = session.session_of(request, self._settings)
        user = self._logins.user(known)
        if user is None:  # Nothing that a stranger sends is read.
            return self._page("left.html", 200)
        try:
            form = await read_form(request)
            token = form.text(session.FIELD)
            session.require_token(self._settings, known, user, token)
        except UVRError as error:
            return self._refused(request, error, 403)
        self._logins.end(known)
        logger.info("%r logged out", user)
        answer = self._page("left.html", 200)
        answer.delete_cookie(session.cookie_name(self._settings), path="/",
                             secure=self._settings.is_secure)  # fmt: skip
        return answer

    def _cookie(self, state: str) -> str:
        """Return the name of the cookie of one login: several tabs may each begin one."""
        own = hashlib.sha256(state.encode()).hexdigest()[:16]
        return f"{session.cookie_name(self._settings)}-login-{own}"

    def _crowded(self, request: Request, more: int) -> list[str]:
        """Return the names of cookies that leave no room for one more, those begun first.

        Whoever restores many tabs begins as many logins, and would be refused for their length.
        """
        prefix = f"{session.cookie_name(self._settings)}-login-"
        found = {name: value for name, value in request.cookies.items() if name.startswith(prefix)}
        size, names = more + sum(len(name) + len(found[name]) for name in found), []
        # Browsers send those of one second in the order in which they were set.
        for name in sorted(found, key=lambda name: self._begun(found[name])):
            if size > MOST_PENDING:
                size -= len(name) + len(found[name])
                names.append(name)
        return names

    def _begun(self, cookie: str) -> float:
        """Return when a login was begun; 0 for one that is not of this console."""
        try:
            _, at = self._pending.loads(cookie, return_timestamp=True)
        except BadSignature:
            return 0.0
        return float(at.timestamp())

    def _pending_of(self, cookie: str) -> dict[str, Any]:
        """Return what a browser was sent off with."""
        try:
            found: dict[str, Any] = self._pending.loads(cookie, max_age=PENDING_S)
        except BadSignature as error:  # A cookie that is too old raises a kind of it.
            raise PolicyError(
                "You were not logged in: this browser did not begin to log in here, or more than "
                f"{PENDING_S // 60} minutes ago. Begin anew."
            ) from error
        return found

    def _keep(self, answer: Response, cookie: str, value: str, lasts: int) -> None:
        """Keep what a browser is sent off with in a cookie; no time at all takes it away."""
        samesite: Literal["lax"] = "lax"  # It must come along when the provider sends it back.
        answer.set_cookie(
            cookie, value, max_age=lasts, path="/", httponly=True, samesite=samesite,
            secure=self._settings.is_secure,
        )  # fmt: skip

    def _refused(self, request: Request, error: UVRError, status: int) -> Response:
        # Whoever logs in chose parts of it: a name may hold the end of a line.
        logger.warning("refused a login at %r: %s", request.url.path, printable(str(error)))
        return self._page("refused.html", status, why=str(error), back=PLACE)

    def _page(self, template: str, status: int, **values: Any) -> Response:
        """Answer somebody who is not logged in."""
        page = render(
            template, actor="nobody", roles=(), token="", notice="", login=False, **values
        )
        return Response(page, status, media_type="text/html")


def _own_path(path: str) -> str:
    """Return a path of this console, quoted; the first page for one that leads elsewhere."""
    found = quote(path, safe="/?&=%@:+,;~!$'()*-._")
    own = _PATH.fullmatch(found) and not found.startswith((PLACE, LEAVE))
    return found if own else "/"
