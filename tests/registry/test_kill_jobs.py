"""Commands that take a while, killed at random moments, are done in full or not at all."""

import os
import random
import shutil

import numpy as np
import pytest
from sqlalchemy import create_engine

from concepts.anchors import AnchorSpace
from concepts.errors import NotFoundError
from registry import Registry
from registry.operations import backup, export_concept, import_concept, restore
from registry.operations.doctor import diagnose
from tests.conftest import often

pytestmark = pytest.mark.slow
SEED = int(os.environ["UVR_KILL_SEED"])
KILLS = {"sqlite": often(24, least=4), "postgresql": often(8, least=4)}
SPACE = AnchorSpace("testbed", "r1", "t2i", ("blocks.0",), 64, 0.95)


class Job:
    """One job: how it is set up, and what holds whenever it was killed."""

    def __init__(self, registry, url, folder):
        self.registry = registry  # Full; jobs read it, and make others.
        self.home, self.url, self.file = folder / "other", url, folder / "file"

    def empty(self):
        """Remove the other registry."""
        shutil.rmtree(self.home, ignore_errors=True)
        if self.url:
            schema = self.url.rpartition("%3D")[2]
            engine = create_engine(self.url)
            with engine.begin() as connection:
                connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE; CREATE SCHEMA {schema}")
            engine.dispose()

    def set_up(self):
        """Do what is needed once."""

    def prepare(self):
        """Make it as it was before each run."""

    def check(self):
        """Check what the job left, and do it again where it was not done."""
        raise NotImplementedError

    def assert_whole(self, made):
        found = diagnose(made.workspace)
        assert {check.name: check.problems for check in found.checks if not check.ok} == {}

    def contents(self, made):
        return [made.concepts.get(concept.slug) for concept in made.concepts.list()]


class Create(Job):
    def prepare(self):
        self.empty()

    def check(self):
        made = Registry.create(self.home, self.url)
        assert made.concepts.list() == []
        self.assert_whole(made)


class Restore(Job):
    def set_up(self):
        backup(self.registry.workspace, self.file)

    def prepare(self):
        self.empty()

    def check(self):
        try:
            made = Registry.open(self.home, self.url)
        except NotFoundError:
            made = Registry(restore(self.file, self.home, self.url))
        assert self.contents(made) == self.contents(self.registry)
        self.assert_whole(made)


class Import(Job):
    def set_up(self):
        export_concept(self.registry.workspace, "bomb", self.file)
        bomb = self.registry.concepts.get("bomb")
        self.digests = [version.content_digest for version in bomb.versions]

    def prepare(self):
        self.empty()
        Registry.create(self.home, self.url)

    def check(self):
        made = Registry.open(self.home, self.url)
        if not made.concepts.list():
            assert import_concept(made.workspace, self.file, actor="ann").new
        found = [version.content_digest for version in made.concepts.get("bomb").versions]
        assert found == self.digests
        self.assert_whole(made)


class Rewrite(Job):
    """A job that replaces a file."""

    def set_up(self):
        self.home, self.url = (
            self.registry.home,
            self.registry.workspace.engine.url.render_as_string(False),
        )
        self.write()
        self.new = self.file.read_bytes()
        self.old = b"what was there before"

    def prepare(self):
        self.file.write_bytes(self.old)

    def check(self):
        assert self.file.read_bytes() in (self.old, self.new)
        self.write()
        assert self.file.read_bytes() == self.new


class Backup(Rewrite):
    def write(self):
        backup(self.registry.workspace, self.file)


class Export(Rewrite):
    def write(self):
        export_concept(self.registry.workspace, "bomb", self.file)


class Index(Job):
    def set_up(self):
        self.home, self.url = (
            self.registry.home,
            self.registry.workspace.engine.url.render_as_string(False),
        )
        self.query = np.random.default_rng(9).normal(size=(3, SPACE.dim))
        self.expected = self.registry.index.search(SPACE, self.query)

    def prepare(self):
        shutil.rmtree(self.home / "index")

    def check(self):
        assert Registry.open(self.home, self.url).index.search(SPACE, self.query) == self.expected
        assert len(list((self.home / "index").iterdir())) == 3  # Index, sidecar, lock.


JOBS = {
    "create": Create, "backup": Backup, "restore": Restore, "export": Export, "import": Import,
    "index": Index,
}  # fmt: skip


@pytest.fixture
def job(request, registry, collect, workers, tmp_path):
    """A job on a registry with enough in it that jobs take a while."""
    for seed in range(8):
        made = collect(seed, anchors=1000, space=SPACE)
        registry.versions.add(("bomb", "gun")[seed % 2], [made], actor="ann")
    registry.team.set_policy(actor="ann", approvals=0)
    registry.versions.submit("gun", actor="ann")
    url = None
    if registry.workspace.engine.dialect.name == "postgresql":
        url = request.getfixturevalue("second_postgres_url")
    (tmp_path / "job").mkdir()
    made = JOBS[request.param](registry, url, tmp_path / "job")
    made.set_up()
    return request.param, made


@pytest.mark.parametrize("job", JOBS, indirect=True)
@pytest.mark.parametrize("seed", [pytest.param(SEED, id=f"seed-{SEED}")])
def test_a_job_killed_at_any_point_is_done_in_full_or_not_at_all(job, registry, workers, seed):
    name, job = job
    chance = random.Random(seed)

    def run(kill=0.0):
        job.prepare()
        seconds = workers.job(name, job.home, job.url, job.file, kill)
        job.check()
        return seconds

    longest = min(run() for _ in "ab")
    kills = KILLS[registry.workspace.engine.dialect.name]
    done = [run(chance.uniform(0, longest)) for _ in range(kills)]
    # The test is worth nothing if the kills come too late.
    assert done.count(None) >= kills // 2
