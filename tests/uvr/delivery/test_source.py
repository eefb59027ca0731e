"""A source of bundles against real files, real HTTP servers, real keys and real kills."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
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
    read_bundle,
    write_bundle,
)
from concepts.errors import (
    ExpiredError,
    MismatchError,
    NotFoundError,
    RollbackError,
    SignatureError,
    UVRError,
    VerificationError,
)
from concepts.scorer import Scorer
from concepts.signing.keys import KeyList, PrivateKey, sign_key_list
from uvr.delivery.http import SLOWEST
from uvr.delivery.location import parse_location
from uvr.delivery.matchable import check_matchable
from uvr.delivery.poller import MAX_BACKOFF, pause
from uvr.delivery.source import BundleInUse, BundleSource
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


# A file


def test_a_newer_release_is_taken_and_whoever_holds_the_older_one_keeps_it(host: Host) -> None:
    host.offer(3)
    with host.source() as source:
        held = source.current
        assert (held.sequence, source.refresh()) == (3, False)
        host.offer(4)
        assert source.refresh()
        assert (held.sequence, source.current.sequence) == (3, 4)
        assert not source.refresh()


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (make_file(5, OUTSIDER), SignatureError, "Signed"),
        (write_bundle(make_bundle(5)), SignatureError, "Signed"),
        (make_file(3), RollbackError, "older than release 4"),
        (make_file(4, slug="cup"), VerificationError, "A release never changes"),
        (make_file(5, name="other"), VerificationError, "'demo' is expected"),
        (make_file(5, registry="f" * 32), VerificationError, "is of registry"),
        (make_file(5, expires=START), ExpiredError, "expired at"),
        (make_file(5)[:-1], VerificationError, "corrupt"),
        (b"", VerificationError, "corrupt"),
    ],
)
def test_a_bundle_that_must_not_be_taken_changes_nothing(
    host: Host, data: bytes, error: type[UVRError], message: str
) -> None:
    host.offer(4)
    with host.source() as source:
        before = source.current
        stored = (host.state / "demo" / "state.json").read_bytes()
        host.file.write_bytes(data)
        with pytest.raises(error, match=message):
            source.refresh()
        assert source.current is before
        assert message in str(source.status().last_error)
        assert (host.state / "demo" / "state.json").read_bytes() == stored
    with host.source() as again:  # and the same after a restart
        assert again.current.sequence == 4


def test_a_start_without_a_valid_bundle_raises_what_is_wrong_with_it(host: Host) -> None:
    with pytest.raises(NotFoundError, match="No bundle file at"):
        host.source().start()
    host.offer(1, OUTSIDER)
    with pytest.raises(SignatureError):
        host.source().start()
    with host.source(require=False) as source:
        assert source.status().state == "failed"
        with pytest.raises(NotFoundError, match=r"No bundle was loaded.*Signed"):
            _ = source.current
        host.offer(1)
        assert source.refresh()
        assert source.current.sequence == 1


def test_too_large_a_file_is_refused_unread(host: Host) -> None:
    host.offer(1)
    with pytest.raises(VerificationError, match="more than 1000 bytes"):
        host.source(max_bytes=1000).start()
    pipe = host.folder / "pipe"
    os.mkfifo(pipe)  # Opening it would wait for ever.
    with pytest.raises(VerificationError, match="not a regular file"):
        host.source(pipe).start()


def test_without_keys_only_the_integrity_is_checked(host: Host) -> None:
    host.file.write_bytes(write_bundle(make_bundle(1)))
    with host.source(keys=None) as source:
        assert source.status().key_list_version is None
        host.file.write_bytes(write_bundle(make_bundle(2))[:-3])
        with pytest.raises(VerificationError):
            source.refresh()


def test_keys_are_read_from_a_file(host: Host) -> None:
    host.offer(1)
    keys = host.folder / "keys.json"
    keys.write_bytes(KEYS.to_bytes())
    with host.source(keys=keys) as source:
        assert source.status().key_list_version == 1
    with pytest.raises(NotFoundError, match="No key list"):
        host.source(keys=host.folder / "none")


# A folder


def test_the_newest_valid_release_of_a_folder_is_taken(host: Host) -> None:
    folder = host.folder / "releases"
    folder.mkdir()
    with pytest.raises(NotFoundError, match=r"No \*.uvr file"):
        host.source(folder).start()
    for sequence in (2, 9, 10):
        (folder / f"demo-{sequence}.uvr").write_bytes(make_file(sequence))
    (folder / "demo-11.uvr").write_bytes(make_file(11)[:-9])
    (folder / "demo-12.uvr").write_bytes(make_file(12, OUTSIDER))
    (folder / ".demo-13.uvr").write_bytes(make_file(13))
    with host.source(folder) as source:
        assert source.current.sequence == 10
        assert "Signed" in str(source.status().last_error)
        (folder / "a.uvr").write_bytes(make_file(14))
        assert source.refresh()
        assert source.current.sequence == 14
        (folder / "a.uvr").unlink()
        with pytest.raises(UVRError):
            source.refresh()
        assert source.current.sequence == 14


def test_files_that_did_not_change_are_not_read_again(host: Host) -> None:
    host.offer(1)
    old = time.time() - 60
    location = parse_location(host.file, 1 << 20)
    (first,) = location.offers({})
    assert first.validator == ""  # It may change again within the same time stamp.
    os.utime(host.file, (old, old))
    time.sleep(2.1)  # The change of the time stamp is a change itself.
    (first,) = location.offers({})
    (second,) = location.offers({"": first.validator})
    assert (bool(first.validator), second.read) == (True, None)
    host.file.write_bytes(b"other")
    (third,) = location.offers({"": first.validator})
    assert third.read is not None
    assert third.read() == b"other"


# HTTP


def test_http_asks_with_the_etag_and_reads_only_what_changed(host: Host, server: Server) -> None:
    server.body = make_file(1)
    with host.source(server.url) as source:
        assert not source.refresh()
        server.body = make_file(2)
        assert source.refresh()
    with host.source(server.url) as source:
        assert source.current.sequence == 2
    assert server.codes == [200, 304, 200, 304]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("broken", "answered 500"),
        ("missing", "answered 404"),
        ("silent", "timed out"),
        ("trickle", f"less than {SLOWEST} bytes a second"),
        ("cut", "bytes before the end"),
        ("endless", "more than 65536 bytes"),
        ("redirect file:///etc/hostname", "answered 302"),
        ("redirect ftp://127.0.0.1/demo.uvr", "refused"),
    ],
)
def test_a_bad_answer_keeps_the_bundle_in_use(
    host: Host, server: Server, answer: str, message: str
) -> None:
    server.body = make_file(1)
    with host.source(server.url, timeout=0.3, max_bytes=1 << 16) as source:
        server.answer, server.body = answer, make_file(2)
        with pytest.raises(UVRError, match=message):
            source.refresh()
        assert source.current.sequence == 1
        server.answer = "whole"
        assert source.refresh()


def test_http_follows_a_redirect_of_its_own_scheme_without_the_password(
    host: Host, server: Server
) -> None:
    server.body = make_file(1)
    secret = server.url.replace("http://", "http://user:pass%40word@")
    server.answer = f"redirect {server.url}?moved"
    source = host.source(f"{secret}?token=abc")
    with pytest.raises(UVRError) as caught:
        source.start()  # It leads to itself.
    for text in (str(caught.value), json.dumps(source.status().to_dict())):
        assert "pass" not in text
        assert "abc" not in text
    assert server.credentials[0] == "Basic dXNlcjpwYXNzQHdvcmQ="
    assert set(server.credentials[1:]) == {None}


def test_an_answer_above_the_cap_is_refused_by_its_length(host: Host, server: Server) -> None:
    server.body = bytes(5000)
    with pytest.raises(VerificationError, match="more than 4000 bytes"):
        host.source(server.url, max_bytes=4000).start()


def test_a_server_that_is_not_there_is_named(host: Host) -> None:
    with pytest.raises(UVRError, match=r"http://127.0.0.1:9/x' cannot be reached"):
        host.source("http://127.0.0.1:9/x").start()


# Other places


def test_file_urls_and_fsspec_locations_are_read(host: Host) -> None:
    fsspec = pytest.importorskip("fsspec")
    host.offer(1)
    with host.source(host.file.as_uri()) as source:
        assert source.current.sequence == 1
    store = fsspec.filesystem("memory")
    store.pipe("/bundles/demo.uvr", make_file(2))
    with host.source("memory://bundles/demo.uvr") as source:
        assert source.current.sequence == 2
        store.pipe("/bundles/demo.uvr", make_file(3))
        assert source.refresh()
    with pytest.raises(VerificationError, match="more than 100 bytes"):
        host.source("memory://bundles/demo.uvr", max_bytes=100, name="two").start()
    with pytest.raises(NotFoundError, match="No bundle file at 'memory://none'"):
        host.source("memory://none", name="three").start()
    with pytest.raises(UVRError, match="cannot be read"):
        host.source("nonsense://x", name="four").start()
    with pytest.raises(NotFoundError, match="three slashes"):
        host.source("file://elsewhere/x", name="five").start()


# State


def test_the_last_known_good_is_verified_again_and_serves_without_the_location(host: Host) -> None:
    host.offer(7)
    host.source().start()
    host.file.unlink()
    with host.source() as source:
        assert source.current.sequence == 7
        assert "No bundle file" in str(source.status().last_error)
    stored = host.state / "demo" / "bundle.uvr"
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.write_bytes(data)
    with pytest.raises(VerificationError, match="last known good"):
        host.source().start()
    host.offer(6)
    with pytest.raises(RollbackError, match="older than release 7"):
        host.source().start()  # What was accepted is not forgotten with the file.
    host.offer(7)
    with host.source() as source:
        assert source.current.sequence == 7
    assert read_bundle(stored, KEYS).sequence == 7


def test_any_damage_to_the_record_is_an_error(host: Host) -> None:
    host.offer(7)
    host.source().start()
    record = host.state / "demo" / "state.json"
    whole = record.read_bytes()
    rng = random.Random(5)
    for position in range(0, len(whole), 7):
        broken = bytearray(whole)
        broken[position] ^= 1 << rng.randrange(8)
        record.write_bytes(broken)
        with pytest.raises(VerificationError, match="is damaged"):
            host.source(require=False).start()
    for broken in (b"", whole[:-1], whole + b"\n", b"{}", b"[]", b"null"):
        record.write_bytes(broken)
        with pytest.raises(VerificationError, match="is damaged"):
            host.source(require=False).start()
    record.write_bytes(whole)
    with host.source() as source:
        assert source.current.sequence == 7


def test_a_bundle_ahead_of_its_record_is_taken_up(host: Host) -> None:
    """As a kill between the two writes leaves it, also at the first one."""
    stored, record = host.state / "demo" / "bundle.uvr", host.state / "demo" / "state.json"
    for sequence in (3, 4):
        stored.parent.mkdir(parents=True, exist_ok=True)
        stored.write_bytes(make_file(sequence))
        with host.source() as source:
            assert source.current.sequence == sequence
        assert json.loads(record.read_bytes())["sequence"] == sequence
    stored.write_bytes(make_file(2))
    with pytest.raises(VerificationError, match="older than release 4"):
        host.source().start()
    record.unlink()
    stored.write_bytes(make_file(5, OUTSIDER))
    host.offer(9)
    with pytest.raises(VerificationError, match="last known good"):
        host.source().start()


def test_two_processes_share_a_state_and_neither_takes_it_back(host: Host) -> None:
    host.offer(3)
    other = host.folder / "other.uvr"
    other.write_bytes(make_file(3))
    with host.source() as first, host.source(other) as second:
        host.offer(5)
        assert first.refresh()
        other.write_bytes(make_file(4))
        with pytest.raises(RollbackError, match="older than release 5"):
            second.refresh()
        other.write_bytes(make_file(5, slug="cup"))
        with pytest.raises(VerificationError, match="never changes"):
            second.refresh()
        assert second.current.sequence == 5  # What the other one has accepted, it takes up.
    assert json.loads((host.state / "demo" / "state.json").read_bytes())["sequence"] == 5


def record_of(host: Host) -> Accepted:
    found = TrustState(host.state / "demo").load()
    assert found is not None
    return found


def test_no_worker_of_a_shared_state_undoes_a_revocation(host: Host) -> None:
    host.offer(5)
    with host.source() as first, host.source() as second:
        host.offer(6, SECOND, **rotated())
        assert first.refresh()
        host.offer(7, KEY, slug="evil")
        for source in (first, second):
            with pytest.raises(SignatureError, match="revoked"):
                source.refresh()
            assert (source.current.sequence, source.status().key_list_version) == (6, 2)
    assert (record_of(host).sequence, record_of(host).keys) == (6, LIST_2)


def test_a_poll_does_not_take_a_newer_key_list_back(host: Host) -> None:
    host.offer(5)
    newer = KeyList(2, 1, (KEY.public, SECOND.public))
    with host.source() as first, host.source(keys=newer):
        assert record_of(host).keys == newer
        first.refresh()
        assert record_of(host).keys == newer
        assert first.status().key_list_version == 2


def test_a_record_is_followed_only_by_one_of_its_bundle_and_its_keys(tmp_path: Path) -> None:
    """Also when another process wrote it while the bundle was being verified."""
    state = TrustState(tmp_path / "demo")
    held = Accepted("demo", REGISTRY, 5, "a" * 64, KEYS, (KEY.public.key_id,), "", START)
    state.accept(replace(held, keys=LIST_2, signers=(SECOND.public.key_id,)), b"bundle")
    before = state.load()
    for change, error, message in (
        ({"sequence": 6}, RollbackError, "Key list 2 has become trusted"),
        ({"sequence": 6, "keys": None}, RollbackError, "Key list 2 has become trusted"),
        ({"sequence": 6, "keys": LIST_2, "name": "other"}, VerificationError, "bundle 'demo'"),
        ({"sequence": 6, "keys": LIST_2, "registry": "f" * 32}, VerificationError, "registry '01"),
        ({"sequence": 4, "keys": LIST_2}, RollbackError, "another process"),
        ({"keys": LIST_2, "digest": "b" * 64}, VerificationError, "never changes"),
        ({"keys": KeyList(2, 1, (KEY.public,))}, VerificationError, "not the key list 2"),
    ):
        with pytest.raises(error, match=message):
            state.accept(replace(held, **change), b"other")
    state.checked(replace(held, checked_at=LATER, etag="new"))
    assert state.load() == replace(before or held, checked_at=LATER, etag="new")
    assert state.load_bundle() == b"bundle"


def test_two_workers_that_expect_no_name_agree_on_the_first_one(host: Host) -> None:
    host.offer(5)
    first, second = host.source(name=None), host.source(name=None)
    first.start()
    host.offer(6, name="other")
    for source in (first, second):
        with pytest.raises(VerificationError, match="'demo' is expected"):
            source.refresh()
    assert second.current.name == "demo"


def test_what_killed_writers_left_is_removed(host: Host) -> None:
    host.offer(1)
    host.source().start()
    left = host.state / "demo" / ".bundle.uvr.0123.partial"
    left.write_bytes(b"half")
    host.source().start()
    assert not left.exists()


def test_a_state_that_cannot_be_written_keeps_the_bundle_in_use(host: Host) -> None:
    host.offer(1)
    with host.source() as source:
        (host.state / "demo" / ".bundle.uvr.partial").mkdir()
        host.offer(2)
        with pytest.raises(UVRError, match="cannot be written"):
            source.refresh()
        assert source.current.sequence == 1


def test_the_state_belongs_to_one_bundle_and_its_keys(host: Host) -> None:
    host.offer(1)
    host.source().start()
    with pytest.raises(VerificationError, match="no keys are given now"):
        host.source(keys=None).start()
    with pytest.raises(VerificationError, match="not the key list 1"):
        host.source(keys=KeyList(1, 1, (SECOND.public,))).start()
    with pytest.raises(ValueError, match="not the name of a bundle"):
        host.source(name="../demo")
    host.source(name=None).start()
    assert len(list(host.state.iterdir())) == 2


# Keys


LIST_2 = KeyList(2, 1, (SECOND.public,), (KEY.public.key_id,))


def rotated(*, revoked: bool = True) -> dict[str, Any]:
    new = KeyList(2, 1, (SECOND.public,), (KEY.public.key_id,) if revoked else ())
    return {"key_lists": (sign_key_list(new, (KEY, SECOND)),)}


def test_a_rotation_is_followed_without_a_restart_and_kept(host: Host) -> None:
    host.offer(1)
    with host.source() as source:
        host.offer(2, SECOND, **rotated())
        assert source.refresh()
        assert source.status().key_list_version == 2
        host.offer(3, KEY)
        with pytest.raises(SignatureError):
            source.refresh()
        host.offer(3, SECOND)  # A host that knows the new list needs no chain.
        assert source.refresh()
    host.offer(4, KEY)
    with host.source() as again:  # given the first list still
        assert (again.current.sequence, again.status().key_list_version) == (3, 2)
        assert "Signed" in str(again.status().last_error)


def test_a_newer_key_list_given_by_hand_holds(host: Host) -> None:
    host.offer(1)
    host.source().start()
    newer = KeyList(2, 1, (SECOND.public,), (KEY.public.key_id,))
    with pytest.raises(SignatureError):
        host.source(keys=newer).start()
    host.offer(2, SECOND)
    with host.source(keys=newer) as source:
        assert source.current.sequence == 2


@pytest.mark.parametrize(
    ("signer", "change", "error"),
    [
        (SECOND, {"expires": START}, ExpiredError),
        (SECOND, {"name": "other"}, VerificationError),
        (OUTSIDER, {}, SignatureError),
    ],
    ids=["expired", "another bundle", "not signed"],
)
@pytest.mark.parametrize("accepted", [True, False])
def test_a_key_list_in_a_refused_bundle_is_kept(
    host: Host,
    signer: PrivateKey,
    change: dict[str, Any],
    error: type[UVRError],
    accepted: bool,
) -> None:
    if accepted:
        host.offer(5)
    with host.source(require=False) as source:
        host.offer(6, signer, **rotated(), **change)
        with pytest.raises(error):
            source.refresh()
        assert record_of(host).keys == LIST_2
        host.offer(7, KEY)
        with pytest.raises(SignatureError, match="revoked"):
            source.refresh()
    with host.source(require=False) as again:  # given the first list still
        assert again.status().key_list_version == 2
        assert "revoked" in str(again.status().last_error)


@pytest.mark.parametrize("unsettled", [60, -1], ids=["read again", "not read again"])
def test_a_bundle_of_a_key_that_was_revoked_is_not_confirmed_again(
    host: Host, unsettled: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uvr.delivery.location.UNSETTLED", unsettled)
    folder = host.folder / "releases"
    folder.mkdir()
    (folder / "demo-5.uvr").write_bytes(make_file(5))
    with host.source(folder) as source:
        (folder / "demo-6.uvr").write_bytes(make_file(6, SECOND, expires=START, **rotated()))
        for error in (ExpiredError, SignatureError):
            with pytest.raises(error):
                source.refresh()
            (folder / "demo-6.uvr").unlink(missing_ok=True)
        assert source.current.sequence == 5  # It serves, and is stale once max_age is over.


def test_a_key_list_from_another_worker_has_everything_verified_again(
    host: Host, server: Server
) -> None:
    newer = KeyList(2, 1, (KEY.public, SECOND.public))
    server.body = make_file(5)
    host.offer(5)
    with host.source() as first, host.source(server.url) as second:
        host.offer(6, expires=START, key_lists=(sign_key_list(newer, (KEY,)),))
        with pytest.raises(ExpiredError):
            first.refresh()
        for _ in range(3):
            assert not second.refresh()
        assert second.status().key_list_version == 2
    assert server.codes == [200, 200, 304, 304]


def test_a_huge_number_by_a_stolen_key_ends_with_its_revocation(host: Host) -> None:
    host.offer(5)
    with host.source() as source:
        host.offer(2**53 - 1, slug="evil")
        with pytest.raises(VerificationError, match="Ask the publisher whether a key was stolen"):
            source.refresh()
        host.offer(900_000, slug="evil")
        assert source.refresh()
        host.offer(6)
        with pytest.raises(RollbackError):
            source.refresh()
    with host.source() as source, host.source() as other:
        host.offer(6, SECOND, **rotated())
        assert source.refresh()
        assert (source.current.sequence, source.current.slugs) == (6, ["ball"])
        assert other.refresh()
        host.offer(5, SECOND)
        with pytest.raises(RollbackError, match="older than release 6"):
            source.refresh()  # The new number binds again.
    assert record_of(host).signers == (SECOND.public.key_id,)


def test_a_number_binds_while_enough_of_its_signers_are_trusted(host: Host) -> None:
    both = KeyList(1, 2, (KEY.public, SECOND.public))
    third = KeyList(2, 2, (KEY.public, SECOND.public, OUTSIDER.public))
    host.offer(5, KEY, SECOND)
    host.source(keys=both).start()
    chain = (sign_key_list(third, (KEY, SECOND)),)
    host.offer(4, KEY, SECOND, key_lists=chain)
    with host.source(keys=both) as source:
        assert source.current.sequence == 5
        assert "older than release 5" in str(source.status().last_error)
        assert source.status().key_list_version == 2


# Staleness


@pytest.mark.parametrize(
    ("policy", "state"), [("warn", "stale"), ("degraded", "degraded"), ("fail_closed", "failed")]
)
@pytest.mark.parametrize("why", ["expired", "unconfirmed"])
def test_a_stale_bundle_is_served_or_refused_as_the_host_chose(
    host: Host, policy: str, state: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    host.offer(1, expires=LATER if why == "expired" else None)
    options = {"stale": policy, "max_age": 600 if why == "unconfirmed" else None}
    with host.source(**options) as source:
        assert source.status().state == "ok"
        host.clock.at = LATER
        status = source.status()
        assert (status.state, bool(status.stale)) == (state, True)
        with caplog.at_level(logging.WARNING, "uvr.source"):
            if policy == "fail_closed":
                with pytest.raises(ExpiredError, match="is stale"):
                    _ = source.current
            else:
                assert [source.current.sequence for _ in range(3)] == [1, 1, 1]
        assert caplog.text.count("the bundle is stale") == 1
    if why == "expired":
        host.file.unlink()
        if policy == "fail_closed":
            with pytest.raises(ExpiredError):
                host.source(**options).start()
        else:  # as it would be served without a restart
            with host.source(**options) as source:
                assert (source.current.sequence, source.status().state) == (1, state)


def test_a_bundle_and_its_state_are_read_at_once(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.offer(1, expires=LATER)
    with host.source(stale="degraded") as source:
        host.clock.at = LATER
        host.offer(2)
        log_staleness = source._log_staleness

        def swap(stale: str | None) -> None:
            log_staleness(stale)
            source.refresh()

        monkeypatch.setattr(source, "_log_staleness", swap)
        first, second = source.in_use(), source.in_use()
    stale = f"it expired at {LATER}"
    assert first == BundleInUse(first.bundle, "degraded", stale)
    assert second == BundleInUse(second.bundle, "ok", None)
    assert (first.bundle.sequence, second.bundle.sequence) == (1, 2)


def test_a_confirmation_ends_staleness_and_its_age_survives_a_restart(host: Host) -> None:
    host.offer(1)
    with host.source(max_age=600) as source:
        host.clock.at = LATER
        assert source.status().state == "stale"
        source.refresh()
        assert source.status().state == "ok"
    host.file.unlink()
    host.clock.at = "2026-11-24T12:00:00.000000Z"
    with host.source(max_age=600) as source:
        assert source.status().state == "stale"
        assert source.status().checked_at == LATER


def test_a_clock_that_was_ahead_once_does_not_count_for_ever(host: Host) -> None:
    options = {"max_age": 60, "stale": "fail_closed"}
    host.clock.at = "2099-01-01T00:00:00.000000Z"
    host.offer(1)
    host.source(**options).start()
    host.file.unlink()
    host.clock.at = START
    with pytest.raises(ExpiredError, match="which is in the future"):
        host.source(**options).start()
    host.offer(1)
    with host.source(**options) as source:
        assert source.status().checked_at == record_of(host).checked_at == START
    host.file.unlink()
    host.clock.at = LATER
    with pytest.raises(ExpiredError, match="more than 60 seconds ago"):
        host.source(**options).start()


# Bundles that do not fit this host


def test_a_release_that_does_not_fit_leaves_the_last_known_good(host: Host) -> None:
    def accept(bundle: Bundle) -> None:
        bundle.variant_for("tiny", "t2i")

    elsewhere = replace(SPACE, model="other")
    host.offer(5)
    with host.source(accept=accept) as source:
        host.offer(6, space=elsewhere)
        with pytest.raises(MismatchError, match="no anchors for model 'tiny'"):
            source.refresh()
        assert source.current.sequence == 5
        host.offer(5)
        assert not source.refresh()
    with host.source(accept=accept) as source:
        assert source.current.sequence == 5
        host.offer(7)
        assert source.refresh()


# What is too old


def test_a_rollback_is_told_as_one_for_as_long_as_it_is_offered(host: Host, server: Server) -> None:
    server.body = make_file(5)
    with host.source(server.url) as source:
        server.body = make_file(4)
        for _ in range(3):
            with pytest.raises(RollbackError, match="older than release 5"):
                source.refresh()
        assert "older than release 5" in str(source.status().last_error)
        server.body = make_file(6)
        assert source.refresh()
    assert server.codes == [200, 200, 304, 304, 200]


# Polling


def test_a_thread_polls_until_it_is_closed(host: Host) -> None:
    host.offer(1)
    with host.source(poll_seconds=0.02) as source:
        host.offer(2)
        deadline = time.monotonic() + 10
        while source.current.sequence != 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert source.current.sequence == 2
        host.file.write_bytes(b"")
        while not source.status().last_error and time.monotonic() < deadline:
            time.sleep(0.01)
        host.offer(3)
        while source.status().last_error and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (source.current.sequence, source.status().last_error) == (3, None)
    assert not [thread for thread in threading.enumerate() if thread.name == "uvr-source"]


FORK = """
import os, sys, threading, time
from pathlib import Path
from concepts.signing.keys import KeyList
from uvr.delivery.source import BundleInUse, BundleSource
folder, keys = Path(sys.argv[1]), KeyList.from_bytes(Path(sys.argv[2]).read_bytes())
offer = folder / "offer.uvr"
source = BundleSource(offer, keys=keys, state=folder / "state", poll_seconds=0.05).start()
polls = threading.Event()
def poll():
    with source._poller.turn:
        polls.set()
        time.sleep(0.5)
