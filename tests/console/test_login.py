"""Logging in at a provider of OpenID Connect: a real one, on this machine, and one that cheats."""

from __future__ import annotations

import asyncio
import gzip
import logging
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from starlette.responses import (
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.testclient import TestClient

import console.login
import console.logins
import console.provider
from concepts.errors import InputError, PolicyError
from console.app import make_app
from console.settings import OpenID, Settings, check_reach
from registry.registry import Registry
from tests.console.conftest import digest_of, text_of
from tests.console.provider import CLIENT, SECRET, USER, Provider, served

URL = "http://127.0.0.1:8642"


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    def make(url: str) -> Any:
        provider = Provider(url)
        return provider, provider.app()

    with served(make) as provider:
        yield provider


@pytest.fixture
def provider(running) -> Provider:
    """A provider that does as it should."""
    running.behave()
    return running


class Browser:
    """A browser on this machine, which follows to the provider and back."""

    def __init__(self, registry: Registry, provider: Provider, **changes: Any) -> None:
        openid = OpenID(provider.url, CLIENT, SECRET, changes.pop("claim", "email"))
        self.settings = Settings(**{"actor": "x", "openid": openid, **changes})
        secure = self.settings.is_secure
        self.client = TestClient(
            make_app(registry, self.settings),
            base_url="https://policy.example.org" if secure else URL,
            client=("10.0.0.7" if secure else "127.0.0.1", 50000),
            follow_redirects=False,
        )

    def leave(self, path: str = "/reviews") -> str:
        """Ask for a page; return the address at which the provider sends the browser back."""
        to_login = self.client.get(path)
        assert to_login.status_code == 303, to_login.text
        away = self.client.get(to_login.headers["location"])
        assert away.status_code == 302, away.text
        return httpx2.get(away.headers["location"]).headers["location"]

    def come_back(self, address: str) -> Any:
        parts = urlsplit(address)
        assert parts.path == "/login/callback"
        return self.client.get(f"{parts.path}?{parts.query}")

    def log_in(self, path: str = "/reviews") -> Any:
        return self.come_back(self.leave(path))

    def token(self) -> str:
        page = self.client.get("/audit").text
        return page.partition('name="token" value="')[2].partition('"')[0]

    def post(self, path: str, **fields: str) -> Any:
        sent = {"origin": str(self.client.base_url).rstrip("/")}
        return self.client.post(path, data={"token": self.token(), **fields}, headers=sent)


@pytest.fixture
def browser(team, provider) -> Browser:
    return Browser(team, provider)


def test_who_logs_in_acts_by_their_own_roles(team, browser):
    found = browser.log_in("/reviews/pistol/2?from=mail")
    assert (found.status_code, found.headers["location"]) == (303, "/reviews/pistol/2?from=mail")
    assert "bob · reviewer" in text_of(browser.client.get("/reviews/pistol/2").text)
    fields = {"content": digest_of(team, "pistol", 2), "evaluation": "none", "reason": "fine"}
    assert browser.post("/reviews/pistol/2/approve", **fields).status_code == 303
    event = team.audit.events()[-1]
    assert (event.action, event.actor) == ("version.approve", "bob")
    assert browser.post("/releases/policy/1/move", channel="prod", reason="x").status_code == 403


def test_behind_a_proxy_the_session_is_bound_to_https(team, provider):
    behind = {"proxies": ("10.0.0.7",), "host_names": ("policy.example.org",)}
    browser = Browser(team, provider, **behind)
    back = browser.leave()
    assert back.startswith("https://policy.example.org/login/callback?code=")
    cookies = browser.come_back(back).headers.get_list("set-cookie")
    (session,) = [cookie for cookie in cookies if cookie.startswith("__Host-uvr=")]
    assert session.endswith("; HttpOnly; Path=/; SameSite=lax; Secure")
    assert any("__Host-uvr-login-" in cookie and "Max-Age=0" in cookie for cookie in cookies)


def test_whoever_is_not_logged_in_sees_and_changes_nothing(team, browser):
    before = len(team.audit.events())
    for path in ("/", "/audit/export", "/nix", "/concepts/pistol/2"):
        found = browser.client.get(path)
        assert (found.status_code, found.text) == (303, "")
    part = browser.client.get("/audit", headers={"hx-request": "true"})
    assert (part.status_code, part.text, part.headers["hx-refresh"]) == (401, "", "true")
    sent = browser.client.post("/reviews/pistol/2/approve", headers={"origin": URL},
                               data={"content": digest_of(team, "pistol", 2)})  # fmt: skip
    assert sent.status_code == 401
    assert "Nothing was changed. You are not logged in" in text_of(sent.text)
    for forged in ("x" * 43, "../..", '"'):
        browser.client.cookies.set("uvr-8642", forged)
        assert browser.client.get("/").status_code == 303
    assert len(team.audit.events()) == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"nonce": "another"}, "invalid_claim"),
        ({"nonce": None}, "missing_claim"),
        ({"iss": "https://evil.example"}, "invalid_claim"),
        ({"aud": "another client"}, "invalid_claim"),
        ({"aud": [CLIENT, "another"]}, "missing_claim"),
        ({"aud": [CLIENT, "another"], "azp": "another"}, "invalid_claim"),
        ({"exp": 1}, "expired_token"),
        ({"exp": None}, "missing_claim"),
        ({"iat": 4_000_000_000}, "invalid_claim"),
        ({"sub": None}, "missing_claim"),
        ({"email": None}, "does not say your 'email'"),
        ({"email": ["bob"]}, "does not say your 'email'"),
        ({"email": " "}, "does not say your 'email'"),
        ({"email_verified": False}, "that 'bob' is verified"),
        ({"email_verified": "true"}, "that 'bob' is verified"),
        ({"email_verified": None}, "that 'bob' is verified"),
        ({"email": "eve"}, "'eve' is not an actor of this registry"),
        ({"email": "Bob"}, "'Bob' is not an actor of this registry"),
        ({"email": "<b>bob</b>"}, "'<b>bob</b>' is not an actor of this registry"),
    ],
    ids=str,
)
def test_what_a_token_says_must_hold(browser, provider, change, says):
    def claims(told: dict[str, Any]) -> None:
        told.update(change)
        for name in [name for name, value in told.items() if value is None]:
            del told[name]

    provider.claims = claims
    found = browser.log_in()
    assert (found.status_code, says in text_of(found.text)) == (403, True), text_of(found.text)
    assert browser.client.get("/").status_code == 303


