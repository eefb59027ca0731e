"""Who a request is by: the system's user of a registry of one, or whom a listed proxy names."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from concepts.errors import PolicyError
from console.settings import NO_ACTORS, Settings
from registry.registry import Registry


@dataclass(frozen=True)
class Identity:
    """Who acts; ``roles`` is None in a registry without actors, where everyone has all."""

    actor: str
    roles: tuple[str, ...] | None = None


def identify(request: Request, settings: Settings, registry: Registry) -> Identity:
    """Return who a request is by.

    The guard has let only this machine, or the listed proxies, get here.

    Raises:
        PolicyError: Nobody is named, or no active actor; or a proxy names people in a registry
            without actors, where each of them would have every role.
    """
    actors = {item.name: item for item in registry.team.list()}
    named = _named(request, settings)
    if not actors:
        if named is not None:
            raise PolicyError(NO_ACTORS)
        return Identity(settings.actor)
    if named is None:
        raise PolicyError(
            "This registry has actors by now, and nothing tells the console who you are. Start it "
            "behind a proxy that logs people in: --proxy ADDRESS --user-header NAME."
        )
    actor = actors.get(named)
    if actor is None or not actor.active:
        why = "is not an actor of this registry" if actor is None else "is no longer active"
        raise PolicyError(f"'{named}' {why}. An admin can change that: `uvr-registry actor set`.")
    return Identity(actor.name, actor.roles)


def _named(request: Request, settings: Settings) -> str | None:
    """Return the user whom the proxy names; None where there is no proxy."""
    if not settings.proxies:
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