threading.Thread(target=poll).start()
polls.wait()
child = os.fork()
offer.write_bytes((folder / "next.uvr").read_bytes())
deadline = time.monotonic() + 10
while source.current.sequence != 2 and time.monotonic() < deadline:
    time.sleep(0.01)
if child == 0:
    os._exit(source.current.sequence)
print(source.current.sequence, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_goes_on_polling(tmp_path: Path) -> None:
    keys, script = tmp_path / "keys.json", tmp_path / "fork.py"
    keys.write_bytes(KEYS.to_bytes())
    script.write_text(FORK)
    (tmp_path / "offer.uvr").write_bytes(make_file(1))
    (tmp_path / "next.uvr").write_bytes(make_file(2))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(keys)],
        capture_output=True, text=True, env=environment, timeout=60, check=False,
    )  # fmt: skip
    assert (ran.stdout, ran.returncode) == ("2 2\n", 0), ran.stderr


def test_pauses_grow_with_failures_up_to_a_cap_and_are_never_in_step() -> None:
    for failures, least, most in ((0, 8, 12), (1, 16, 24), (2, 32, 48), (9, 80, 100)):
        pauses = [pause(10, failures) for _ in range(200)]
        assert least <= min(pauses) < max(pauses) <= min(most, MAX_BACKOFF * 10)
    assert len({pause(10, 0) for _ in range(20)}) > 15