@pytest.mark.parametrize("cheat", ["sign_none", "sign_with_public_key"])
def test_a_token_without_the_providers_own_signature_is_refused(browser, provider, cheat):
    provider.signed = getattr(provider, cheat)
    assert "You were not logged in" in browser.log_in().text
    assert browser.client.get("/").status_code == 303


def test_keys_are_those_that_the_provider_publishes_now(team, browser, provider):
    assert browser.log_in().status_code == 303
    provider.key, provider.published = "second", ["first", "second"]
    browser.client.cookies.clear()
    assert browser.log_in().status_code == 303
    browser.client.cookies.clear()
    provider.key = "foreign"
    assert "You were not logged in" in browser.log_in().text


@pytest.mark.parametrize(
    "change",
    [
        {"state": "another"}, {"state": None}, {"code": "another"}, {"code": None},
        {"iss": "https://evil.example"}, {"error": "access_denied"},
        {"error": "<script>", "error_description": "call 555 to log in"},
    ],
    ids=str,
)  # fmt: skip
def test_what_comes_back_must_be_what_was_asked_for(browser, provider, change):
    def back(query: dict[str, Any]) -> None:
        query.update(change)
        for name in [name for name, value in query.items() if value is None]:
            del query[name]

    provider.back = back
    found = browser.log_in()
    assert (found.status_code, "You were not logged in" in found.text) == (403, True)
    assert "555" not in found.text
    assert browser.client.get("/").status_code == 303


