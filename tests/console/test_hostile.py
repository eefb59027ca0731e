"""What others may try: no request here changes anything, runs a script or tells of a file."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest

from concepts.definition import ConceptDefinition
from console.addresses import CHANGES, PAGES
from console.call import Call
from console.guard import MAX_BODY
from registry.store.db import open_session
from tests.conftest import toy_collection
from tests.console.conftest import HEADER, PROXY, ROLES, digest_of, read, text_of
from tests.console.test_incidents import finding, report

EVIL = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onfocus='alert(1)' autofocus='",
    "{{ 7 * 7 }}{% include 'x' %}",
    "javascript:alert(1)",
    "</textarea><svg onload=alert(1)>",
    "\u202egnp.exe",
)
FILLED = {
    "job": 1,
    "picture": 1,
    "slug": "pistol",
    "number": 2,
    "before": 1,
    "bundle": "policy",
    "sequence": 1,
}
ACTIONS = [path.replace(":number", "").format(**FILLED) for path in CHANGES]
ADDRESSES = sorted({path.replace(":number", "").format(**FILLED) for path in (*PAGES, *CHANGES)})


def fields(registry):
    """A form that every change would take."""
    return {
        "content": digest_of(registry, "pistol", 2), "evaluation": "none", "reason": "why",
        "new_channel": "canary", "bundle": "policy", "step": "release", "checkpoint": "{}",
    }  # fmt: skip


def events(registry):
    return len(registry.audit.events())


@pytest.mark.parametrize("path", ACTIONS)
def test_no_change_is_made_without_the_sessions_token(team, visit, path):
    before = events(team)
    name = "bob" if path.startswith("/reviews") else "ann"
    visitor, other = visit(team, name), visit(team, "cem").token()
    token, form = visitor.token(), fields(team)
    for wrong in ("", "0" * 64, token[:-1], token.upper(), other, "\u00e9"):
        found = visitor.post(path, {**form, "token": wrong})
        assert found.status_code == 403, wrong
    assert visitor.post(path, {**form, "token": [token, token]}).status_code == 422
    visitor.client.cookies.clear()
    sent = {"origin": "https://127.0.0.1:8642"}
    found = visitor.client.post(path, data={**form, "token": token}, headers=sent)
    assert (found.status_code, "Open the page again" in found.text) == (403, True)
    for cookie in (token, "x" * 43, "../../x", '"'):
        sent["cookie"] = f"__Host-uvr={cookie}"
        found = visitor.client.post(path, data={**form, "token": token}, headers=sent)
        assert found.status_code == 403
    assert events(team) == before


@pytest.mark.parametrize("path", ACTIONS)
def test_no_change_is_made_for_another_site(team, visit, path):
    visitor, before = visit(team, "ann"), events(team)
    form = {**fields(team), "token": visitor.token()}
    for origin in (
        None, "null", "https://evil.example", "https://127.0.0.1", "https://127.0.0.1:8643",
        "https://127.0.0.1:8642.evil.example", "https://127.0.0.1:8642@evil.example",
        "file://127.0.0.1:8642", "https://127.0.0.1:8642/",
    ):  # fmt: skip
        sent = {} if origin is None else {"origin": origin}
        found = visitor.client.post(path, data=form, headers=sent)
        assert found.status_code == 403, origin
    for site in ("cross-site", "same-site", "none"):
        found = visitor.post(path, form, **{"sec-fetch-site": site})
        assert found.status_code == 403, site
    assert events(team) == before


def test_another_sites_page_loads_nothing(solo, visit):
    visitor = visit(solo)
    loads = [("no-cors", "image"), ("cors", "empty"), ("navigate", "iframe"), ("", "document")]
    for path, site in itertools.product(("/", "/audit/verify"), ("cross-site", "same-site", "x")):
        for mode, dest in loads:
            sent = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
            found = visitor.get(path, headers=sent)
            assert (found.status_code, "<" in found.text) == (403, False), (path, sent)
        sent = {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
        assert visitor.get(path, headers=sent).status_code == 200
    for site in ("same-origin", "none"):
        assert visitor.get("/", headers={"sec-fetch-site": site}).status_code == 200


def test_a_review_is_shown_while_others_write(team, visit):
    visitor = visit(team, "bob")
    with open_session(team.workspace.engine, write=True):
        assert "You cannot approve it: Another process is writing" in visitor.page(
            "/reviews/pistol/2"
        )
    assert "You cannot approve it" not in visitor.page("/reviews/pistol/2")


@pytest.mark.parametrize("digits", [10, 30, 5000])
def test_a_number_of_very_many_digits_is_no_address(solo, visit, digits):
    number = "9" * digits
    for path in (f"/concepts/pistol/{number}", f"/concepts/pistol/1/against/{number}"):
        assert visit(solo).get(path).status_code == 404
    assert visit(solo).post(f"/jobs/{number}/cancel", {}).status_code == 404


@pytest.mark.parametrize("path", ADDRESSES)
def test_other_hosts_are_not_answered(solo, visit, path):
    client = visit(solo).client
    for host in (
        "evil.example", "evil.example:8642", "127.0.0.1", "127.0.0.1:80", "localhost:8642.evil",
        "127.0.0.1:8642, evil.example", "", "[::ffff:127.0.0.1]:8642", "0.0.0.0:8642",
    ):  # fmt: skip
        found = client.get(path, headers={"host": host})
        assert (found.status_code, "<" in found.text) == (421, False), host
    assert client.get("/", headers={"host": "LOCALHOST:8642"}).status_code == 200


def test_a_header_counts_only_from_a_listed_proxy(team, visit):
    visitor = visit(team, "ann")
    for peer in ("10.0.0.8", "127.0.0.1", "::1", "10.0.0.70"):
        visitor.client._transport.client = (peer, 50000)
        for sent in ({}, {"x-forwarded-for": PROXY}, {"forwarded": f"for={PROXY}"}):
            assert visitor.get("/", headers=sent).status_code == 403, peer
    visitor.client._transport.client = (PROXY, 50000)
    assert visitor.get("/").status_code == 200


def test_a_console_without_a_proxy_is_for_its_own_machine(solo, team, visit):
    visitor = visit(solo)
    for peer, status in (("192.0.2.1", 403), ("", 403), ("::ffff:127.0.0.1", 200), ("::1", 200)):
        visitor.client._transport.client = (peer, 50000)
        assert visitor.get("/", headers={HEADER: "bob"}).status_code == status, peer
    assert "ann" in visit(solo).page("/")
    # A registry that became a team's while the console ran.
    found = visit(team).get("/", headers={HEADER: "ann"})
    assert (found.status_code, "This registry has actors by now" in found.text) == (403, True)


def test_whom_a_proxy_names_is_nobody_in_a_registry_without_actors(solo, visit):
    visitor = visit(solo, "stranger")
    for path in ("/", "/concepts/pistol/1", "/audit/export"):
        found = visitor.get(path)
        assert (found.status_code, "has no actors" in found.text) == (403, True), path
    sent = {"origin": "https://127.0.0.1:8642"}
    form = {"reason": "x", "content": digest_of(solo, "pistol", 1)}
    found = visitor.client.post("/concepts/pistol/1/revoke", data=form, headers=sent)
    assert (found.status_code, solo.versions.get("pistol", 1).state) == (403, "approved")


@pytest.mark.parametrize(
    "names",
    [[], ["ann", "bob"], [""], [" "], ["nobody"], ["ANN"], ["ann "], [b"\xff"], ["ann,bob"]],
)
def test_nobody_in_particular_gets_nothing(team, visit, names):
    visitor = visit(team, "ann")
    del visitor.client.headers[HEADER]
    for path in ("/", "/concepts/pistol/1", "/audit/export", "/nix"):
        found = visitor.get(path, headers=[(HEADER, name) for name in names])
        # A server strips blanks around a header's value, and this client does not.
        assert found.status_code == 403, path
        assert "Nudity" not in found.text


def test_an_actor_who_left_gets_nothing(team, visit):
    visitor = visit(team, "bob")
    token = visitor.token()
    team.team.set("bob", actor="ann", active=False)
    form = {**fields(team), "token": token}
    sent = {"origin": "https://127.0.0.1:8642"}
    found = visitor.client.post("/reviews/pistol/2/approve", data=form, headers=sent)
    assert (found.status_code, "'bob' is no longer active" in text_of(found.text)) == (403, True)


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("/concepts/pistol/2/submit", "curator"),
        ("/concepts/pistol/1/deprecate", "curator"),
        ("/concepts/pistol/1/revoke", "admin"),
        ("/reviews/pistol/2/approve", "reviewer"),
        ("/reviews/pistol/2/send-back", "reviewer"),
        ("/releases/policy/1/move", "publisher"),
        ("/new-release", "publisher"),
    ],
)
def test_each_change_needs_its_role(team, visit, path, role):
    before = events(team)
    for name, roles in ROLES.items():
        if role not in roles:
            number = 1 if "/1/" in path else 2
            form = {**fields(team), "content": digest_of(team, "pistol", number)}
            found = visit(team, name).post(path, form)
            assert found.status_code == 403, name
            assert f"this needs the role {role}" in text_of(found.text)
    assert events(team) == before


@pytest.fixture
def painted(new_registry, tmp_path):
    """A registry with evil in every text that somebody can write."""
    registry = new_registry(tmp_path / "home")
    texts = itertools.cycle(EVIL[:-1])  # Definitions refuse what reorders text.
    every = tuple(EVIL[:-1])

    def apart(kind):
        return tuple(f"{text} {kind}" for text in every)

    words = ConceptDefinition(
        "pistol", next(texts), "object", " ".join(every), every, apart("near"), " ".join(every),
        apart("words"), apart("benign"), apart("edit"),
    )  # fmt: skip
    for slug in ("pistol", "knife"):
        registry.concepts.add(replace(words, slug=slug), actor=EVIL[0])
    registry.versions.add("pistol", [toy_collection()], actor=EVIL[1])
    registry.releases.add("policy", ["pistol"], actor=EVIL[2], note=" ".join(EVIL))
    registry.channels.move("prod", "policy", actor=EVIL[3], reason=" ".join(EVIL))
    registry.team.set_policy(actor=EVIL[5], approvals=1)
    edited = replace(words, description="Other words.", near_misses=apart("other"))
    registry.versions.copy("pistol", actor=EVIL[4], definition=edited)
    registry.versions.submit("pistol", 2, actor=EVIL[6], note=" ".join(EVIL))
    return registry


def harmless(page):
    """Whether a page has no element or attribute but the console's own."""
    reader = read(page)
    for tag, attributes in reader.elements:
        if tag == "script":
            assert attributes["src"].startswith("/static/"), attributes
        assert tag not in ("svg", "img", "iframe", "object", "base", "style"), tag
        assert not any(name.startswith("on") or name == "style" for name in attributes), attributes
        assert not str(attributes.get("href", "/")).startswith(("javascript", "//")), attributes
        assert "autofocus" not in attributes
    assert "49" not in {text.strip() for text in reader.texts}
    assert "\u202e" not in page
    return True


