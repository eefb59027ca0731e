"""Where bundles are offered: a file, a folder, HTTP(S), or anything that fsspec reads.

``offers`` lists what a place offers now. A *validator* (an ETag, or what the file system says of a
file) stands for the bytes behind it: as long as it stays the same, nothing is read again. Nothing
that is read here is trusted, and never more than ``max_bytes`` of it is held.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from concepts.errors import NotFoundError, UVRError, VerificationError
from concepts.files import open_file
from uvr.delivery.offer import Offer
from uvr.delivery.web import WebFile

UNSETTLED = 2.0
"""Seconds in which a file can change again without its time stamp showing it."""
# Parameters of signed addresses (S3, Google Cloud, Azure, CloudFront), which change all the time.
_SIGNING = re.compile(
    r"x-(amz|goog)-.*|awsaccesskeyid|googleaccessid|key-pair-id|signature|sig|token|expires|"
    r"s[etvrp]|spr|sip|sdd|sk(oid|tid|t|e|s|v)"
)
# A user and a password; the second form is a password with an unescaped slash, where what follows
# the colon is no port.
_USER = re.compile(r"://([^/?#]*|[^/?#@:]*:(?!\d*(?:[/?#]|$)).*)@", re.DOTALL)


@dataclass(frozen=True)
class Location:
    """A place that offers bundles.

    Attributes:
        text: Path or URL.
        max_bytes: A larger file is refused.
        timeout: Seconds that a web server has in all; see ``uvr.delivery.http``.
    """

    text: str
    max_bytes: int
    timeout: float = 30.0

    @property
    def shown(self) -> str:
        """The location without a password and without a query, which may hold a signature."""
        bare, secrets = _take_secrets(self.text)
        return bare + "?..." if secrets[-1] else bare

    def offers(self, validators: Mapping[str, str]) -> Iterator[Offer]:
        """List what is offered now; a folder's files from the last name to the first.

        Args:
            validators: Of what is known already, by name.

        Raises:
            UVRError: The place cannot be reached, or holds nothing; NotFoundError if it says so.
        """
        if self._scheme in ("http", "https"):
            file = WebFile(self.text, self.shown, self.max_bytes, self.timeout)
            yield file.offer(validators.get("", ""))
        elif self._scheme in ("", "file"):
            yield from self._from_disk(validators)
        else:
            yield self._from_fsspec(validators.get("", ""))

    @property
    def _scheme(self) -> str:
        scheme, found, _ = self.text.partition("://")
        return scheme.lower() if found else ""

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
            with open_file(path) as file:
                # Reading sets aside at once what it is asked for, however small the file is.
                size = os.fstat(file.fileno()).st_size
                return self._capped(file.read(min(size, self.max_bytes) + 1))
        except FileNotFoundError as error:
            raise NotFoundError(f"No bundle file at '{path}'.") from error
        except OSError as error:
            raise UVRError(f"'{path}' cannot be read: {error.strerror}.") from error

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
        text = f"{type(error).__name__}: {error}".replace(self.text, self.shown)
        for secret in filter(None, _take_secrets(self.text)[1]):
            text = text.replace(secret, "...")
        return text

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
    """A short name for a location, the same whatever its password and its signature are now."""
    text, _ = _take_secrets(location.text)
    query = re.match(r"[^?#]*\?([^#]*)", _USER.sub("://", location.text))
    if query and "://" in location.text:
        names = {part: part.partition("=")[0].lower() for part in query[1].split("&") if part}
        text += "".join(f"&{part}" for part, name in names.items() if not _SIGNING.fullmatch(name))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _take_secrets(text: str) -> tuple[str, list[str]]:
    """Take the users with their passwords, and last the query, out of a location's text."""
    if "://" not in text:
        return text, [""]
    bare, *query = re.split("[?#]", _USER.sub("://", text), maxsplit=1)
    return bare, [*_USER.findall(text), "".join(query)]