def test_an_answer_counts_once_and_for_one_browser(team, browser, provider):
    back = browser.leave()
    other = Browser(team, provider)
    assert "this browser did not begin" in text_of(other.come_back(back).text)
    other.leave()
    assert other.come_back(back).status_code == 403
    assert browser.come_back(back).status_code == 303
    again = browser.come_back(back)
    assert "this browser did not begin" in text_of(again.text)


def test_two_tabs_may_log_in_at_once(browser):
    first, second = browser.leave("/reviews"), browser.leave("/audit")
    assert browser.come_back(first).headers["location"] == "/reviews"
    assert browser.come_back(second).headers["location"] == "/audit"


def test_many_tabs_leave_the_browser_cookies_that_servers_take(browser):
    first = browser.leave("/reviews?" + "x" * 900)
    for count in range(12):
        last = browser.leave(f"/audit?{count}{secrets.token_urlsafe(500)}")
        browser.client.cookies.set("uvr-8642-login-planted", "x" * 3000)
    kept = [f"{cookie.name}={cookie.value}" for cookie in browser.client.cookies.jar]
    assert sum(map(len, kept)) < 8000
    assert "this browser did not begin" in text_of(browser.come_back(first).text)
    assert browser.come_back(last).headers["location"].startswith("/audit?11")


def test_whatever_a_name_holds_is_one_short_line_of_the_log(browser, provider, caplog):
    provider.user["email"] = "eve\n2026-11-24 uvr.console 'ann' logged in\x1b[2J"
    assert browser.log_in().status_code == 403
    provider.user["email"] = "e" * 100_000
    found = browser.log_in()
    assert (found.status_code, len(found.text) < 5000) == (403, True)
    lines = [record.getMessage() for record in caplog.records if record.name == "uvr.console"]
    assert len(lines) == 2
    assert all(line.isprintable() and len(line) < 300 for line in lines)


@pytest.mark.parametrize("path", ["/reviews/pistol/2/approve", "/concepts/pistol/exemplars",
                                  "/logout", "/nix"])  # fmt: skip
def test_nothing_that_a_stranger_sends_is_read(team, provider, path):
    app, answered = make_app(team, Browser(team, provider).settings), []
    headers = {"host": "127.0.0.1:8642", "origin": URL, "content-length": "20000000",
               "content-type": "multipart/form-data; boundary=x"}  # fmt: skip
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(),
        "query_string": b"", "client": ("127.0.0.1", 5), "http_version": "1.1", "scheme": "http",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        raise AssertionError("a part of the body was asked for")

    async def send(message: dict[str, Any]) -> None:
        answered.append(message)

    asyncio.run(app(scope, receive, send))
    assert answered[0]["status"] in (200, 401)


def test_a_provider_that_says_who_answers_must_say_it(browser, provider):
    promised = {"authorization_response_iss_parameter_supported": True}
    provider.metadata = lambda told: told.update(promised)
    assert browser.log_in().status_code == 303
    browser.client.cookies.clear()
    provider.back = lambda query: query.pop("iss")
    assert "does not say that it is of the provider" in text_of(browser.log_in().text)


def test_a_login_that_takes_too_long_is_begun_anew(browser, monkeypatch):
    back = browser.leave()
    monkeypatch.setattr(console.login, "PENDING_S", -1)
    assert "this browser did not begin" in text_of(browser.come_back(back).text)


def test_a_session_is_new_after_the_login(browser):
    browser.client.cookies.set("uvr-8642", "f" * 43)  # planted before
    browser.log_in()
    cookies = browser.client.cookies.jar
    (kept,) = {cookie.value for cookie in cookies if cookie.value != "f" * 43 and cookie.value}
    browser.client.cookies.clear()
    browser.client.cookies.set("uvr-8642", "f" * 43)
    assert browser.client.get("/").status_code == 303
    browser.client.cookies.set("uvr-8642", kept)
    assert browser.client.get("/").status_code == 200


