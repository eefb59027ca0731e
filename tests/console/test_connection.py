"""Connections that ask for nothing leave room for others."""

from __future__ import annotations

import asyncio

import pytest
import uvicorn
from uvicorn.server import ServerState

from console.app import make_app
from console.connection import connection_for
from console.settings import Settings


async def said(registry, settings, sent, wait, silent=0):
    """What a console answers on a connection to it, after others that say nothing."""
    made = connection_for(settings, wait)
    config = uvicorn.Config(
        make_app(registry, settings), lifespan="off", log_config=None, limit_concurrency=4
    )
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: made(config, state, {}), "127.0.0.1", 0)
    async with server:
        place = server.sockets[0].getsockname()
        others = [await asyncio.open_connection(*place) for _ in range(silent)]
        reader, writer = await asyncio.open_connection(*place)
        try:
            writer.write(sent)
            answer = await asyncio.wait_for(reader.read(), 20)
        except ConnectionError:
            answer = b""
        for _, one in [*others, (reader, writer)]:
            one.close()
    return answer, len(state.connections)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nhost: 127.0.0.1:8642\r\n"])
def test_a_connection_without_a_request_ends(solo, sent):
    assert asyncio.run(said(solo, Settings("ann"), sent, 0.1)) == (b"", 0)


def test_a_connection_of_somebody_else_ends_at_once(solo):
    settings = Settings("ann", proxies=("10.0.0.7",), user_header="X-User")
    sent = b"GET / HTTP/1.1\r\nhost: 127.0.0.1:8642\r\n\r\n"
    assert asyncio.run(said(solo, settings, sent, 60)) == (b"", 0)


def test_a_request_is_answered(solo):
    sent = b"GET / HTTP/1.1\r\nhost: 127.0.0.1:8642\r\nconnection: close\r\n\r\n"
    answer, left = asyncio.run(said(solo, Settings("ann"), sent, 60))
    assert (answer[:15], b"</html>" in answer, left) == (b"HTTP/1.1 200 OK", True, 0)


def test_connections_that_say_nothing_give_way(solo):
    sent = b"GET / HTTP/1.1\r\nhost: 127.0.0.1:8642\r\nconnection: close\r\n\r\n"
    answer, left = asyncio.run(said(solo, Settings("ann"), sent, 60, silent=9))
    assert (answer[:15], left) == (b"HTTP/1.1 200 OK", 2)
