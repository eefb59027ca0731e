"""What every test may use: databases that are migrated once, the command line, a small registry."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import create_engine, make_url, text

import cli
from concepts.anchors import AnchorSet, AnchorSpace
from concepts.calibration import Share
from concepts.definition import load_shipped
from concepts.evaluation import Asked, Benign, Evaluation
from concepts.scorer import Scorer
from registry.operations import doctor
from registry.registry import Registry
from registry.store.db import DATABASE_FILE, connect, database_url, transaction
from registry.store.home import bind_home, make_home
from registry.store.schema import upgrade

SCHEMA = "registry"  # Not PostgreSQL's "public": nothing may count on that one.
NewRegistry = Callable[..., Registry]


# How often slow tests repeat: in full with this, as in CI; else a tenth, so that a change is tried
# in two minutes.
FULL = os.environ.get("UVR_TEST_FULL") == "1"


def often(count: int, least: int = 1) -> int:
    """Return how often a slow test does something that it does so many times in full."""
    return count if FULL else max(least, count // 10)


def pytest_configure() -> None:
    # Before xdist starts its workers: they must agree on the tests' names, which hold the seed.
    os.environ.setdefault("UVR_KILL_SEED", str(secrets.randbelow(2**32)))


# Files whose tests run one after another in one of xdist's workers: those that start and kill
# processes, so that they do not slow each other, and those that share what is costly to make.
TOGETHER = {
    "test_kill.py": "processes",
    "test_kill_jobs.py": "processes",
    "test_processes.py": "processes",
    "test_first_light.py": "first light",
    "test_train.py": "training",
    "test_cluster.py": "clusters",
    "test_workers.py": "clusters",
    "test_ray.py": "clusters",
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each worker one test at a time, or a group; marks do not get here with pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 (only where xdist is used)

    class Grouped(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return TOGETHER.get(Path(nodeid.partition("::")[0]).name, nodeid)

    return Grouped(config, log)


@pytest.fixture(scope="session", autouse=True)
def _installed_packages_are_read_once() -> Iterator[None]:
    """Each look of the doctor at a registry asks for all packages, a tenth of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doctor, "packages_distributions", cache(doctor.packages_distributions))
        yield


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an empty registry; migrations take a hundred times as long as a copy."""
    file = tmp_path_factory.mktemp("template") / DATABASE_FILE
    upgrade(connect(f"sqlite:///{file}"))
    return file


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """PostgreSQL databases of this session, or of this one of xdist's workers."""
    url = os.environ.get("UVR_TEST_POSTGRES_URL")
    if not url:
        if os.environ.get("UVR_REQUIRE_POSTGRES") == "1":
            pytest.fail("UVR_REQUIRE_POSTGRES=1, but UVR_TEST_POSTGRES_URL is not set")
        pytest.skip("UVR_TEST_POSTGRES_URL is not set")
    server = Server(url)
    yield server
    server.close()


class Server:
    """Makes databases from two templates: one with an empty schema, one with an empty registry."""

    def __init__(self, url: str) -> None:
        self.url = make_url(database_url(Path(), url))
        self.engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        self.prefix = f"uvr_{uuid.uuid4().hex[:12]}"
        self.count = 0
        empty = self.make("template0")
        engine = create_engine(empty)
        with engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA {SCHEMA}")
        engine.dispose()
        self.empty = self._name(empty)
        migrated = self.make(self.empty)
        upgrade(connect(migrated))
        self.migrated = self._name(migrated)

    def make(self, template: str) -> str:
        """Copy a database; return the URL of the copy."""
        self.count += 1
        name = f"{self.prefix}_{self.count}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {template}")
        made = self.url.set(database=name)
        made = made.update_query_dict({"options": f"-csearch_path={SCHEMA}"})
        return made.render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected."""
        self._drop(self._name(url))

    def close(self) -> None:
        """Remove the templates."""
        for name in (self.migrated, self.empty):
            self._drop(name)
        self.engine.dispose()

    def _name(self, url: str) -> str:
        return str(make_url(url).database)

    def _drop(self, name: str) -> None:
        # It waits five seconds for whoever is connected. FORCE does not, but may not touch the
        # autovacuum unless a superuser asks, and without it that is sent away.
        self._run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{name}' AND usename = current_user"
        )
        self._run(f"DROP DATABASE IF EXISTS {name}")

    def _run(self, statement: str) -> None:
        with self.engine.connect() as connection:
            connection.exec_driver_sql(statement)


@pytest.fixture
def postgres_url(postgres_server: Server) -> Iterator[str]:
    """A PostgreSQL database of one's own, in which a schema of one's own is empty."""
    url = postgres_server.make(postgres_server.empty)
    yield url
    postgres_server.drop(url)


@pytest.fixture
def migrated_postgres_url(postgres_server: Server) -> Iterator[str]:
    """A PostgreSQL database of one's own with an empty registry; `new_registry` takes it."""
    url = postgres_server.make(postgres_server.migrated)
    yield url
    postgres_server.drop(url)


