"""Who a request is by: the system's user of a registry of one, or whom something names.

That is a listed proxy, in a header, or a provider of OpenID Connect, once somebody has logged in.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from concepts.errors import PolicyError
from console.logins import Logins
from console.session import session_of
from console.settings import NO_ACTORS, Settings, names_people
from registry.registry import Registry
from registry.team import ActorInfo


class LoginNeeded(PolicyError):  # noqa: N818 (what it asks for is its name)
    """Nobody is logged in."""


@dataclass(frozen=True)
class Identity:
    """Who acts; ``roles`` is None in a registry without actors, where everyone has all."""

    actor: str
    roles: tuple[str, ...] | None = None


def identify(request: Request, settings: Settings, registry: Registry, logins: Logins) -> Identity:
    """Return who a request is by.

    The guard has let only this machine, or the listed proxies, get here.

    Raises:
        LoginNeeded: A provider logs people in, and nobody is.
        PolicyError: Nobody is named, or no active actor; or people are named in a registry
            without actors, where each of them would have every role.
    """
    actors = {item.name: item for item in registry.team.list()}
    if not actors and (named_by := names_people(settings)):
        raise PolicyError(NO_ACTORS.format(who=named_by))
    named = _named(request, settings, logins)
    if not actors:
        return Identity(settings.actor)
    if named is None:
        raise PolicyError(
            "This registry has actors by now, and nothing tells the console who you are. Start it "
            "behind a proxy that logs people in, or with a provider of OpenID Connect."
        )
    return _actor(actors.get(named), named)


def require_actor(registry: Registry, name: str) -> Identity:
    """Return who somebody is here; PolicyError if they are no active actor."""
    return _actor({item.name: item for item in registry.team.list()}.get(name), name)


def _actor(actor: ActorInfo | None, name: str) -> Identity:
    if actor is None or not actor.active:
        why = "is not an actor of this registry" if actor is None else "is no longer active"
        raise PolicyError(f"'{name}' {why}. An admin can change that: `uvr-registry actor set`.")
    return Identity(actor.name, actor.roles)


def _named(request: Request, settings: Settings, logins: Logins) -> str | None:
    """Return the user whom the proxy names, or who logged in; None where nothing names people."""
    if settings.openid is not None:
        user = logins.user(session_of(request, settings))
        if user is None:
            raise LoginNeeded("You are not logged in, or no longer: log in, and try again.")
        return user
    if not settings.user_header:
        return None
    wanted = settings.user_header.lower().encode("latin-1")
    values = [value for name, value in request.headers.raw if name == wanted]
    # One that the proxy adds to a visitor's own would let the visitor choose.
    if len(values) != 1:
        raise PolicyError(
            f"The proxy must name the user in exactly one header '{settings.user_header}', and set "
            f"it anew: {len(values)} came."
        )
    try:
        name = values[0].decode("utf-8")
    except UnicodeDecodeError as error:
        raise PolicyError("The user's name in the proxy's header is not UTF-8.") from error
    if not name.strip():
        raise PolicyError(f"The proxy's header '{settings.user_header}' is empty: log in first.")
    return name