@pytest.mark.parametrize(
    ("to", "leads_to"),
    [
        ("//evil.example", "/"), ("/\\evil.example", "/%5Cevil.example"),
        ("https://evil.example", "/"), ("javascript:alert(1)", "/"), ("", "/"),
        ("/login?to=/", "/"), ("/logout", "/"),
        ("/a\r\nset-cookie: x=1", "/a%0D%0Aset-cookie:%20x=1"),
        ("/%0d%0aset-cookie: x=1", "/%0d%0aset-cookie:%20x=1"),
    ],
)  # fmt: skip
def test_a_login_leads_to_pages_of_the_console_alone(browser, to, leads_to):
    away = browser.client.get("/login", params={"to": to})
    back = httpx2.get(away.headers["location"]).headers["location"]
    found = browser.come_back(back)
    assert (found.status_code, found.headers["location"]) == (303, leads_to)
    assert "x" not in found.cookies


def test_logging_out_ends_the_session_for_whoever_has_its_cookie(browser):
    browser.log_in()
    cookie = browser.client.cookies["uvr-8642"]
    assert browser.client.post("/logout", headers={"origin": URL}).status_code == 403
    assert browser.client.get("/").status_code == 200
    assert "You are logged out" in browser.post("/logout").text
    assert "uvr-8642" not in browser.client.cookies
    browser.client.cookies.set("uvr-8642", cookie)
    assert browser.client.get("/").status_code == 303


def test_a_session_ends_however_much_is_done(team, provider, monkeypatch):
    monkeypatch.setattr("console.app.Logins", lambda: console.logins.Logins(lasts=0.3))
    browser = Browser(team, provider)
    browser.log_in()
    assert browser.client.get("/").status_code == 200
    time.sleep(0.3)
    assert browser.client.get("/").status_code == 303


def test_an_actor_who_left_is_out_at_once(team, browser):
    browser.log_in()
    team.team.set("bob", actor="ann", active=False)
    found = browser.client.get("/")
    assert (found.status_code, "'bob' is no longer active" in text_of(found.text)) == (403, True)
    browser.client.cookies.clear()
    assert browser.log_in().status_code == 403


def test_another_claim_may_name_people(team, provider):
    team.team.set(USER["sub"], actor="ann", roles=("auditor",))
    browser = Browser(team, provider, claim="sub")
    browser.log_in()
    assert f"{USER['sub']} · auditor" in text_of(browser.client.get("/").text)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"issuer": "https://evil.example"}, "the provider's metadata is not of the issuer"),
        ({"token_endpoint": "http://evil.example/token"}, "token_endpoint is no address of HT"),
        ({"jwks_uri": 7}, "the provider's jwks_uri is no address of HTTPS"),
        (
            {"authorization_endpoint": "javascript:alert(1)"},
            "the provider's authorization_endpoint is no",
        ),
        ({"id_token_signing_alg_values_supported": ["none", "HS256"]}, "signs in no way that"),
    ],
    ids=str,
)
def test_a_provider_is_believed_no_further_than_needed(browser, provider, change, says):
    provider.metadata = lambda told: told.update(change)
    found = browser.client.get("/login")
    assert (found.status_code, says in text_of(found.text)) == (502, True), text_of(found.text)


async def _endless():
    while True:
        await asyncio.sleep(0)  # as long as somebody reads it
        yield b" " * 65536


@pytest.mark.parametrize(
    "answer",
    [
        lambda: PlainTextResponse("no JSON"),
        lambda: PlainTextResponse("[" * 100_000),
        lambda: PlainTextResponse("gone", 404),
        lambda: RedirectResponse("http://127.0.0.1:9/", 302),
        lambda: StreamingResponse(_endless()),
        lambda: Response(gzip.compress(bytes(20 << 20)), headers={"content-encoding": "gzip"}),
    ],
    ids=["text", "deep", "gone", "elsewhere", "endless", "packed"],
)
@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/token", "/keys"])
def test_a_provider_that_answers_otherwise_logs_nobody_in(browser, provider, path, answer):
    provider.answered[path] = answer
    if path.startswith("/.well-known"):
        assert browser.client.get("/login").status_code == 502
    else:
        assert browser.log_in().status_code == 403


