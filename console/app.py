"""The application that serves a registry's console."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from console.addresses import CHANGES, HOLDERS, PAGES, Page
from console.endpoints import Endpoints
from console.files import static_routes
from console.guard import Guard, Refusal, refuse
from console.login import Login
from console.logins import Logins
from console.settings import Settings
from registry.registry import Registry


def make_app(registry: Registry, settings: Settings) -> ASGIApp:
    """Make the application that serves a registry.

    Args:
        registry: Opened; every request reads and writes it in transactions of its own.
        settings: How the console is reached; see ``console.settings.check_reach``.
    """
    logins = Logins()
    maker = Endpoints(registry, settings, logins)
    methods: dict[str, dict[str, Page]] = {}
    for verb, pages in (("GET", PAGES), ("POST", CHANGES)):
        for path, page in pages.items():
            methods.setdefault(path, {})[verb] = page
    routes = [
        Route(path, maker.endpoint(pages, HOLDERS.get(path)), methods=[*pages])
        for path, pages in methods.items()
    ]
    if settings.openid is not None:
        routes += Login(registry, settings, settings.openid, logins).routes()
    handlers = {HTTPException: maker.no_page, Refusal: _too_large}
    app = Starlette(routes=[*static_routes(), *routes], exception_handlers=handlers)
    return Guard(app, settings)


async def _too_large(request: Request, refusal: Exception) -> Response:
    """Answer a body that turned out too large while it was read."""
    if not isinstance(refusal, Refusal):
        raise refusal
    return refuse(request.scope, refusal)
