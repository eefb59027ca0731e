"""Locations: hostile web servers on raw sockets, and what a location tells of itself."""

from __future__ import annotations

import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import repeat

import pytest

from concepts.errors import UVRError, VerificationError
from uvr.delivery.location import location_key, parse_location

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
FOUND = b"HTTP/1.1 302 Found\r\nLocation: /next\r\nConnection: close\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
Answer = Callable[[bytes], Iterator[bytes]]


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """Answer requests with the bytes that a function yields, until the client has had enough."""
    listening: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def talk(client: socket.socket, answer: Answer) -> None:
        with client:
            try:
                request = b""
                while b"\r\n\r\n" not in request:
                    received = client.recv(4096)
                    if not received:  # It had no time left to ask.
                        return
                    request += received
                for data in answer(request):
                    client.sendall(data)
            except OSError:
                pass  # A client that gives up is what the tests are about.

    def accept(server: socket.socket, answer: Answer) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=talk, args=(client, answer), daemon=True))
            threads[-1].start()

    def start(answer: Answer) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)
        threading.Thread(target=accept, args=(server, answer), daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}/p.uvr"

    yield start
    for server in listening:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def read(url: str, max_bytes: int = 1 << 20, timeout: float = 30.0) -> bytes:
    (offer,) = parse_location(url, max_bytes, timeout).offers({})
    assert offer.read is not None
    return offer.read()


def slowly(data: Iterator[bytes]) -> Iterator[bytes]:
    for item in data:
        time.sleep(0.05)
        yield item


@pytest.mark.parametrize(
    "begin",
    [b"HTTP/1.1 200 OK\r\nX-Slow: ", HEAD.replace(b": 2", b": 99999"), b"", CHUNKED + b"1;"],
    ids=["in a header", "in the body", "before", "in a chunk's size"],
)
def test_a_server_that_sends_a_byte_now_and_then_is_given_up(serve, begin):
    again = b"HTTP/1.1 100 Continue\r\n\r\n" if not begin else b"x"

    def answer(request: bytes) -> Iterator[bytes]:
        yield begin
        yield from slowly(repeat(again, 200))

    url, start = serve(answer), time.monotonic()
    with pytest.raises(UVRError, match="timed out"):
        read(url, timeout=0.5)
    assert time.monotonic() - start < 3


def test_all_redirects_share_the_time(serve):
    def answer(request: bytes) -> Iterator[bytes]:
        time.sleep(0.2)
        yield FOUND.replace(b"/next", b"/%d" % time.monotonic_ns())

    url, start = serve(answer), time.monotonic()
    with pytest.raises(UVRError, match="timed out"):
        read(url, timeout=0.5)
    assert time.monotonic() - start < 1.5


def test_a_server_that_goes_on_sending_has_more_time(serve):
    part = bytes(16 << 10)

    def answer(request: bytes) -> Iterator[bytes]:
        yield HEAD.replace(b"2\r\n", b"%d\r\n" % (20 * len(part)))
        yield from slowly(repeat(part, 20))

    assert len(read(serve(answer), timeout=0.5)) == 20 * len(part)


def test_the_body_of_a_redirect_is_not_read(serve):
    sent = []

    def answer(request: bytes) -> Iterator[bytes]:
        if request.startswith(b"GET /next"):
            yield HEAD + b"ok"
            return
        yield FOUND
        for _ in range(100):
            sent.append(1)
            yield bytes(1 << 20)

    assert read(serve(answer), max_bytes=1000) == b"ok"
    assert len(sent) < 50  # What the sockets' buffers take.


def test_tiny_chunks_take_no_more_memory_than_their_bytes(serve):
    def answer(request: bytes) -> Iterator[bytes]:
        yield CHUNKED
        yield from repeat(b"2\r\nab\r\n" * (1 << 14), 2)
        yield b"0\r\n\r\n"

    tracemalloc.start()
    data = read(serve(answer))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert data == b"ab" * (1 << 15)
    assert peak < 16 * len(data)


def test_the_environments_proxy_is_asked(serve, monkeypatch):
    """Which also finds the name's address; there is none of this one here."""
    asked = []

    def answer(request: bytes) -> Iterator[bytes]:
        asked.append(request)
        yield HEAD + b"ok"

    proxy = serve(answer).removesuffix("/p.uvr").replace("//", "//user:pass@")
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("no_proxy", "")
    assert read("http://bundles.invalid/p.uvr") == b"ok"
    assert asked[0].startswith(b"GET http://bundles.invalid/p.uvr HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjpwYXNz\r\n" in asked[0]


def test_a_name_without_an_address_is_told(monkeypatch):
    def none(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", none)
    with pytest.raises(UVRError, match=r"cannot be reached: .*Name or service not known"):
        read("http://bundles.invalid/p.uvr")


def test_the_cap_holds_for_chunks(serve):
    def answer(request: bytes) -> Iterator[bytes]:
        yield CHUNKED
        yield from repeat(b"2\r\nab\r\n", 100_000)

    with pytest.raises(VerificationError, match="more than 1000 bytes"):
        read(serve(answer), max_bytes=1000)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:SECRET@h/p.uvr?sig=SECRET#SECRET", "https://h/p.uvr?..."),
        ("http://user:pa/SECRET@h/p.uvr", "http://h/p.uvr"),
        ("http://h/p.uvr?sig=SECRET%20x y", "http://h/p.uvr?..."),
        ("simplecache::https://user:SECRET@h/p.uvr?x=SECRET", "simplecache::https://h/p.uvr?..."),
        ("https://h:8080/p@1.uvr", "https://h:8080/p@1.uvr"),
        ("https://h:8080", "https://h:8080"),
    ],
)
def test_a_location_does_not_tell_its_secrets(text, shown):
    location = parse_location(text, 1000)
    assert location.shown == shown


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/p.uvr?sig=SECRET%20x y",
        "http://user:SECRET/pass@127.0.0.1/p.uvr",
        "http://user:SECRET@[h/p.uvr",
        "simplecache::https://user:SECRET@127.0.0.1:1/p.uvr?sig=SECRET",
    ],
)
def test_an_error_does_not_tell_them_either(url):
    with pytest.raises(UVRError) as caught:
        read(url, timeout=1)
    assert "SECRET" not in str(caught.value)


def test_a_location_keeps_its_key_when_its_password_or_signed_query_changes():
    def key(text: str) -> str:
        return location_key(parse_location(text, 1))

    same = ("https://h/p.uvr", "https://a:b@h/p.uvr", "https://h/p.uvr?sig=1", "https://h/p.uvr#x")
    assert len({key(text) for text in same}) == 1
    others = ("https://h/p", "https://h/q", "/p?1", "/p?2", "https://h/p?a=1", "https://h/p?a=2")
    assert len({key(text) for text in others}) == 6
    assert key("https://h/p?a=1&X-Amz-Date=2") == key("https://u@h/p?X-Amz-Date=3&a=1#x")