def test_nobody_is_named_without_a_signature(browser, provider):
    told = {"access_token": "a", "token_type": "Bearer", "userinfo": USER}
    provider.answered["/token"] = lambda: JSONResponse(told)
    assert "the provider named nobody" in text_of(browser.log_in().text)


def test_a_provider_that_does_not_answer_holds_nobody_up(browser, provider, monkeypatch):
    async def silent():
        await asyncio.sleep(3)
        yield b"{}"

    provider.answered["/.well-known/openid-configuration"] = lambda: StreamingResponse(silent())
    monkeypatch.setattr(console.provider, "DEADLINE_S", 0.2)
    assert "took more than 0 seconds" in text_of(browser.client.get("/login").text)


def test_logins_that_wait_leave_room_for_other_requests(team, browser, provider, monkeypatch):
    async def silent():
        await asyncio.sleep(1)
        yield b"{}"

    provider.answered["/.well-known/openid-configuration"] = lambda: StreamingResponse(silent())
    monkeypatch.setattr(console.provider, "MOST_AT_ONCE", 1)
    other = TestClient(browser.client.app, base_url=URL, client=("127.0.0.1", 50001))
    with ThreadPoolExecutor() as threads:
        first = threads.submit(browser.client.get, "/login")
        while not provider.seen:
            time.sleep(0.01)
        second = other.get("/login")
        assert not first.done()
    assert (second.status_code, first.result().status_code) == (502, 502)
    assert "too many people log in at this moment" in text_of(second.text)
    assert "the provider's metadata is not of the issuer" in text_of(first.result().text)
    assert "the provider's metadata is not of the issuer" in text_of(other.get("/login").text)


def test_neither_codes_nor_tokens_nor_secrets_are_logged(browser, provider, caplog):
    caplog.set_level(logging.INFO)
    back = browser.leave()
    browser.come_back(back)
    kept = browser.client.cookies["uvr-8642"]
    provider.claims = lambda told: told.update(aud="another")
    browser.client.cookies.clear()
    browser.log_in()
    (code,) = parse_qs(urlsplit(back).query)["code"]
    # The browser of these tests tells what it asks for, too.
    told = "\n".join(item.getMessage() for item in caplog.records if item.name != "httpx2")
    assert "'bob' logged in" in told
    assert "refused a login" in told
    for hidden in (code, SECRET, str(kept)):
        assert hidden not in told
    assert SECRET not in repr(browser.settings)


def test_a_provider_needs_actors_and_https(solo, team, provider):
    openid = OpenID(provider.url, CLIENT)
    with pytest.raises(PolicyError, match="A provider of OpenID Connect names people, but"):
        check_reach(Settings("ann", openid=openid), solo)
    check_reach(Settings("ann", openid=openid), team)
    with pytest.raises(PolicyError, match=r"would reach 0\.0\.0\.0 in the clear"):
        check_reach(Settings("ann", "0.0.0.0", openid=openid), team)
    check_reach(Settings("ann", "0.0.0.0", proxies=("10.0.0.7",), openid=openid), team)
    with pytest.raises(InputError, match="--user-header"):
        Settings("ann", proxies=("10.0.0.7",), user_header="X-User", openid=openid)


@pytest.mark.parametrize(
    "issuer",
    ["http://id.example", "id.example", "ftp://id.example", "https://", "https://u:p@id.example",
     "https://id.example?x=1", "https://id.example#x", "https://[::1", "https://id.example:x"],
)  # fmt: skip
def test_an_issuer_is_an_address_that_nobody_else_answers_for(issuer):
    with pytest.raises(InputError, match="no address such as"):
        OpenID(issuer, CLIENT)