def test_no_text_becomes_a_part_of_a_page(painted, visit):
    visitor = visit(painted, actor=EVIL[1])
    paths = [
        "/", "/concepts", "/concepts/pistol/1", "/concepts/pistol/2", "/concepts/knife", "/reviews",
        "/reviews/pistol/2", "/releases", "/releases/policy/1", "/new-release", "/audit",
        "/audit/verify",
    ]  # fmt: skip
    for path in paths:
        found = visitor.get(path)
        assert found.status_code == 200, path
        assert harmless(found.text), path
    for evil in EVIL:
        for path in ("/concepts", "/audit", "/new-release"):
            names = ("q", "subject", "actor", "kind", "done", "bundle", "concept", "way", "until")
            found = visitor.get(path, params=dict.fromkeys(names, evil))
            assert harmless(found.text)
        for path in ("/concepts/{}", "/reviews/{}/1", "/releases/{}/1", "/{}", "/static/{}"):
            assert harmless(visitor.get(path.format(evil.replace("/", "%2F"))).text)
        for name in ("bundle", "note", "slug", "member", "until", "expires", "include", "way"):
            form = {"bundle": "policy", "slug": "pistol", "way": "log", "until": "", name: evil}
            assert harmless(visitor.post("/new-release", form).text)
        told = {"report": json.dumps(report(painted, request=evil, images=[[finding(slug=evil)]]))}
        assert harmless(visitor.post("/incident", told).text)
        assert harmless(visitor.post("/concepts/pistol/look-alikes", {"text": f"{evil} x"}).text)
    assert harmless(visitor.get("/concepts/pistol/words").text)
    decided = {"content": digest_of(painted, "pistol", 2), "reason": " ".join(EVIL)}
    assert visitor.post("/reviews/pistol/2/send-back", decided).status_code == 303
    for path in ("/reviews", "/audit", "/concepts/pistol/2"):
        assert harmless(visitor.get(path).text)


