import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from concepts.anchors import AnchorSet, AnchorSpace
from concepts.definition import ConceptDefinition
from concepts.scorer import Scorer
from concepts.signing.ed25519 import PrivateKey
from registry.answers import ReleaseInfo

SPACES = {
    task: AnchorSpace("testbed", "r1", task, ("blocks.0",), 6, 0.95) for task in ("t2i", "edit")
}


def plain(made):
    """A new release as lists have it, without what it changed."""
    return ReleaseInfo(**{item.name: getattr(made, item.name) for item in fields(ReleaseInfo)})


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in ("UVR_HOME", "UVR_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(request, tmp_path, new_registry):
    """An empty registry, on each database."""
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("migrated_postgres_url")
    return new_registry(tmp_path / "home", url)


@pytest.fixture
def second_postgres_url(postgres_server):
    """Another PostgreSQL database with an empty schema."""
    url = postgres_server.make(postgres_server.empty)
    yield url
    postgres_server.drop(url)


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
            patch.setattr("registry.store.blobs.os.fsync", fail)
            yield

    return fill


class Workers:
    """Processes of `workers.py` that write to one registry, and what they reported."""

    def __init__(self, process, folder):
        self.process = process
        self.folder = folder
        self.count = 0

    def start(self, seed, operations):
        """Fork a process and return its id."""
        self.count += 1
        log = str(self.folder / f"{self.count}.log")
        return self._ask(start=seed, log=log, operations=operations)

    def job(self, job, home, url, file, kill=0.0):
        """Do one job in a process of its own, killed after some seconds; return how long it took.

        None if it was killed.
        """
        self.count += 1
        log = self.folder / f"{self.count}.log"
        code = self.wait(
            self._ask(job=job, log=str(log), home=str(home), url=url, file=str(file), kill=kill)
        )
        lines = log.read_text().splitlines()
        if code == -signal.SIGALRM:
            return None
        assert code == 0, lines
        return json.loads(lines[-1])[2]["seconds"]

    def wait_until_begun(self):
        """Wait until each process is at its first operation: opening the database takes a while."""
        deadline = time.monotonic() + 60
        for log in self._files():
            while not (log.exists() and log.stat().st_size):
                assert time.monotonic() < deadline, f"{log} stays empty"
                time.sleep(0.001)

    def wait(self, worker):
        """Return the exit code of a process, -9 if it was killed."""
        return self._ask(wait=worker)

    def logs(self):
        """Return the lines of each process's log."""
        return [
            [json.loads(line) for line in file.read_text().splitlines()] for file in self._files()
        ]

    def _files(self):
        return [self.folder / f"{number + 1}.log" for number in range(self.count)]

    def assert_nothing_is_lost(self, registry):
        """Check that what was reported has its event and rows, and nothing happened twice."""
        lines = [line for log in self.logs() for line in log]
        assert [line for line in lines if line[0] == "failed"] == []
        events = [e for e in registry.audit.events() if e.actor.startswith("worker-")]
        told = {(e.action, e.subject, item) for e in events for item in _items(e.details)}
        done = [details for what, _, details in lines if what == "done" and details]
        for details in done:
            (item,) = _items({k: v for k, v in details.items() if k not in ("action", "subject")})
            assert (details["action"], details["subject"], item) in told
        begun = Counter(name for what, name, _ in lines if what == "begin")
        happened = Counter(event.action for event in events)
        reported = Counter(details["action"] for details in done)
        # An operation that was cut short happened in full, or not at all.
        for name, action in OPERATIONS.items():
            assert reported[action] <= happened[action] <= begun[name], action
        self._assert_rows(registry, events)

    def _assert_rows(self, registry, events):
        by_action = {action: [e for e in events if e.action == action] for action in ACTIONS}
        versions = {
            f"{concept.slug}@{version.number}"
            for concept in registry.concepts.list()
            for version in registry.concepts.get(concept.slug).versions
        }
        added = [event.subject for event in by_action["version.add"]]
        assert len(set(added)) == len(added)
        assert set(added) <= versions
        releases = {
            f"policy#{r.sequence}": r.bundle_digest for r in registry.releases.list("policy")
        }
        assert [*releases] == [f"policy#{number + 1}" for number in range(len(releases))]
        for event in by_action["release.add"]:
            assert releases[event.subject] == event.details["bundle_digest"]
        moves = {m.number: m.sequence for m in registry.channels.history("prod")}
        assert [*moves] == [number + 1 for number in range(len(moves))]
        for event in by_action["channel.move"]:
            assert moves[event.details["number"]] == event.details["sequence"]

    def _ask(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


def _items(details):
    return {(name, str(value)) for name, value in details.items()}


OPERATIONS = {
    "define": "concept.define", "collect": "version.add", "edit": "version.edit",
    "submit": "version.submit", "approve": "version.approve", "release": "release.add",
    "move": "channel.move",
}  # fmt: skip
ACTIONS = tuple(OPERATIONS.values())


@pytest.fixture
def workers(registry, define, collect, tmp_path):
    """Start processes on the registry, which has a live release and asks for one approval."""
    key = PrivateKey.generate()
    (tmp_path / "key.pem").write_bytes(key.pem())
    (tmp_path / "logs").mkdir()
    registry.team.set_policy(actor="ann", approvals=1)
    registry.keys.add("ann", key.public, actor="ann")
    registry.keys.rotate(actor="ann", signers=[key], add=["ann"])
    for slug in ("bomb", "gun", "knife", "pistol"):
        registry.concepts.add(define(slug), actor="ann")
    space = AnchorSpace("testbed", "r1", "t2i", ("blocks.0",), 64, 0.95)
    registry.versions.add("bomb", [collect(1, space=space)], actor="ann")
    registry.versions.submit("bomb", actor="ann")
    registry.versions.approve("bomb", actor="ann")
    registry.releases.add("policy", actor="ann", keys=[key])
    registry.channels.move("prod", "policy", actor="ann")
    url = registry.workspace.engine.url.render_as_string(hide_password=False)
    program = Path(__file__).with_name("workers.py")
    command = [sys.executable, program, registry.home, tmp_path / "key.pem", url]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        yield Workers(process, tmp_path / "logs")
        process.stdin.close()
