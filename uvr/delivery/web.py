"""What a web server offers, asked for by ETag and never read beyond a cap."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from urllib.parse import unquote, urlsplit, urlunsplit

import httpcore2

from concepts.errors import NotFoundError, UVRError, VerificationError
from uvr.delivery.http import SLOWEST, Deadline, get, header
from uvr.delivery.offer import Offer

MAX_ETAG = 512


@dataclass(frozen=True)
class WebFile:
    """A file on a web server.

    Attributes:
        url: Where; may hold a user and a password.
        shown: How errors name it.
        max_bytes: A larger file is refused.
        timeout: Seconds in all; see ``uvr.delivery.http``.
    """

    url: str
    shown: str
    max_bytes: int
    timeout: float

    def offer(self, etag: str) -> Offer:
        """Ask for the file, unless it is still the one of an ETag.

        Raises:
            UVRError: There is no answer, or none that can be used; NotFoundError if the server says
                that there is no file, VerificationError if the file is too large.
        """
        deadline = Deadline(self.timeout)
        try:
            return self._ask(etag, deadline)
        except httpcore2.TimeoutException:
            raise UVRError(
                f"'{self.shown}' timed out: it sends less than {SLOWEST} bytes a second."
            ) from None
        except (httpcore2.ConnectError, httpcore2.ProxyError) as error:
            raise UVRError(f"'{self.shown}' cannot be reached: {_why(error)}.") from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:
            raise UVRError(f"'{self.shown}' cannot be read: {_why(error)}.") from None
        except ValueError:
            # What it says may repeat a part of a password or of a signed query.
            raise UVRError(f"'{self.shown}' is not a valid URL.") from None

    def _ask(self, etag: str, deadline: Deadline) -> Offer:
        parts = urlsplit(self.url)
        user, _, host = parts.netloc.rpartition("@")
        bare = urlunsplit((parts.scheme.lower(), host, parts.path or "/", parts.query, ""))
        headers: dict[bytes | str, bytes | str] = {
            "Accept-Encoding": "identity",
            "User-Agent": "uvr-registry",
        }
        if etag:
            headers["If-None-Match"] = etag
        token = base64.b64encode(unquote(user).encode()).decode()
        with get(bare, headers, f"Basic {token}" if user else None, deadline) as response:
            if response.status == HTTPStatus.NOT_MODIFIED and etag:
                return Offer("", etag, None)
            if response.status != HTTPStatus.OK:
                kind = NotFoundError if response.status in (404, 410) else UVRError
                raise kind(f"'{self.shown}' answered {response.status} ({_reason(response)}).")
            data = self._body(response, deadline)
            found = header(response, "ETag")
        usable = len(found) <= MAX_ETAG and found.isascii() and found.isprintable()
        return Offer("", found if usable else "", lambda: data)

    def _body(self, response: httpcore2.Response, deadline: Deadline) -> bytes:
        """Read an answer while counting: a server may send more than it says."""
        size = header(response, "Content-Length")
        if size.isdecimal() and int(size) > self.max_bytes:
            raise self._too_large()
        # A list of parts is many times as large where each is a byte or two, and a bytearray is
        # copied at the end: this gives its own bytes away.
        read = BytesIO()
        try:
            for part in response.iter_stream():
                read.write(part)
                deadline.received = read.tell()
                if read.tell() > self.max_bytes:
                    raise self._too_large()
        except (httpcore2.RemoteProtocolError, httpcore2.ReadError):
            if size.isdecimal() and read.tell() < int(size):
                missing = int(size) - read.tell()
                raise UVRError(f"'{self.shown}' stopped {missing} bytes before the end.") from None
            raise
        return read.getvalue()

    def _too_large(self) -> VerificationError:
        return VerificationError(f"'{self.shown}' has more than {self.max_bytes} bytes.")


def _reason(response: httpcore2.Response) -> str:
    phrase: bytes = response.extensions.get("reason_phrase", b"")
    return phrase.decode("latin-1") or "without a reason"


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
