"""The provider of OpenID Connect as the console speaks with it.

The flow is Authlib's: authorization code, PKCE, nonce, the ID token's signature and claims. Here is
what Authlib leaves to its user, or takes from the provider's own word: which metadata counts, which
signatures, the audience, and how much and how long a provider may answer.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import StarletteIntegration, StarletteOAuth2App
from joserfc.errors import JoseError
from starlette.requests import Request
from starlette.responses import Response

from concepts.errors import PolicyError, UVRError
from console.settings import OpenID, is_trusted
from registry.team import MAX_NAME

DISCOVERY = "/.well-known/openid-configuration"
FRESH_S = 600.0
"""Seconds for which the provider's metadata and keys are used before they are read again."""
DEADLINE_S = 20.0
"""Seconds that all the provider's answers to one request of a browser may take."""
MOST_AT_ONCE = 16
"""Logins that wait for it at one time: the server answers few requests, and most are not these."""
MAX_BYTES = 1 << 20
"""Bytes of one answer at most; keys and tokens take some kilobytes."""
LEEWAY_S = 60
"""Seconds by which the provider's clock may differ from this machine's."""
SIGNATURES = frozenset(
    {"ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"}
)
"""Of a token: those made with a private key; never "none", nor a secret that others may have."""
_TELLS_ISSUER = "authorization_response_iss_parameter_supported"
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class ProviderError(Exception):
    """Why a provider is not believed, in words of ours."""


# An answer made to do harm may bring about more than the libraries' own errors.
_FOREIGN = (
    AuthlibBaseError, JoseError, httpx2.HTTPError, httpx2.InvalidURL, ArithmeticError,
    AttributeError, LookupError, ProviderError, RecursionError, RuntimeError, TypeError, ValueError,
)  # fmt: skip


class Provider:
    """Logs people in at a provider."""

    def __init__(self, openid: OpenID) -> None:
        self._openid = openid
        self._client = _Client(openid)
        self._waiting = 0

    async def begin(self, request: Request, back: str) -> Response:
        """Send a browser to the provider.

        Args:
            request: Its session takes what ``user`` compares the answer with.
            back: The address that the provider sends it back to.

        Raises:
            UVRError: The provider does not answer as one.
        """
        try:
            async with self._asking():
                answer: Response = await self._client.authorize_redirect(request, back)
        except (*_FOREIGN, TimeoutError) as error:
            raise UVRError(
                f"The provider that logs people in, {self._openid.issuer}, does not answer as it "
                f"should: {_reason(error)}. Try again; if it stays so, tell who runs this console."
            ) from error
        return answer

    async def user(self, request: Request) -> str:
        """Return whom the provider sent back.

        Args:
            request: The one that the provider sent the browser back with, and with the session that
                it was sent off with.

        Raises:
            PolicyError: It names nobody, or what it says does not hold.
        """
        try:
            async with self._asking():
                claims = await self._client.claims(request)
        except (*_FOREIGN, TimeoutError) as error:
            raise PolicyError(
                f"You were not logged in: {_reason(error)}. Nothing was changed."
            ) from error
        return _actor_named(claims, self._openid.claim)

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        """Wait for the provider, but not for ever, nor with very many others: anybody may ask."""
        if self._waiting >= MOST_AT_ONCE:
            raise ProviderError("too many people log in at this moment")
        self._waiting += 1
        try:
            async with asyncio.timeout(DEADLINE_S):
                yield
        finally:
            self._waiting -= 1


