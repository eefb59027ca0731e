import contextlib
import errno
import os

import numpy as np
import pytest
from sqlalchemy import create_engine

from concepts.anchors import AnchorSet, AnchorSpace, Scorer
from concepts.definition import ConceptDefinition
from registry.registry import Registry

SPACES = {
    task: AnchorSpace("testbed", "r1", task, ("blocks.0",), 6, 0.95) for task in ("t2i", "edit")
}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in ("UVR_HOME", "UVR_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(request, tmp_path):
    """An empty registry, on each database."""
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    return Registry.create(tmp_path / "home", url)


@pytest.fixture
def second_postgres_url(postgres_url):
    """Another PostgreSQL URL with a schema of its own."""
    first = postgres_url.rpartition("search_path%3D")[2]
    schema = f"{first}_2"
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    yield postgres_url.replace(first, schema)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
    engine.dispose()


@pytest.fixture
def define():
    """Make a definition."""

    def make(slug="pistol", **changes):
        parts = {
            "name": slug.title(), "category": "object", "description": f"A {slug}.",
            "prompts": (f"a {slug}",), "near_misses": (f"a toy {slug}",),
        }  # fmt: skip
        return ConceptDefinition(slug=slug, **{**parts, **changes})

    return make


@pytest.fixture
def collect():
    """Make an anchor set and its scorer."""

    def make(seed=0, task="t2i", anchors=5, space=None):
        space = space or SPACES[task]
        random = np.random.default_rng(seed)
        made = AnchorSet(
            space=space,
            anchors=random.normal(size=(anchors, space.dim)),
            anchor_images=np.arange(anchors),
            counter_anchors=random.normal(size=(3, space.dim)),
            counter_images=np.arange(3),
            provenance={"method": "test", "seed": seed},
        )
        weights = random.normal(size=(1, space.dim))
        return made, Scorer("whitened", weights, np.zeros(1), 2.0, 1.0, {"seed": seed})

    return make


@pytest.fixture
def full_disk(monkeypatch):
    """Make every `os.fsync` after the first few fail as on a full disk."""

    @contextlib.contextmanager
    def fill(after=0):
        calls = iter(range(1_000_000))
        sync = os.fsync

        def fail(handle):
            # A blob takes three: its file and two folders.
            if next(calls) >= 3 * after:
                raise OSError(errno.ENOSPC, "No space left on device")
            sync(handle)

        with monkeypatch.context() as patch:
            patch.setattr("registry.store.os.fsync", fail)
            yield

    return fill
