"""The places that a source reads: files, web servers, and stores by fsspec."""

from __future__ import annotations

import json
import os
import time
import tracemalloc

import pytest

from concepts.errors import (
    NotFoundError,
    RollbackError,
    UVRError,
    VerificationError,
)
from tests.uvr.delivery.conftest import make_file
from uvr.delivery.http import SLOWEST
from uvr.delivery.location import parse_location

MIB = 1 << 20


def test_files_that_did_not_change_are_not_read_again(host):
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


def test_http_asks_with_the_etag_and_reads_only_what_changed(host, server):
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
def test_a_bad_answer_keeps_the_bundle_in_use(host, server, answer, message):
    server.body = make_file(1)
    with host.source(server.url, timeout=0.3, max_bytes=1 << 16) as source:
        server.answer, server.body = answer, make_file(2)
        with pytest.raises(UVRError, match=message):
            source.refresh()
        assert source.current.sequence == 1
        server.answer = "whole"
        assert source.refresh()


def test_http_follows_a_redirect_of_its_own_scheme_without_the_password(host, server):
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


def test_an_answer_above_the_cap_is_refused_by_its_length(host, server):
    server.body = bytes(5000)
    with pytest.raises(VerificationError, match="more than 4000 bytes"):
        host.source(server.url, max_bytes=4000).start()


@pytest.mark.parametrize("place", ["server", "file"])
def test_a_body_is_held_once_whatever_the_cap(host, server, place):
    server.body = bytes(32 * MIB)
    host.file.write_bytes(server.body)
    location = parse_location(server.url if place == "server" else host.file, 1 << 30)
    tracemalloc.start()
    try:
        (offer,) = location.offers({})
        assert offer.read is not None
        data = offer.read()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(data) == 32 * MIB
    assert peak < 40 * MIB


def test_a_server_that_is_not_there_is_named(host):
    with pytest.raises(UVRError, match=r"http://127.0.0.1:9/x' cannot be reached"):
        host.source("http://127.0.0.1:9/x").start()


def test_file_urls_and_fsspec_locations_are_read(host):
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


def test_a_rollback_is_told_as_one_for_as_long_as_it_is_offered(host, server):
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
