"""What the tests of the console share: a team's registry, visitors, a served console."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from concepts.definition import load_shipped
from console.app import make_app
from console.settings import Settings
from registry.registry import Registry
from tests.conftest import toy_collection, toy_evaluation

ROLES = {
    "ann": ("admin", "curator"),
    "bob": ("reviewer",),
    "cem": ("publisher",),
    "dia": ("auditor",),
}
PROXY = "10.0.0.7"
HEADER = "X-User"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in ("UVR_HOME", "UVR_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def solo_template(sqlite_template, tmp_path_factory) -> Path:
    """A registry of one: 'pistol' is live in 'prod', 'nudity' tried there, 'knife' only words."""
    home = tmp_path_factory.mktemp("solo") / "home"
    (home / "blobs").mkdir(parents=True)
    shutil.copyfile(sqlite_template, home / "registry.db")
    registry = Registry.open(home)
    for slug in ("pistol", "nudity", "knife"):
        registry.concepts.add(load_shipped(slug), actor="ann")
    for seed, slug in enumerate(("pistol", "nudity")):
        registry.versions.add(slug, [toy_collection(seed)], actor="ann")
    registry.versions.evaluate(
        "pistol", actor="ann", evaluation=toy_evaluation(),
        expect_digest=registry.versions.get("pistol").content_digest,
    )  # fmt: skip
    registry.releases.add("policy", actor="ann", modes={"nudity": "shadow"}, note="the first")
    registry.channels.move("prod", "policy", actor="ann", reason="week 48")
    return home


@pytest.fixture(scope="session")
def team_template(solo_template, tmp_path_factory) -> Path:
    """The same of a team, where version 2 of 'pistol' waits for review."""
    home = tmp_path_factory.mktemp("team") / "home"
    shutil.copytree(solo_template, home)
    registry = Registry.open(home)
    for name, roles in ROLES.items():
        registry.team.set(name, actor="ann", roles=roles)
    registry.team.set_policy(actor="ann", approvals=1, self_approval=False)
    registry.versions.copy("pistol", actor="ann", thresholds={"t2i": (1.5, 0.75)})
    registry.versions.submit("pistol", 2, actor="ann", note="catches small ones")
    return home


@pytest.fixture
def solo(solo_template, tmp_path) -> Registry:
    return _copy(solo_template, tmp_path)


@pytest.fixture
def team(team_template, tmp_path) -> Registry:
    return _copy(team_template, tmp_path)


def _copy(template: Path, folder: Path) -> Registry:
    home = folder / template.parent.name
    shutil.copytree(template, home)
    return Registry.open(home)


class Visitor:
    """A browser of one person, who opens a page before a form of it is sent."""

    def __init__(self, registry: Registry, name: str | None = None, **changes: Any) -> None:
        proxied = {"proxies": (PROXY,), "user_header": HEADER} if name else {}
        self.settings = Settings(**{"actor": "ann", "secret": b"s" * 32, **proxied, **changes})
        self.registry = registry
        self.client = TestClient(
            make_app(registry, self.settings),
            base_url="https://127.0.0.1:8642" if name else "http://127.0.0.1:8642",
            client=(PROXY if name else "127.0.0.1", 50000),
            headers={HEADER: name} if name else {},
            follow_redirects=False,
        )

    def get(self, path: str, **options: Any) -> Any:
        return self.client.get(path, **options)

    def page(self, path: str) -> str:
        """A page's text with tags taken out and blanks joined."""
        found = self.get(path)
        assert found.status_code == 200, found.text
        return text_of(found.text)

    def token(self) -> str:
        (token,) = set(re.findall(r'name="token" value="(\w+)"', self.get("/audit").text))
        return token

    def post(self, path: str, fields: dict[str, Any], **headers: str) -> Any:
        sent = {"origin": str(self.client.base_url).rstrip("/"), **headers}
        return self.client.post(path, data={"token": self.token(), **fields}, headers=sent)


@pytest.fixture
def visit() -> Callable[..., Visitor]:
    return Visitor


class Reader(HTMLParser):
    """What a browser would make of a page: its elements, and the text between them."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag in ("td", "th", "li", "option", "label"):
            self.texts.append(" ")

    def handle_data(self, data):
        self.texts.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", "".join(read(page).texts)).strip()


def digest_of(registry: Registry, slug: str, number: int) -> str:
    return registry.versions.get(slug, number).content_digest
