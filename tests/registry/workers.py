"""Processes that write to a registry until they are done or killed; run by the tests beside it.

Usage: workers.py HOME KEY [URL]. Each line of standard input is a JSON command, answered by a line:

- ``{"start": SEED, "log": FILE, "operations": N}`` forks a process and answers its id,
- ``{"job": NAME, "log": FILE, "home": HOME, "url": URL, "file": FILE, "kill": SECONDS}`` forks one
  that does a job, and that the system ends after that time, or never,
- ``{"wait": PID}`` answers how it ended.

Forking from a process that has imported everything takes milliseconds, so that hundreds can be
killed in a test. A process writes a line before and after each operation into its own log.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from concepts.anchors import AnchorSet, AnchorSpace
from concepts.definition import ConceptDefinition
from concepts.errors import BusyError, UVRError
from concepts.scorer import Scorer
from concepts.signing.ed25519 import PrivateKey
from registry import Registry
from registry.change.workspace import Workspace
from registry.operations import backup, collect_garbage, export_concept, import_concept, restore

# Imported on first use, half a second; here before the fork, so that no kill falls into it.
__import__("registry.store.schema")

SLUGS = ("bomb", "gun", "knife", "pistol")
SPACE = AnchorSpace("testbed", "r1", "t2i", ("blocks.0",), 64, 0.95)


class Worker:
    """One process's operations, each drawn at random; a method returns what it reports."""

    def __init__(self, registry: Registry, key: PrivateKey, seed: int) -> None:
        self.registry = registry
        self.key = key
        self.random = random.Random(seed)
        self.name = f"worker-{seed}"

    def define(self) -> dict[str, object]:
        slug, word = self.random.choice(SLUGS), self.random.getrandbits(64)
        made = ConceptDefinition(slug, slug, "object", f"A {slug} {word:x}.", (f"a {slug}",))
        self.registry.concepts.add(made, actor=self.name)
        return {"action": "concept.define", "subject": slug, "definition_digest": made.digest}

    def collect(self) -> dict[str, object]:
        slug = self.random.choice(SLUGS)
        info = self.registry.versions.add(slug, [self._collection()], actor=self.name)
        return self._version("add", info)

    def edit(self) -> dict[str, object]:
        slug = self.random.choice(SLUGS)
        seed = 1 + self.random.random() / 2  # Within reach of every collection below.
        info = self.registry.versions.edit(slug, actor=self.name, thresholds={"t2i": (seed, 1.0)})
        return self._version("edit", info)

    def submit(self) -> dict[str, object]:
        info = self.registry.versions.submit(self.random.choice(SLUGS), actor=self.name)
        return self._version("submit", info)

    def approve(self) -> dict[str, object]:
        info = self.registry.versions.approve(self.random.choice(SLUGS), actor=self.name)
        return self._version("approve", info)

    def release(self) -> dict[str, object]:
        info = self.registry.releases.add(
            "policy", actor=self.name, include="approved", keys=[self.key]
        )
        subject = f"policy#{info.sequence}"
        return {"action": "release.add", "subject": subject, "bundle_digest": info.bundle_digest}

    def move(self) -> dict[str, object]:
        info = self.registry.channels.move("prod", "policy", actor=self.name)
        return {"action": "channel.move", "subject": "prod", "number": info.moves}

    def collect_garbage(self) -> dict[str, object]:
        collect_garbage(self.registry.workspace, actor=self.name, grace="0h")
        return {}

    def _collection(self) -> tuple[AnchorSet, Scorer]:
        numbers = np.random.default_rng(self.random.getrandbits(64))
        made = AnchorSet(
            space=SPACE,
            anchors=numbers.normal(size=(1000, SPACE.dim)),
            anchor_images=np.arange(1000),
            counter_anchors=numbers.normal(size=(10, SPACE.dim)),
            counter_images=np.arange(10),
        )
        return made, Scorer("whitened", numbers.normal(size=(1, SPACE.dim)), np.zeros(1), 2.0, 1.0)

    def _version(self, action: str, info: object) -> dict[str, object]:
        subject, digest = f"{info.slug}@{info.number}", info.content_digest  # type: ignore[attr-defined]
        return {"action": f"version.{action}", "subject": subject, "content_digest": digest}


OPERATIONS = ("define", "edit", "submit", "move", "collect_garbage")
COSTLY = ("collect", "approve", "release")  # Those that matter most, drawn twice as often.


def run(worker: Worker, log: int, operations: int) -> None:
    """Do operations, telling each before and after; what the registry refuses is no failure."""
    for _ in range(operations):
        name = worker.random.choice(OPERATIONS + COSTLY + COSTLY)
        _tell(log, "begin", name, {})
        try:
            _tell(log, "done", name, getattr(worker, name)())
        except BusyError:
            raise
        except UVRError as error:
            _tell(log, "refused", name, {"error": str(error)})


def _tell(log: int, what: str, name: str, details: dict[str, object]) -> None:
    # One write each: a line is in the file whole, whenever the process is killed after it.
    os.write(log, json.dumps([what, name, details]).encode() + b"\n")


def _workspace(home: Path, url: str | None) -> Workspace:
    return Registry.open(home, url).workspace


# What one command does from beginning to end: home, database URL, file.
JOBS: dict[str, Callable[[Path, str | None, Path], object]] = {
    "create": lambda home, url, _: Registry.create(home, url),
    "backup": lambda home, url, file: backup(_workspace(home, url), file),
    "restore": lambda home, url, file: restore(file, home, url),
    "export": lambda home, url, file: export_concept(
        Registry.open(home, url).workspace, "bomb", file
    ),
    "import": lambda home, url, file: import_concept(
        Registry.open(home, url).workspace, file, actor="ann"
    ),
    "index": lambda home, url, _: Registry.open(home, url).index.build(),
}


def do(log: int, job: str, home: str, url: str | None, file: str, kill: float) -> None:
    """Do a job, and tell how long it took."""
    # Without a handler the alarm is as deadly as SIGKILL; it comes to the microsecond.
    signal.setitimer(signal.ITIMER_REAL, kill)
    begun = time.monotonic()
    JOBS[job](Path(home), url, Path(file))
    signal.setitimer(signal.ITIMER_REAL, 0)
    _tell(log, "done", job, {"seconds": time.monotonic() - begun})


def start(home: Path, key: PrivateKey, url: str | None, command: dict[str, Any]) -> int:
    """Fork a process that does what the command says; return its id."""
    child = os.fork()
    if child:
        return child
    log = os.open(command.pop("log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        if "job" in command:
            do(log, **command)
        else:
            worker = Worker(Registry.open(home, url), key, int(command["start"]))
            run(worker, log, int(command["operations"]))
    except BaseException:
        os.write(log, json.dumps(["failed", traceback.format_exc(), {}]).encode() + b"\n")
        os._exit(1)
    os._exit(0)


def main(home: str, key_file: str, url: str | None = None) -> None:
    """Answer commands until the input ends."""
    key = PrivateKey.from_pem(Path(key_file).read_bytes())
    for line in sys.stdin:
        command = json.loads(line)
        if "wait" in command:
            answer = os.waitstatus_to_exitcode(os.waitpid(command["wait"], 0)[1])
        else:
            answer = start(Path(home), key, url, command)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
