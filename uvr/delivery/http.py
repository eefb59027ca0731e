"""HTTP(S) under one deadline: connections, redirects and answers, however slowly bytes come.

A server gets ``timeout`` seconds in all for connections, headers and redirects, and one more for
every ``SLOWEST`` bytes of its answer. A socket's own time-out begins again with every byte: a
server that sends one now and then, in a header as well, would hold a poll for ever. So every wait
is cut to what is left of the whole. Only a name server's answer is not waited for here.
"""

from __future__ import annotations

import socket
import ssl
import string
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore2

from concepts.errors import UVRError

SLOWEST = 16 << 10
"""Bytes a second; an answer that comes more slowly than this is given up."""
MAX_REDIRECTS = 10
REDIRECTS = (301, 302, 303, 307, 308)


class Deadline:
    """When a request is over; ``received``, bytes of its answer so far, put it off."""

    def __init__(self, seconds: float) -> None:
        self.received = 0
        self._end = time.monotonic() + seconds

    def wait(self) -> float:
        """Seconds that may be waited now; TimeoutException when there are none."""
        left = self._end + self.received / SLOWEST - time.monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout("timed out")
        return left


class _Stream(httpcore2.NetworkStream):
    """A connection whose waits all end with the deadline, whatever their own time-outs are."""

    def __init__(self, plain: httpcore2.NetworkStream, deadline: Deadline) -> None:
        self._plain, self._deadline = plain, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._plain.read(max_bytes, self._deadline.wait())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._plain.write(buffer, self._deadline.wait())

    def close(self) -> None:
        self._plain.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        secure = self._plain.start_tls(ssl_context, server_hostname, self._deadline.wait())
        return _Stream(secure, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._plain.get_extra_info(info)


class _Network(httpcore2.NetworkBackend):
    """Connections under a deadline."""

    def __init__(self, deadline: Deadline) -> None:
        self._plain, self._deadline = httpcore2.SyncBackend(), deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        failure: Exception = httpcore2.ConnectError(f"'{host}' has no address")
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError(str(error)) from error
        # One address at a time, since a time-out of all would begin again with each.
        for *_, address in found:
            try:
                stream = self._plain.connect_tcp(str(address[0]), port, self._deadline.wait())
            except httpcore2.ConnectError as error:
                failure = error
            else:
                return _Stream(stream, self._deadline)
        raise failure


@contextmanager
def get(
    url: str,
    headers: Mapping[bytes | str, bytes | str],
    authorization: str | None,
    deadline: Deadline,
) -> Iterator[httpcore2.Response]:
    """Ask for a URL, follow its redirects, and give the answer before its body was read.

    Args:
        url: An ``http`` or ``https`` URL without user and fragment.
        headers: Sent with every request.
        authorization: Sent with the first alone: a redirect may lead to another host.
        deadline: Of all requests together.

    Raises:
        httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError,
            httpcore2.ProxyError: What went wrong on the way.
        UVRError: A redirect leads away from HTTP, down from HTTPS, or on and on.
        ValueError: The URL is not valid.
    """
    sent = {**headers, "Connection": "close"}
    first = sent | ({"Authorization": authorization} if authorization else {})
    for number in range(MAX_REDIRECTS + 1):
        options = first if not number else sent
        _check_url(url)
        with (
            _connections(url, deadline) as connections,
            connections.stream("GET", url, headers=options) as response,
        ):
            target = _target(url, response)
            if target is None:
                yield response
                return
        url = target  # Its body, however large it is, is not read.
    raise UVRError(f"more than {MAX_REDIRECTS} redirects are refused")


def header(response: httpcore2.Response, name: str) -> str:
    """Return the first header of a name, "" without any."""
    wanted = name.lower().encode()
    return next(
        (value.decode("latin-1") for key, value in response.headers if key.lower() == wanted), ""
    )


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if not parts.hostname or parts.port == 0 or not url.isascii() or not url.isprintable():
        raise ValueError("not a valid URL")
    if " " in url:
        raise ValueError("a URL has no spaces")


def _target(url: str, response: httpcore2.Response) -> str | None:
    """Where an answer redirects to: within a scheme, or from HTTP to HTTPS; None if nowhere."""
    place = header(response, "Location")
    if response.status not in REDIRECTS or not place:
        return None
    # Servers write what a URL cannot hold, in Latin-1 by the letter of the protocol.
    target = urljoin(url, quote(place, encoding="latin-1", safe=string.punctuation))
    before, after = (urlsplit(text).scheme for text in (url, target))
    if after != before and after != "https":
        raise UVRError(
            f"answered {response.status} (a redirect from {before} to {after} is refused)"
        )
    return target


def _connections(url: str, deadline: Deadline) -> httpcore2.ConnectionPool:
    # The system's certificates, or those that SSL_CERT_FILE names; reading them takes its time.
    secure = urlsplit(url).scheme == "https"
    return httpcore2.ConnectionPool(
        ssl_context=ssl.create_default_context() if secure else None,
        proxy=_proxy(url),
        network_backend=_Network(deadline),
    )


def _proxy(url: str) -> httpcore2.Proxy | None:
    """The proxy that the environment or the system names for a URL."""
    parts = urlsplit(url)
    named = getproxies().get(parts.scheme)
    if not named or proxy_bypass(parts.netloc):
        return None
    proxy = urlsplit(named if "://" in named else f"http://{named}")
    user = proxy.username and (unquote(proxy.username), unquote(proxy.password or ""))
    host = proxy.netloc.rpartition("@")[2]
    return httpcore2.Proxy(f"{proxy.scheme}://{host}", auth=user or None)
