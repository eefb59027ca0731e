"""The few files that pages load: named one by one, so that no address becomes a path."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FILES = {
    "pages.css": ("uvr.pages", "templates/style.css", "text/css"),
    "sheets.css": ("uvr.pages", "templates/sheets.css", "text/css"),
    "console.css": ("console", "static/console.css", "text/css"),
    "exemplars.js": ("console", "static/exemplars.js", "text/javascript"),
    "strictness.js": ("console", "static/strictness.js", "text/javascript"),
    "htmx.js": ("console", "static/htmx.min.js", "text/javascript"),
}
YEAR = 365 * 86400


@cache
def content(name: str) -> bytes:
    """Return the bytes of a file."""
    package, path, _ = FILES[name]
    return files(package).joinpath(path).read_bytes()


@cache
def address(name: str) -> str:
    """Return a file's address, which changes with its bytes so that browsers may keep it."""
    return f"/static/{name}?{hashlib.sha256(content(name)).hexdigest()[:12]}"


def static_routes() -> list[Route]:
    """Return a route for each file."""
    return [Route(f"/static/{name}", _endpoint(name)) for name in FILES]


def _endpoint(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_request: Request) -> Response:
        kept = {"cache-control": f"public, max-age={YEAR}, immutable"}
        return Response(content(name), media_type=FILES[name][2], headers=kept)

    return answer