# The smoke query


def test_scorers_that_can_match_pass_and_others_do_not() -> None:
    def bundle_of(scorer: Scorer, threshold: float | None = None) -> Bundle:
        member = Member("ball", "Ball", "object", 1, "a" * 64, scorer, threshold=threshold)
        variants = (BundleVariant(SPACE, (member,)),)
        return Bundle("demo", 1, lock_digest(locked_members(variants)), variants)

    rng = np.random.default_rng(3)
    for _ in range(300):
        weights = rng.normal(size=(rng.integers(1, 5), 4)) * 10 ** rng.uniform(-4, 4)
        offset = rng.normal(size=len(weights)) * 10 ** rng.uniform(-3, 3)
        seed = rng.normal() * 10 ** rng.uniform(-3, 4)
        scorer = Scorer("whitened", weights.astype(np.float32), offset, seed, seed)
        check_matchable(bundle_of(scorer))
        check_matchable(bundle_of(scorer, threshold=1e6))
    with pytest.raises(MismatchError, match="'ball'"):
        check_matchable(bundle_of(make_scorer(((0, 0, 0, 0), (0, 2, 0, 0)))))
    with pytest.raises(MismatchError, match="'ball'"):
        check_matchable(bundle_of(make_scorer(((1e-30, 0, 0, 0),)), threshold=1e20))