class _Client(StarletteOAuth2App):  # type: ignore[misc]  # it has no types
    """Authlib's client of one provider, which believes no more of it than it must."""

    def __init__(self, openid: OpenID) -> None:
        super().__init__(
            StarletteIntegration("uvr"),
            name="uvr",
            client_id=openid.client,
            client_secret=openid.secret or None,
            server_metadata_url=openid.issuer.rstrip("/") + DISCOVERY,
            client_kwargs={
                "scope": "openid email profile",
                "code_challenge_method": "S256",
                "timeout": DEADLINE_S,
                "follow_redirects": False,
                # A hook holds behind a company's proxy too, where another transport answers.
                "event_hooks": {"response": [_limit]},
                "headers": {"accept-encoding": "identity"},
            },
        )
        self._openid = openid
        self._stale_at = 0.0

    async def load_server_metadata(self) -> dict[str, Any]:
        """Return the provider's metadata, as far as it is used."""
        if time.monotonic() >= self._stale_at:
            async with self._get_session() as client:
                answer = await client.request("GET", self._server_metadata_url, withhold_token=True)
                answer.raise_for_status()
            self.server_metadata = _checked_metadata(answer.json(), self._openid)
            self._stale_at = time.monotonic() + FRESH_S
        metadata: dict[str, Any] = self.server_metadata
        return metadata

    async def claims(self, request: Request) -> Mapping[str, Any]:
        """Return what the provider says of whom it sent back."""
        metadata = await self.load_server_metadata()
        told = request.query_params.getlist("iss")  # RFC 9207
        if told != [self._openid.issuer] and (told or metadata[_TELLS_ISSUER]):
            raise ProviderError("the answer does not say that it is of the provider that was asked")
        token = await self.authorize_access_token(
            request,
            leeway=LEEWAY_S,
            claims_options={
                "iss": {"essential": True, "value": self._openid.issuer},
                "aud": {"essential": True, "value": self._openid.client},
            },
        )
        # Without an ID token Authlib hands on what else the answer has, of a "userinfo" too.
        if not isinstance(token, dict) or not {"id_token", "userinfo"} <= token.keys():
            raise ProviderError("the provider named nobody")
        found: Mapping[str, Any] = token["userinfo"]
        return found


async def _limit(answer: httpx2.Response) -> None:
    """Refuse an answer that is packed, and stop reading one after ``MAX_BYTES``."""
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise ProviderError("the provider's answer is packed, which was not asked for")
    answer.stream = _LimitedStream(cast(httpx2.AsyncByteStream, answer.stream))


class _LimitedStream(httpx2.AsyncByteStream):
    """The bytes of an answer, up to a number of them."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        async for part in self._stream:
            seen += len(part)
            if seen > MAX_BYTES:
                raise ProviderError(f"the provider's answer has more than {MAX_BYTES:,} bytes")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


def _checked_metadata(told: Any, openid: OpenID) -> dict[str, Any]:
    """Return what is used of a provider's metadata: Authlib would take options of its own from it.

    Raises:
        ProviderError: It is not this provider's, or names addresses that others can answer for.
    """
    if not isinstance(told, dict) or told.get("issuer") != openid.issuer:
        raise ProviderError(f"the provider's metadata is not of the issuer {openid.issuer}")
    believed: dict[str, Any] = {"issuer": openid.issuer}
    for name in _ENDPOINTS:
        address = told.get(name)
        if not isinstance(address, str) or not is_trusted(address.partition("?")[0]):
            raise ProviderError(f"the provider's {name} is no address of HTTPS")
        believed[name] = address
    believed[_TELLS_ISSUER] = told.get(_TELLS_ISSUER) is True
    offered = told.get("id_token_signing_alg_values_supported", ["RS256"])
    signatures = sorted(SIGNATURES.intersection(offered))
    if not signatures:
        raise ProviderError("the provider signs in no way that is believed here")
    believed["id_token_signing_alg_values_supported"] = signatures
    ways = told.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    if openid.secret and "client_secret_basic" not in ways:
        believed["token_endpoint_auth_method"] = "client_secret_post"
    return believed


def _actor_named(claims: Mapping[str, Any], claim: str) -> str:
    """Return the claim that names an actor."""
    name = claims.get(claim)
    if not isinstance(name, str) or not name.strip():
        raise PolicyError(
            f"The provider does not say your '{claim}', by which this console knows people. Tell "
            "who runs it: --oidc-claim names what it says."
        )
    if len(name) > MAX_NAME:  # No actor's; it would fill the page and the log.
        raise PolicyError(f"The provider's '{claim}' has more than {MAX_NAME} characters.")
    if claim == "email" and claims.get("email_verified") is not True:
        raise PolicyError(
            f"The provider does not say that '{name}' is verified, so it may be anybody's. Verify "
            "it there, or tell who runs this console: --oidc-claim names another."
        )
    return name


def _reason(error: BaseException) -> str:
    """Return what went wrong in one line, without what the provider wrote: anybody can send that.

    A code as OAuth and JOSE define them is told as it is.
    """
    if isinstance(error, TimeoutError):
        return f"the provider took more than {DEADLINE_S:.0f} seconds"
    code = getattr(error, "error", None)
    if isinstance(code, str) and re.fullmatch(r"[a-z_]{1,40}", code):
        return f"the provider's answer is '{code}'"
    if type(error) is ProviderError:
        return str(error)
    return f"the provider's answer cannot be read ({type(error).__name__})"
