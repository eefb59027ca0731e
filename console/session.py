"""The session of one browser, and the token that each of its forms carries.

A session's cookie is a random name and holds nothing; a form's token is a keyed digest of that
name and of who acts. Another site can make a browser send the cookie, but cannot know the token;
and a cookie that was planted fits no token of another actor.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from concepts.errors import PolicyError
from console.settings import Settings

_NAME = re.compile(r"[A-Za-z0-9_-]{43}")
FIELD = "token"


def cookie_name(settings: Settings) -> str:
    """Return the name of the cookie; behind a proxy, which has HTTPS, browsers bind it to it."""
    # Browsers keep one cookie of a name for all ports of this machine.
    return "__Host-uvr" if settings.is_secure else f"uvr-{settings.port}"


def session_of(request: Request, settings: Settings) -> str | None:
    """Return the session that a request is of; None for none."""
    name = request.cookies.get(cookie_name(settings), "")
    return name if _NAME.fullmatch(name) else None


def new_session() -> str:
    """Return a session that nobody can guess."""
    return secrets.token_urlsafe(32)


def keep(response: Response, settings: Settings, session: str) -> None:
    """Give a session to the browser, until it is closed."""
    # Who comes back from a provider is sent on to a page, which must know the session.
    samesite: Literal["lax", "strict"] = "strict" if settings.openid is None else "lax"
    response.set_cookie(
        cookie_name(settings), session, path="/", httponly=True, samesite=samesite,
        secure=settings.is_secure,
    )  # fmt: skip


def form_token(settings: Settings, session: str, actor: str) -> str:
    """Return the token of a session's forms."""
    text = f"{session}\n{actor}".encode()
    return hmac.new(settings.secret, text, hashlib.sha256).hexdigest()


def require_token(settings: Settings, session: str | None, actor: str, token: str) -> None:
    """Refuse a form that is not of this session and actor; PolicyError."""
    expected = form_token(settings, session or "", actor)
    if session is None or not hmac.compare_digest(expected.encode(), token.encode()):
        raise PolicyError(
            "This form is not from a page that you opened just now: the console was started anew, "
            "or somebody else made it. Nothing was changed. Open the page again."
        )
