"""What is refused before anything is read: other hosts, other sites' requests, large bodies.

The host is checked so that no name which an attacker points to this machine is served (DNS
rebinding), the origin so that no other site's page changes anything. Both come before the session's
token, which ``console.session`` checks.
"""

from __future__ import annotations

import logging

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.settings import Settings

MAX_BODY = 24 << 20
"""Bytes of a request; pictures are the largest."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # With "no-referrer" browsers would hide a form's origin, which is checked.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
logger = logging.getLogger("uvr.console")


class Refusal(Exception):  # noqa: N818 (it ends a request, and is no error of the program)
    """Why a request is not answered."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


def refuse(scope: Scope, refusal: Refusal) -> Response:
    """Answer a request that is refused, in a line: no page is rendered for a stranger."""
    peer = (scope.get("client") or ("?", 0))[0]
    logger.warning("refused %r %r from %s: %s", scope["method"], scope["path"], peer, refusal.why)
    return PlainTextResponse(f"{refusal.why}\n", refusal.status)


class Guard:
    """An ASGI application around another one, which sees only what may pass."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # There are no websockets here.
            await send({"type": "websocket.close", "code": 1008})
            return
        send = _with_headers(send)
        try:
            self._check(scope)
            await self._app(scope, _limited(receive), send)
        except Refusal as refusal:
            await refuse(scope, refusal)(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        self._check_peer(scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._settings.hosts:
            named = ", ".join(sorted(self._settings.hosts))
            raise Refusal(421, f"This console answers to {named}, and to no other host.")
        if scope["method"] not in ("GET", "HEAD", "POST"):
            raise Refusal(405, "Only GET, HEAD and POST are answered.")
        if scope["method"] == "POST":
            _check_origin(headers)
        else:
            _check_site(headers)
        _check_length(headers)

    def _check_peer(self, scope: Scope) -> None:
        peer = (scope.get("client") or ("", 0))[0]
        if not self._settings.answers(peer):
            way = "through its proxy" if self._settings.proxies else "from its own machine"
            raise Refusal(403, f"This console is reached {way} alone.")


def _check_origin(headers: Headers) -> None:
    origins, site = headers.getlist("origin"), headers.get("sec-fetch-site", "same-origin")
    allowed = {f"{scheme}://{headers['host'].lower()}" for scheme in ("http", "https")}
    if len(origins) != 1 or origins[0].lower() not in allowed or site != "same-origin":
        raise Refusal(403, "A change must be asked for from a page of this console.")


def _check_site(headers: Headers) -> None:
    """Refuse what another site's page loads; a link on it, which a person follows, is answered."""
    site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode")
    followed = (mode, headers.get("sec-fetch-dest")) == ("navigate", "document")
    if site not in ("same-origin", "none") and not followed:
        raise Refusal(403, "This console answers no other site's page.")


def _check_length(headers: Headers) -> None:
    told = headers.get("content-length", "0")
    if not (told.isascii() and told.isdigit()) or int(told[:12]) > MAX_BODY or len(told) > 12:
        raise Refusal(413, f"A request has at most {MAX_BODY >> 20} MiB.")


def _limited(receive: Receive) -> Receive:
    """Return a receiver that gives up once a body is too large, whatever its length was told."""
    seen = 0

    async def receive_some() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MAX_BODY:
            raise Refusal(413, f"A request has at most {MAX_BODY >> 20} MiB.")
        return message

    return receive_some


def _with_headers(send: Send) -> Send:
    async def send_with(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return send_with