def test_the_smoke_query_takes_no_more_memory_than_its_scorer_many_times() -> None:
    rows = np.ones((20_000, 4), dtype=np.float32)
    member = Member("ball", "Ball", "object", 1, "a" * 64, make_scorer(rows))
    variants = (BundleVariant(SPACE, (member,)),)
    bundle = Bundle("demo", 1, lock_digest(locked_members(variants)), variants)
    tracemalloc.start()
    check_matchable(bundle)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * rows.nbytes


# Kills

WORKER = """
import sys
from pathlib import Path
from concepts.signing.keys import KeyList
from uvr.delivery.source import BundleInUse, BundleSource
folder, keys = Path(sys.argv[1]), KeyList.from_bytes(Path(sys.argv[2]).read_bytes())
files = sorted(folder.glob("release-*"))
offer = folder / "offer.uvr"
source = BundleSource(offer, keys=keys, state=folder / "state", name="demo", require=False,
                      poll_seconds=0)
offer.write_bytes(files[0].read_bytes())
source.start()
print("ready", flush=True)
for file in files[source.current.sequence:]:
    offer.write_bytes(file.read_bytes())
    source.refresh()
    print(source.current.sequence, flush=True)
"""


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_a_kill_at_any_moment_never_loses_what_was_accepted(tmp_path: Path, seed: int) -> None:
    """Each kill is followed by a start that must hold at least the release last announced."""
    rng = random.Random(seed)
    keys, script = tmp_path / "keys.json", tmp_path / "worker.py"
    keys.write_bytes(KEYS.to_bytes())
    script.write_text(WORKER)
    for sequence in range(1, 400):
        (tmp_path / f"release-{sequence:04d}").write_bytes(make_file(sequence))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    announced, kills = 1, 0  # The first is accepted before a worker is ready.
    while kills < 12:
        worker = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path), str(keys)],
            stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0, 0.05))
        worker.send_signal(signal.SIGKILL)
        out, _ = worker.communicate()
        kills += worker.returncode == -signal.SIGKILL
        announced = max([announced, *map(int, out.split())])
        offline = tmp_path / "gone.uvr"
        with BundleSource(
            offline, keys=KEYS, state=tmp_path / "state", name="demo", poll_seconds=0
        ) as source:
            accepted = source.current.sequence
        assert accepted in (announced, announced + 1), f"seed {seed}, kill {kills}"
        announced = accepted
    assert announced > 3


def test_status_is_plain_json(host: Host) -> None:
    host.offer(1, expires=LATER)
    with host.source() as source:
        digest = source.current.digest
        found = json.loads(json.dumps(source.status().to_dict()))
    assert found == {
        "location": str(host.file), "state": "ok", "bundle": "demo", "sequence": 1,
        "digest": digest, "checked_at": START, "loaded_at": START, "expires": LATER,
        "stale": None, "last_error": None, "key_list_version": 1,
    }  # fmt: skip


def test_an_empty_bundle_is_a_bundle(host: Host) -> None:
    empty = replace(make_bundle(1), variants=(), lock_digest=lock_digest([]), digest="")
    host.file.write_bytes(write_bundle(empty.sign(KEY)))
    with host.source() as source:
        assert source.current.slugs == []