def test_no_address_becomes_a_path(solo, visit):
    client = visit(solo).client
    for path in (
        "/static/../settings.py", "/static/%2e%2e/settings.py", "/static/..%2fsettings.py",
        "/static//etc/passwd", "/static/console.css/../../settings.py", "/static/%00",
        "/static/console.css%00.js", "/concepts/..%2f..%2fetc%2fpasswd", "/releases/../1",
        "/concepts/%ff", "/.git/config", "/static/",
    ):  # fmt: skip
        found = client.get(path)
        assert found.status_code in (404, 422), path
        assert "root:" not in found.text
        assert "secret" not in found.text


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "X"])
def test_other_methods_are_not_answered(solo, visit, method):
    client = visit(solo).client
    for path in ("/", "/audit", "/reviews/pistol/1/approve", "/static/console.css", "/nix"):
        assert client.request(method, path).status_code == 405
    for path, action in zip(CHANGES, ACTIONS, strict=True):
        if path not in PAGES:
            assert client.get(action).status_code == 405, path


def test_what_is_too_large_is_refused(solo, visit):
    visitor = visit(solo)
    sent = {"origin": "http://127.0.0.1:8642", "content-type": "application/x-www-form-urlencoded"}
    path = "/reviews/pistol/1/approve"

    def endless():
        for _ in range((MAX_BODY >> 20) + 2):
            yield b"a" * (1 << 20)

    for content, status in (
        (b"a=" + b"b" * (2 << 20), 422),
        (b"a=" + b"%62" * 300_000, 422),
        (b"&".join(b"a%d=1" % number for number in range(5000)), 422),
        (b"a" * (MAX_BODY + 1), 413),
        (b"a=%ff", 422),
        ("reason=é".encode(), 422),
    ):
        found = visitor.client.post(path, content=content, headers=sent)
        assert found.status_code == status, content[:20]
    assert visitor.client.post(path, content=endless(), headers=sent).status_code in (413, 422)
    for length in ("-1", "1e9", "9" * 30, "x"):
        lied = {**sent, "content-length": length}
        assert visitor.client.post(path, content=b"", headers=lied).status_code == 413, length


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("application/json", b"{}"),
        ("text/plain", b"token=x"),
        ("", b"token=x"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=x", b"--x\r\nbroken"),
        ("multipart/form-data; boundary=x", b"".join(
            b'--x\r\nContent-Disposition: form-data; name="a%d"; filename="f"\r\n\r\nb\r\n' % n
            for n in range(9)) + b"--x--\r\n"),
        ("multipart/form-data; boundary=x", b"".join(
            b'--x\r\nContent-Disposition: form-data; name="a%d"\r\n\r\nb\r\n' % n
            for n in range(99)) + b"--x--\r\n"),
    ],
)  # fmt: skip
def test_what_is_no_form_is_refused(solo, visit, kind, content):
    sent = {"origin": "http://127.0.0.1:8642", "content-type": kind}
    found = visit(solo).client.post("/reviews/pistol/1/approve", content=content, headers=sent)
    assert found.status_code in (403, 422)
    assert "root:" not in found.text


