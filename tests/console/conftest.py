"""What the tests of the console share: a team's registry, visitors, a served console."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright
from starlette.testclient import TestClient

from concepts.anchors import AnchorSet
from concepts.definition import load_shipped
from concepts.scorer import Scorer
from console.app import make_app
from console.evidence.pictures import cache_of, places_of
from console.settings import Settings
from registry.registry import Registry
from tests.conftest import toy_collection, toy_evaluation
from uvr.examples.kept import Drawn

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
        registry.versions.add(slug, [drawn_collection(seed)], actor="ann")
        draw(registry, slug)
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
    registry = copy_of(solo_template, home)
    for name, roles in ROLES.items():
        registry.team.set(name, actor="ann", roles=roles)
    registry.team.set_policy(actor="ann", approvals=1, self_approval=False)
    registry.versions.copy("pistol", actor="ann", thresholds={"t2i": (1.5, 0.75)})
    registry.versions.submit("pistol", 2, actor="ann", note="catches small ones")
    return home


@pytest.fixture
def solo(solo_template, tmp_path) -> Registry:
    return copy_of(solo_template, tmp_path / "solo")


@pytest.fixture
def team(team_template, tmp_path) -> Registry:
    return copy_of(team_template, tmp_path / "team")


def copy_of(template: Path, home: Path) -> Registry:
    """Copy a registry but for its example pictures, which nobody changes."""
    shutil.copytree(template, home, ignore=shutil.ignore_patterns("cache"))
    (home / "cache").symlink_to((template / "cache").resolve())
    return Registry.open(home)


def drawn_collection(seed: int = 0) -> tuple[AnchorSet, Scorer]:
    """Anchors as if they had been collected from what a model drew."""
    anchors, scorer = toy_collection(seed)
    about = {"method": "prompts", "prompts": ["a"], "counter_prompts": ["b"], "seed": 0,
             "seeds_per_prompt": 1, "size": [8, 8], "steps": 2}  # fmt: skip
    return replace(anchors, provenance=about), scorer


def draw(registry: Registry, slug: str, count: int = 24) -> None:
    """Keep example pictures of a version whose line is 2: of those to be caught 20 of 24 are.

    Scores fall by 0.1: of those from 3.95, of look-alikes from 2.35, of ordinary ones from 0.95.
    """
    detail = registry.versions.detail(slug)
    (place,) = places_of(registry, detail)
    assert place.origin is not None
    kept, tops = cache_of(registry.home), {"must-catch": 3.95, "look-alike": 2.35, "benign": 0.95}
    for number, item in enumerate(place.origin.wanted(count)):
        colour = (10 * number % 256, 90, 40)
        kept.keep(item, Drawn(Image.new("RGB", (8, 8), colour), item.prompt))
        score = tops[item.kind] - 0.1 * (number % 24)
        kept.keep_scores(item, place.scorer, np.array([[score, 0], [0, 0]], dtype=np.float32))


def release_check(registry: Registry) -> None:
    """Make release 1 of 'late' live in 'last': it holds 'knife' for checking finished pictures."""
    anchors, scorer = toy_collection(7)
    late = replace(anchors, space=replace(anchors.space, task="check"))
    registry.versions.add("knife", [(late, scorer)], actor="ann")
    if registry.team.policy().approvals:
        registry.versions.submit("knife", 1, actor="ann")
        registry.versions.approve("knife", 1, actor="bob")
    actor = "cem" if registry.team.list() else "ann"
    registry.releases.add("late", ["knife"], actor=actor)
    registry.channels.move("last", "late", actor=actor)


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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, which can reach nothing but this machine."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        if os.environ.get("UVR_REQUIRE_CHROMIUM") == "1":
            pytest.fail("UVR_REQUIRE_CHROMIUM=1, but there is no chromium")
        pytest.skip("there is no chromium")
    # Two names of it, as two sites.
    rules = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
    options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
               f"--host-resolver-rules={rules}"]  # fmt: skip
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=options)
        yield browser
        browser.close()


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
        if tag in ("td", "th", "li", "dt", "option", "label"):
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
