"""A provider of OpenID Connect, small and real, which can be told to misbehave."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import uvicorn
from joserfc import jws
from joserfc.jwk import OctKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT, SECRET = "uvr-console", "s3cret of the console"
USER = {"sub": "248289761001", "email": "bob", "email_verified": True}
Changed = Callable[[dict[str, Any]], object]


def _key(name: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": name, "use": "sig"}, private=True)


KEYS = {name: _key(name) for name in ("first", "second", "foreign")}


class Provider:
    """What a provider knows, and how it is told to misbehave.

    Attributes:
        user: What it says of whoever logs in.
        key: Name of the key that it signs with.
        published: Names of the keys that it publishes.
        claims: Changes the claims of an ID token before it is signed.
        metadata: Changes what it tells of itself.
        back: Changes the query that it sends a browser back with.
        signed: Makes an ID token of claims, where it is not signed as it should be.
        answered: Answers a path instead.
        seen: The paths that were asked for.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.behave()

    def behave(self) -> None:
        """Do as a provider should, whatever it was told before."""
        self.user = dict(USER)
        self.key, self.published = "first", ["first"]
        self.claims: Changed = id
        self.metadata: Changed = id
        self.back: Changed = id
        self.signed: Callable[[dict[str, Any]], str] = self.sign
        self.answered: dict[str, Callable[[], Response]] = {}
        self.seen: list[str] = []
        self.codes: dict[str, dict[str, str]] = {}

    def app(self) -> Starlette:
        paths = {
            "/.well-known/openid-configuration": self._metadata, "/authorize": self._authorize,
            "/token": self._token, "/keys": self._keys,
        }  # fmt: skip
        return Starlette(routes=[
            Route(path, self._answer(path, found), methods=["GET", "POST"])
            for path, found in paths.items()
        ])  # fmt: skip

    def _answer(self, path: str, usual: Callable[..., Any]) -> Callable[..., Any]:
        async def answer(request: Request) -> Response:
            self.seen.append(path)
            if path in self.answered:
                return self.answered[path]()
            form = {name: str(value) for name, value in (await request.form()).items()}
            found: Response = usual(request, form)
            return found

        return answer

    def _metadata(self, request: Request, form: dict[str, str]) -> Response:
        told = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
            "verify": False,  # An option of the HTTP client, which no provider may set.
        }
        self.metadata(told)
        return JSONResponse(told)

    def _keys(self, request: Request, form: dict[str, str]) -> Response:
        found = [KEYS[name].as_dict(private=False) for name in self.published]
        return JSONResponse({"keys": found})

    def _authorize(self, request: Request, form: dict[str, str]) -> Response:
        """Log somebody in without a question, as one who knows the browser does."""
        asked = dict(request.query_params)
        assert (asked["client_id"], asked["response_type"]) == (CLIENT, "code")
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        query = {"code": code, "state": asked["state"], "iss": self.url}
        self.back(query)
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(query)}", 302)

    def _token(self, request: Request, form: dict[str, str]) -> Response:
        given = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        assert given == f"{CLIENT}:{SECRET}"
        asked = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or asked["code_challenge"] != challenge:
            return JSONResponse({"error": "invalid_grant"}, 400)
        assert asked["redirect_uri"] == form["redirect_uri"]
        claims = {
            "iss": self.url, "aud": CLIENT, "exp": int(time.time()) + 300,
            "iat": int(time.time()), "nonce": asked["nonce"], **self.user,
        }  # fmt: skip
        self.claims(claims)
        told = {"access_token": "a", "token_type": "Bearer", "id_token": self.signed(claims)}
        return JSONResponse(told)

    def sign(self, claims: dict[str, Any]) -> str:
        header = {"alg": "RS256", "kid": self.key}
        return jws.serialize_compact(header, json.dumps(claims).encode(), KEYS[self.key])

    def sign_none(self, claims: dict[str, Any]) -> str:
        """As whoever has no key would: the header says that there is no signature."""
        parts = ({"alg": "none"}, claims)
        return ".".join([*(_base64(json.dumps(part).encode()) for part in parts), ""])

    def sign_with_public_key(self, claims: dict[str, Any]) -> str:
        """As whoever has only what is published would: its text as the secret of an HMAC."""
        secret = OctKey.import_key(KEYS[self.key].as_pem(private=False))
        header = {"alg": "HS256", "kid": self.key}
        return jws.serialize_compact(
            header, json.dumps(claims).encode(), secret, algorithms=["HS256"]
        )


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def served(make: Callable[[str], Any]) -> Iterator[Any]:
    """Serve an application on a free port of this machine; ``make`` is told its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        made, app = make(f"http://127.0.0.1:{listening.getsockname()[1]}")
        server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield made
        server.should_exit = True
        thread.join()