def test_every_answer_forbids_scripts_frames_and_guesses(solo, visit):
    client = visit(solo).client
    for path in ("/", "/nix", "/static/console.css", "/audit/export", "/concepts/pistl"):
        headers = client.get(path).headers
        assert "script-src 'self';" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers
    assert client.get("/", headers={"host": "x"}).headers["x-frame-options"] == "DENY"
    assert client.get("/").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("name", "cookie"),
    [(None, "uvr-8642={}; HttpOnly; Path=/; SameSite=strict"),
     ("ann", "__Host-uvr={}; HttpOnly; Path=/; SameSite=strict; Secure")],
)  # fmt: skip
def test_a_session_stays_with_its_browser(solo, team, visit, name, cookie):
    found = visit(team if name else solo, name).get("/")
    value = found.cookies[cookie.partition("=")[0]]
    assert found.headers["set-cookie"] == cookie.format(value)
    assert len(value) == 43
    assert "set-cookie" not in visit(solo).get("/", headers={"cookie": f"uvr-8642={value}"}).headers


def test_a_slip_of_the_program_tells_nothing(solo, visit, monkeypatch, caplog):
    def slip(_call: Call, *_args: object, **_values: object) -> None:
        raise RuntimeError("password: hunter2")

    monkeypatch.setattr(Call, "page", slip)
    with pytest.raises(RuntimeError):  # Not even the page for errors works now.
        visit(solo).get("/")
    monkeypatch.undo()
    monkeypatch.setattr("console.pages.live.now", slip)
    found = visit(solo).get("/")
    assert (found.status_code, "hunter2" in found.text) == (500, False)
    assert "hunter2" in caplog.text
