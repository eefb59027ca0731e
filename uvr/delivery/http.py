"""The opener of web addresses: HTTP(S) alone, and an end to every request.

A server gets ``timeout`` seconds in all for connections, headers and redirects, and one more for
every ``SLOWEST`` bytes of its answer.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

SLOWEST = 16 << 10
"""Bytes a second; an answer that comes more slowly than this is given up."""


class Watchdog:
    """Shuts the connections of a request down once its time is over, wherever it hangs.

    A socket's own timeout begins again with every byte: a server that sends one now and then, in a
    header as well, would hold a poll for ever. Only a name server's answer is not waited for here.
    """

    def __init__(self, timeout: float) -> None:
        self.received = 0
        self.barked = False
        self._end = time.monotonic() + timeout
        self._sockets: list[socket.socket] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="uvr-watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()
        for opened in self._sockets:
            opened.close()

    @property
    def left(self) -> float:
        """Seconds that the request has left."""
        return self._end + self.received / SLOWEST - time.monotonic()

    def add(self, opened: socket.socket) -> None:
        """Watch a socket: a double of it, since the request closes its own when it likes."""
        self._sockets.append(socket.socket(fileno=socket.dup(opened.fileno())))

    def _watch(self) -> None:
        # It goes on after the end, for connections that were only being made.
        while not self._done.wait(max(self.left, 0.1)):
            if self.barked or self.left <= 0:
                self.barked = True
                for opened in list(self._sockets):
                    with suppress(OSError):
                        opened.shutdown(socket.SHUT_RDWR)


class _Plain(http.client.HTTPConnection):
    """A connection under a watchdog."""

    def __init__(self, watchdog: Watchdog, host: str, **options: Any) -> None:
        super().__init__(host, **options)
        self._watchdog = watchdog

    def connect(self) -> None:
        self.timeout = self._watchdog.left
        if self.timeout <= 0:
            raise TimeoutError("timed out")
        super().connect()
        self._watchdog.add(self.sock)


class _Secure(_Plain, http.client.HTTPSConnection):
    """The same with TLS."""


class _HTTP(urllib.request.HTTPHandler):
    def __init__(self, watchdog: Watchdog) -> None:
        super().__init__()
        self._connection = partial(_Plain, watchdog)

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, req)


class _HTTPS(urllib.request.HTTPSHandler):
    def __init__(self, watchdog: Watchdog) -> None:
        super().__init__()
        self._connection = partial(_Secure, watchdog)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, req)


class _SameScheme(urllib.request.HTTPRedirectHandler):
    """Follow redirects within a scheme, and from HTTP to HTTPS; never to files or down to HTTP."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        before, after = (urlsplit(url).scheme for url in (req.full_url, newurl))
        if after != before and after != "https":
            raise urllib.error.HTTPError(
                req.full_url, code, f"a redirect from {before} to {after} is refused", headers, fp
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any
    ) -> Any:
        fp.close()  # Or its body would be read whole, however large it is.
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def opener(watchdog: Watchdog) -> urllib.request.OpenerDirector:
    """Only what HTTP needs: an opener by default also reads files, FTP and data URLs."""
    made = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        _HTTP(watchdog),
        _HTTPS(watchdog),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _SameScheme(),
    ):
        made.add_handler(handler)
    return made
