"""Where bundles are offered: a file, a folder, HTTP(S), or anything that fsspec reads.

``offers`` lists what a place offers now. A *validator* (an ETag, or what the file system says of a
file) stands for the bytes behind it: as long as it stays the same, nothing is read again. Nothing
that is read here is trusted, and never more than ``max_bytes`` of it is held.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import url2pathname

from concepts.errors import NotFoundError, UVRError, VerificationError

CHUNK = 1 << 20
SLOWEST = 16 << 10
"""Bytes a second; an answer that comes more slowly than this is given up."""
UNSETTLED = 2.0
"""Seconds in which a file can change again without its time stamp showing it."""
MAX_ETAG = 512


@dataclass(frozen=True)
class Offer:
    """One bundle file on offer.

    Attributes:
        name: Name within a folder, "" elsewhere.
        validator: Stands for the bytes; "" when nothing can.
        read: Returns the bytes; None when they are those that the validator stood for before.
    """

    name: str
    validator: str
    read: Callable[[], bytes] | None


@dataclass(frozen=True)
class Location:
    """A place that offers bundles.

    Attributes:
        text: Path or URL.
        max_bytes: A larger file is refused.
        timeout: Seconds without a byte after which a server is given up.
    """

    text: str
    max_bytes: int
    timeout: float = 30.0

    @property
    def shown(self) -> str:
        """The location without a password and without a query, which may hold a signature."""
        if not self._scheme:
            return self.text
        parts = urlsplit(self.text)
        host = parts.netloc.rpartition("@")[2]
        query = "..." if parts.query else ""
        return urlunsplit((parts.scheme, host, parts.path, query, ""))

    def offers(self, validators: Mapping[str, str]) -> Iterator[Offer]:
        """List what is offered now; a folder's files from the last name to the first.

        Args:
            validators: Of what is known already, by name.

        Raises:
            UVRError: The place cannot be reached, or holds nothing; NotFoundError if it says so.
        """
        if self._scheme in ("http", "https"):
            yield self._from_http(validators.get("", ""))
        elif self._scheme in ("", "file"):
            yield from self._from_disk(validators)
        else:
            yield self._from_fsspec(validators.get("", ""))

    @property
    def _scheme(self) -> str:
        return urlsplit(self.text).scheme.lower() if "://" in self.text else ""

    def _from_disk(self, validators: Mapping[str, str]) -> Iterator[Offer]:
        path = self._path()
        if not path.is_dir():
            yield self._file_offer("", path, validators)
            return
        files = [file for file in path.glob("*.uvr") if not file.name.startswith(".")]
        if not files:
            raise NotFoundError(f"No *.uvr file in the folder '{self.shown}'.")
        # "policy-10" is after "policy-9"; the newest first saves reading the older ones in full.
        for file in sorted(files, key=lambda file: (len(file.name), file.name), reverse=True):
            yield self._file_offer(file.name, file, validators)

    def _path(self) -> Path:
        if not self._scheme:
            return Path(self.text)
        parts = urlsplit(self.text)
        if parts.netloc not in ("", "localhost"):
            raise NotFoundError(
                f"'{self.shown}' names the host '{parts.hostname}'; a file URL has three slashes."
            )
        return Path(url2pathname(parts.path))

    def _file_offer(self, name: str, path: Path, validators: Mapping[str, str]) -> Offer:
        try:
            found = path.stat()
        except OSError:
            return Offer(name, "", lambda: self._read_file(path))  # Reading it says what is wrong.
        identity = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        settled = time.time() - found.st_ctime > UNSETTLED
        validator = ":".join(map(str, identity)) if settled else ""
        if validator and validators.get(name) == validator:
            return Offer(name, validator, None)
        return Offer(name, validator, lambda: self._read_file(path))

    def _read_file(self, path: Path) -> bytes:
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise VerificationError(f"'{path}' is not a regular file.")
            with path.open("rb") as file:
                return self._capped(file.read(self.max_bytes + 1))
        except FileNotFoundError as error:
            raise NotFoundError(f"No bundle file at '{path}'.") from error
        except OSError as error:
            raise UVRError(f"'{path}' cannot be read: {error.strerror}.") from error

    def _from_http(self, etag: str) -> Offer:
        request = self._request(etag)
        try:
            with _opener().open(request, timeout=self.timeout) as response:
                return self._answer(response)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == http.HTTPStatus.NOT_MODIFIED and etag:
                return Offer("", etag, None)
            kind = NotFoundError if error.code in (404, 410) else UVRError
            raise kind(f"'{self.shown}' answered {error.code} ({error.reason}).") from None
        except urllib.error.URLError as error:
            raise UVRError(f"'{self.shown}' cannot be reached: {error.reason}.") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise UVRError(f"'{self.shown}' cannot be read: {_why(error)}.") from None

    def _request(self, etag: str) -> urllib.request.Request:
        parts = urlsplit(self.text)
        user, _, host = parts.netloc.rpartition("@")
        bare = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
        headers = {"Accept-Encoding": "identity", "User-Agent": "uvr-registry"}
        if etag:
            headers["If-None-Match"] = etag
        request = urllib.request.Request(bare, headers=headers)
        if user:
            token = base64.b64encode(unquote(user).encode()).decode()
            # Not repeated to another host that the server may redirect to.
            request.add_unredirected_header("Authorization", f"Basic {token}")
        return request

    def _answer(self, response: http.client.HTTPResponse) -> Offer:
        """Read an answer while counting: a server may send more than it says, or trickle."""
        if (response.length or 0) > self.max_bytes:
            raise self._too_large()
        parts, size, start = [], 0, time.monotonic()
        while part := response.read1(CHUNK):
            parts.append(part)
            size += len(part)
            if size > self.max_bytes:
                raise self._too_large()
            if size < (time.monotonic() - start - self.timeout) * SLOWEST:
                raise UVRError(f"'{self.shown}' sends less than {SLOWEST} bytes a second.")
        if response.length:
            raise UVRError(f"'{self.shown}' stopped {response.length} bytes before the end.")
        etag = response.headers.get("ETag", "")
        data = b"".join(parts)
        usable = len(etag) <= MAX_ETAG and etag.isascii() and etag.isprintable()
        return Offer("", etag if usable else "", lambda: data)

    def _from_fsspec(self, validator: str) -> Offer:
        try:
            # Most hosts need no object store.
            from fsspec.core import (  # type: ignore[import-untyped]  # noqa: PLC0415
                url_to_fs,
            )
        except ImportError:
            raise UVRError(
                f"Reading '{self.shown}' needs fsspec: pip install 'uvr-registry[remote]'."
            ) from None
        try:
            files, path = url_to_fs(self.text)
            files.invalidate_cache()
            return self._remote_offer(files, path, validator)
        except UVRError:
            raise
        except FileNotFoundError:
            raise NotFoundError(f"No bundle file at '{self.shown}'.") from None
        # Each object store raises errors of its own.
        except Exception as error:
            raise UVRError(f"'{self.shown}' cannot be read: {self._redacted(error)}.") from None

    def _remote_offer(self, files: Any, path: str, validator: str) -> Offer:
        about = files.info(path)
        if (about.get("size") or 0) > self.max_bytes:
            raise self._too_large()
        etag = str(about.get("ETag") or about.get("etag") or "")
        if etag and etag == validator:
            return Offer("", etag, None)
        file: IO[bytes]
        with files.open(path, "rb") as file:
            data = self._capped(file.read(self.max_bytes + 1))
        return Offer("", etag, lambda: data)

    def _redacted(self, error: Exception) -> str:
        secret = urlsplit(self.text).netloc.rpartition("@")[0]
        text = f"{type(error).__name__}: {error}".replace(self.text, self.shown)
        return text.replace(secret, "...") if secret else text

    def _capped(self, data: bytes) -> bytes:
        if len(data) > self.max_bytes:
            raise self._too_large()
        return data

    def _too_large(self) -> VerificationError:
        return VerificationError(f"'{self.shown}' has more than {self.max_bytes} bytes.")


def parse_location(location: str | Path, max_bytes: int, timeout: float = 30.0) -> Location:
    """Return the place that a path or URL names; a relative path counts from the folder now."""
    text = str(location)
    if isinstance(location, Path) or "://" not in text:
        text = str(Path(text).absolute())
    return Location(text, max_bytes, timeout)


def location_key(location: Location) -> str:
    """A short name for a location, the same on every start and without what it may hide."""
    return hashlib.sha256(location.text.encode()).hexdigest()[:16]


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


def _opener() -> urllib.request.OpenerDirector:
    """Only what HTTP needs: an opener by default also reads files, FTP and data URLs."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _SameScheme(),
    ):
        opener.add_handler(handler)
    return opener


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
