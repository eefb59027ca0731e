"""Serve a console until it is stopped."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable

import uvicorn

from concepts.errors import UVRError
from console.app import make_app
from console.connection import connection_for
from console.settings import Settings, check_reach
from registry.registry import Registry

MOST_AT_ONCE = 64
"""Requests in work at one time; more are told to come again."""


def serve(registry: Registry, settings: Settings, ready: Callable[[str], object]) -> None:
    """Serve a registry; Ctrl-C ends it.

    Args:
        registry: Opened.
        settings: How it is reached.
        ready: Is told the address once it can be opened.

    Raises:
        PolicyError: See ``check_reach``.
        UVRError: If the port is taken.
    """
    check_reach(settings, registry)
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("uvr.console").setLevel(logging.INFO)
    with _listen(settings) as listening:
        config = uvicorn.Config(
            make_app(registry, settings),
            http=connection_for(settings),
            # The guard looks at who is connected, so no header may say who that is.
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MOST_AT_ONCE,
            access_log=False,
            log_config=None,
            lifespan="off",
            ws="none",
        )
        ready(settings.url)
        uvicorn.Server(config).run(sockets=[listening])


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.address else socket.AF_INET
    try:
        return socket.create_server((settings.address, settings.port), family=family)
    except OSError as error:
        raise UVRError(
            f"Cannot listen on {settings.address}, port {settings.port}: {error.strerror}. Choose "
            "another with --port."
        ) from error
