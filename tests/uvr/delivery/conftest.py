"""Builders of signed bundles, a host that takes them, and a web server that offers them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concepts.anchors import AnchorSpace
from concepts.bundle import (
    Bundle,
    BundleVariant,
    Member,
    lock_digest,
    locked_members,
    write_bundle,
)
from concepts.scorer import Scorer
from concepts.signing.keys import KeyList, PrivateKey, sign_key_list
from uvr.delivery.source import BundleSource
from uvr.delivery.state import Accepted, TrustState

SPACE = AnchorSpace("tiny", "", "t2i", ("a",), 4, 0.5)
KEY, SECOND, OUTSIDER = (PrivateKey.generate() for _ in range(3))
KEYS = KeyList(1, 1, (KEY.public,))
REGISTRY = "0123456789abcdef" * 2
START = "2026-11-24T10:00:00.000000Z"
LATER = "2026-11-24T11:00:00.000000Z"


def make_scorer(weights: Any = ((1.0, 0, 0, 0), (0, 2, 0, 0)), seed: float = 3.0) -> Scorer:
    rows = np.array(weights, dtype=np.float32)
    return Scorer("whitened", rows, np.zeros(len(rows)), seed, seed - 1)


def make_bundle(
    sequence: int,
    *,
    name: str = "demo",
    slug: str = "ball",
    space: AnchorSpace = SPACE,
    **more: Any,
) -> Bundle:
    member = Member(slug, slug.title(), "object", 1, "a" * 64, make_scorer())
    variants = (BundleVariant(space, (member,)),)
    parts = {"registry": REGISTRY, "created": "2026-01-01T00:00:00.000000Z", **more}
    return Bundle(name, sequence, lock_digest(locked_members(variants)), variants, **parts)


def make_file(sequence: int, *signers: PrivateKey, **more: Any) -> bytes:
    return write_bundle(make_bundle(sequence, **more).sign(*(signers or (KEY,))))


@dataclass
class Clock:
    """A clock that a test sets."""

    at: str = START

    def __call__(self) -> str:
        return self.at


@dataclass
class Host:
    """A host's folder: a file that offers bundles, and the state of its source."""

    folder: Path
    clock: Clock = field(default_factory=Clock)

    @property
    def file(self) -> Path:
        return self.folder / "demo.uvr"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def offer(self, sequence: int, *signers: PrivateKey, **more: Any) -> None:
        self.file.write_bytes(make_file(sequence, *signers, **more))

    def source(self, location: Any = None, **more: Any) -> BundleSource:
        options = {"keys": KEYS, "state": self.state, "poll_seconds": 0, "clock": self.clock}
        return BundleSource(location or self.file, **{**options, "name": "demo", **more})


LIST_2 = KeyList(2, 1, (SECOND.public,), (KEY.public.key_id,))


def rotated(*, revoked: bool = True) -> dict[str, Any]:
    new = KeyList(2, 1, (SECOND.public,), (KEY.public.key_id,) if revoked else ())
    return {"key_lists": (sign_key_list(new, (KEY, SECOND)),)}


def record_of(host: Host) -> Accepted:
    found = TrustState(host.state / "demo").load()
    assert found is not None
    return found


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@dataclass
class Server:
    """A local HTTP server that answers as its ``answer`` says, and counts."""

    url: str = ""
    body: bytes = b""
    answer: str = "whole"
    codes: list[int] = field(default_factory=list)
    credentials: list[str | None] = field(default_factory=list)

    @property
    def etag(self) -> str:
        return f'"{hash(self.body)}"'


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    stop = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def begin(self, code: int, **headers: str) -> None:
            found.codes.append(code)
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()

        def do_GET(self) -> None:
            found.credentials.append(self.headers.get("Authorization"))
            size = str(len(found.body))
            if found.answer.startswith("redirect "):
                self.begin(302, Location=found.answer.removeprefix("redirect "), Content_Length="0")
            elif found.answer == "broken":
                self.begin(500, Content_Length="0")
            elif found.answer == "missing":
                self.begin(404, Content_Length="0")
            elif found.answer == "silent":
                stop.wait(30)
            elif found.answer == "trickle":
                self.begin(200, Content_Length=size)
                while not stop.wait(0.02):
                    self.wfile.write(b"x")
            elif found.answer == "cut":
                self.begin(200, Content_Length=size)
                self.wfile.write(found.body[: len(found.body) // 2])
            elif found.answer == "endless":
                self.begin(200)
                while not stop.is_set():
                    self.wfile.write(bytes(1 << 16))
            elif self.headers.get("If-None-Match") == found.etag:
                self.begin(304, ETag=found.etag)
            else:
                self.begin(200, ETag=found.etag, Content_Length=size)
                self.wfile.write(found.body)

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that gives up is what the tests are about."""

    listening = Quiet(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{listening.server_port}/demo.uvr"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    stop.set()
    listening.shutdown()
    listening.server_close()
    thread.join()
