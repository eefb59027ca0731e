import json
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from sqlalchemy import create_engine

import cli
from concepts.anchors import AnchorSet, AnchorSpace
from concepts.scorer import Scorer
from registry.registry import Registry
from registry.store.db import connect, database_url


@pytest.fixture
def postgres_url():
    """A PostgreSQL URL with a schema of its own."""
    url = os.environ.get("UVR_TEST_POSTGRES_URL")
    if not url:
        if os.environ.get("UVR_REQUIRE_POSTGRES") == "1":
            pytest.fail("UVR_REQUIRE_POSTGRES=1, but UVR_TEST_POSTGRES_URL is not set")
        pytest.skip("UVR_TEST_POSTGRES_URL is not set")
    schema = f"uvr_{uuid.uuid4().hex}"
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    joint = "&" if "?" in url else "?"
    yield f"{url}{joint}options={quote(f'-csearch_path={schema}')}"
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
    engine.dispose()


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Result]


@pytest.fixture
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The registry's folder; its database is PostgreSQL where a test asks for that."""
    monkeypatch.delenv("UVR_DATABASE_URL", raising=False)
    if getattr(request, "param", "sqlite") == "postgresql":
        monkeypatch.setenv("UVR_DATABASE_URL", request.getfixturevalue("postgres_url"))
    monkeypatch.setenv("UVR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UVR_ACTOR", "tester")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str | Path) -> Result:
        with pytest.raises(SystemExit) as stopped:
            cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(int(stopped.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture
def filled(run: Run, home: Path) -> Registry:
    """A registry with the concept 'pistol', one version of it, and the concept 'knife'."""
    run("init")
    run("add-concept", "pistol")
    run("add-concept", "knife")
    registry = Registry.open(home)
    registry.add_version("pistol", [toy_collection()], actor="tester")
    return registry


def toy_collection(seed: int = 0) -> tuple[AnchorSet, Scorer]:
    random = np.random.default_rng(seed)
    space = AnchorSpace("testbed", "", "t2i", ("single_transformer_blocks.0",), 4, 0.9)
    anchors = AnchorSet(
        space=space,
        anchors=random.normal(size=(5, 4)),
        anchor_images=np.arange(5, dtype=np.int32),
        counter_anchors=random.normal(size=(6, 4)),
        counter_images=np.arange(6, dtype=np.int32) + 10,
    )
    scorer = Scorer(
        rule="whitened",
        weights=np.ones((1, 4)),
        offset=np.zeros(1),
        seed_threshold=2.0,
        grow_threshold=1.0,
    )
    return anchors, scorer


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, tmp_path, monkeypatch):
    """An empty database of each kind."""
    monkeypatch.delenv("UVR_DATABASE_URL", raising=False)
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    return connect(database_url(tmp_path, url))