@pytest.fixture
def new_registry(sqlite_template: Path) -> NewRegistry:
    """Make an empty registry as `Registry.create` does, without running migrations."""

    def make(home: Path, url: str | None = None) -> Registry:
        make_home(home)
        if url is None:
            shutil.copyfile(sqlite_template, home / DATABASE_FILE)
        engine = connect(database_url(home, url))
        # The template's id would be that of every registry.
        own = uuid.uuid4().hex
        with transaction(engine, write=True) as connection:
            connection.execute(text("UPDATE policy SET registry_id = :own"), {"own": own})
        bind_home(home, own)
        return Registry.open(home, url)

    return make


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """A Ray cluster of this machine, two processors wide, that this process is connected to."""
    if os.environ.get("UVR_REQUIRE_RAY") != "1":
        pytest.importorskip("ray.serve")
    import ray  # noqa: PLC0415 (an extra)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_raylet_start_wait_time_s", "240")  # where the machine is busy
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False,
                 logging_level="ERROR")  # fmt: skip
        yield
        ray.shutdown()


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
        made = "migrated_postgres_url" if "filled" in request.fixturenames else "postgres_url"
        monkeypatch.setenv("UVR_DATABASE_URL", request.getfixturevalue(made))
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


@dataclass(frozen=True)
class Seen:
    """A page as a browser left it: its elements, and what its console said."""

    elements: str
    console: list[str]


@pytest.fixture
def browse(tmp_path: Path) -> Callable[[Path], Seen]:
    """Opens a file in headless Chromium, which can reach nothing but this machine."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        if os.environ.get("UVR_REQUIRE_CHROMIUM") == "1":
            pytest.fail("UVR_REQUIRE_CHROMIUM=1, but there is no chromium")
        pytest.skip("there is no chromium")

    def open_page(page: Path) -> Seen:
        found = subprocess.run(
            [chromium, *BROWSER, f"--user-data-dir={tmp_path / 'browser'}", page.as_uri()],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        console = [line for line in found.stderr.splitlines() if ":CONSOLE:" in line]
        return Seen(found.stdout, console)

    return open_page


BROWSER = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--dump-dom",
)  # fmt: skip


@pytest.fixture
def filled(home: Path, new_registry: NewRegistry) -> Registry:
    """A registry with the concept 'pistol', one version of it, and the concept 'knife'."""
    registry = new_registry(home, os.environ.get("UVR_DATABASE_URL"))
    for slug in ("pistol", "knife"):
        registry.concepts.add(load_shipped(slug), actor="tester")
    registry.versions.add("pistol", [toy_collection()], actor="tester")
    return registry


@pytest.fixture
def impatient() -> Iterator[None]:
    """Fail a test that waits for what never comes, such as the writer of a pipe."""

    def stop(_number: int, _frame: object) -> None:
        pytest.fail("it waits")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 20)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


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


def toy_evaluation(**changes: Any) -> Evaluation:
    """Nineteen of twenty pictures unsafe by stock, one by the method."""
    parts: dict[str, Any] = {
        "suite": "mugs", "suite_digest": "a" * 64, "seed": 7, "method": "ours",
        "judge": "detector 1", "judge_digest": "b" * 64, "models": {"t2i": "c" * 64},
        "report_digest": "d" * 64,
        "asked": (
            Asked("t2i", "none", Share(19, 20), Share(1, 20), Share(9, 10)),
            Asked("t2i", "synonyms", Share(18, 20), Share(4, 20)),
        ),
        "benign": (Benign("t2i", Share(20, 20), Share(1, 20)),),
    }  # fmt: skip
    return Evaluation(**{**parts, **changes})


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, tmp_path, monkeypatch):
    """An empty database of each kind."""
    monkeypatch.delenv("UVR_DATABASE_URL", raising=False)
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    return connect(database_url(tmp_path, url))
