"""How a console is reached, and by whom."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from concepts.errors import InputError, PolicyError
from registry.registry import Registry

PORT = 8642
NO_ACTORS = (
    "A proxy names people, but this registry has no actors, so that each of them could do "
    "everything. Name the first admin: `uvr-registry actor set NAME --role admin`."
)


@dataclass(frozen=True)
class Settings:
    """How a console is reached, and by whom.

    Attributes:
        actor: Who acts in a registry without actors.
        address: IP address that it listens on.
        port: Port that it listens on.
        proxies: IP addresses of the proxies whose header names the user; none for nobody.
        user_header: Name of that header.
        host_names: Names, with their port where it is not the scheme's own, by which browsers reach
            it beside those of the address that it listens on.
        decisions: A log of an engine's verdicts, or a folder of such logs; None for none.
        secret: Key of the tokens in its forms; a new one for each start.
    """

    actor: str
    address: str = "127.0.0.1"
    port: int = PORT
    proxies: tuple[str, ...] = ()
    user_header: str = ""
    host_names: tuple[str, ...] = ()
    decisions: Path | None = None
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def __post_init__(self) -> None:
        for address in (self.address, *self.proxies):
            _address(address)
        if bool(self.proxies) != bool(self.user_header):
            raise InputError(
                "A proxy and the header in which it names the user belong together: give --proxy "
                "and --user-header, or neither."
            )

    @property
    def hosts(self) -> frozenset[str]:
        """What a request may give as its host."""
        names = {self.address, "127.0.0.1", "localhost", "::1"} if self.is_local else {self.address}
        shown = {f"[{name}]" if ":" in name else name for name in names}
        ports = {f"{name}:{self.port}" for name in shown}
        return frozenset(name.lower() for name in {*ports, *self.host_names})

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return is_loopback(self.address)

    def answers(self, peer: str) -> bool:
        """Whether a request from an IP address is answered."""
        return peer in self.proxies if self.proxies else is_loopback(peer)

    @property
    def url(self) -> str:
        """Where it is."""
        name = f"[{self.address}]" if ":" in self.address else self.address
        return f"http://{name}:{self.port}"


def check_reach(settings: Settings, registry: Registry) -> None:
    """Refuse a console in which nobody, or anybody, would act.

    Raises:
        PolicyError: The registry is a team's and no proxy names the users; or it has no actors, and
            other machines would reach it or a proxy names people.
    """
    actors = registry.team.list()
    if settings.proxies:
        if not actors:
            raise PolicyError(NO_ACTORS)
        return
    if actors:
        raise PolicyError(
            "This registry has actors, so the console must be told who is asking: put a proxy that "
            "logs people in before it, and give --proxy ADDRESS --user-header NAME."
        )
    if not settings.is_local:
        raise PolicyError(
            f"Anyone who reaches {settings.address} could decide as '{settings.actor}'. Listen on "
            "127.0.0.1, or name people by a proxy: --proxy ADDRESS --user-header NAME."
        )


def is_loopback(address: str) -> bool:
    """Whether an IP address is this machine's own."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)


def _address(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError as error:
        raise InputError(f"'{text}' is not an IP address, such as 127.0.0.1.") from error
