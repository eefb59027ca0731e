"""How a console is reached, and by whom."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from concepts.errors import InputError, PolicyError
from registry.registry import Registry

PORT = 8642
NO_ACTORS = (
    "{who} names people, but this registry has no actors, so that each of them could do "
    "everything. Name the first admin: `uvr-registry actor set NAME --role admin`."
)


@dataclass(frozen=True)
class OpenID:
    """A provider of OpenID Connect, which logs people in.

    Attributes:
        issuer: Its address, as it names itself to the letter.
        client: The identifier that it gave to this console.
        secret: The secret that it gave along; "" for none, which PKCE makes up for.
        claim: What it says of people that is an actor's name here, such as "email" or "sub".

    Raises:
        InputError: The issuer is no address of HTTPS, or something is left out.
    """

    issuer: str
    client: str
    secret: str = field(default="", repr=False)
    claim: str = "email"

    def __post_init__(self) -> None:
        if not (self.issuer and self.client and self.claim):
            raise InputError(
                "A provider that logs people in and the identifier that it gave to this console "
                "belong together: give --oidc-issuer and --oidc-client, or neither."
            )
        if not is_trusted(self.issuer):
            raise InputError(
                f"The issuer '{self.issuer}' is no address such as https://id.example."
            )


@dataclass(frozen=True)
class Settings:
    """How a console is reached, and by whom.

    Attributes:
        actor: Who acts in a registry without actors.
        address: IP address that it listens on.
        port: Port that it listens on.
        proxies: IP addresses of the proxies that browsers come through, and that speak HTTPS with
            them; none where they come from this machine alone.
        user_header: Name of the header in which those proxies name the user; "" where they do not.
        openid: Who logs people in where no proxy does; None for nobody.
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
    openid: OpenID | None = None
    decisions: Path | None = None
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def __post_init__(self) -> None:
        for address in (self.address, *self.proxies):
            _address(address)
        if self.user_header and (self.openid is not None or not self.proxies):
            raise InputError(
                "--user-header is of a proxy that logs people in: it goes with --proxy, and not "
                "with --oidc-issuer."
            )
        if self.proxies and not self.user_header and self.openid is None:
            raise InputError(
                "A proxy must name people in a header, --user-header, or a provider of OpenID "
                "Connect log them in, --oidc-issuer."
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

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach it by HTTPS, which its proxies speak."""
        return bool(self.proxies)

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
        PolicyError: The registry is a team's and nothing names the users; or it has no actors, and
            other machines would reach it or something names people; or names and pages would
            travel in the clear.
    """
    actors, named_by = registry.team.list(), names_people(settings)
    if named_by and not actors:
        raise PolicyError(NO_ACTORS.format(who=named_by))
    if actors and not named_by:
        raise PolicyError(
            "This registry has actors, so the console must be told who is asking: put a proxy that "
            "logs people in before it, and give --proxy ADDRESS --user-header NAME, or name a "
            "provider of OpenID Connect: --oidc-issuer ADDRESS --oidc-client NAME."
        )
    if settings.is_local or settings.proxies:
        return
    if actors:
        raise PolicyError(
            f"Browsers would reach {settings.address} in the clear. Listen on 127.0.0.1, and put a "
            "proxy that speaks HTTPS before it: --proxy ADDRESS --host-name NAME."
        )
    raise PolicyError(
        f"Anyone who reaches {settings.address} could decide as '{settings.actor}'. Listen on "
        "127.0.0.1, or name people by a proxy: --proxy ADDRESS --user-header NAME."
    )


def names_people(settings: Settings) -> str:
    """Return what names people, for sentences; "" where nothing does."""
    if settings.openid is not None:
        return "A provider of OpenID Connect"
    return "A proxy" if settings.user_header else ""


def is_trusted(address: str) -> bool:
    """Whether what an address answers cannot be another's: by HTTPS, or on this machine."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or parts.username is not None or parts.query or parts.fragment:
        return False
    own = host == "localhost" or is_loopback(host)
    return parts.scheme == "https" or (parts.scheme == "http" and own)


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
