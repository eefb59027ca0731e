"""The FAISS index of one anchor space: a cache of the blobs, rebuilt whenever it may be stale.

``index/<space>.json`` says what the index holds (the input digest), how it was built and which
bytes its file has, since FAISS loads flipped bytes silently. The file is named after its own
SHA-256: a name never changes content, so that what was checked is what FAISS reads, and a build
writes beside the file in use; renaming the JSON over the old one is the swap. A builder holds
``index/<space>.lock``, which the system frees when its process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
from numpy.typing import NDArray

from concepts.canonical import canonical_json, strict_json
from concepts.digest import json_digest
from concepts.errors import VerificationError
from concepts.files import open_file, read_bytes
from registry.answers import SearchHit
from registry.index.build import Finder, IndexBuild, build
from registry.store.blobs import write_atomically
from registry.vectors.exact import Stack, unit_vectors
from registry.vectors.rows import Rows

FORMAT = "uvr-index/3"

log = logging.getLogger("uvr.index")


@dataclass(frozen=True)
class IndexInput:
    """One anchor set of an index: whose, which, how many vectors."""

    slug: str
    version: int
    anchor_set: str
    anchors: int


Load = Callable[[IndexInput], Rows]


def input_digest(space_digest: str, inputs: Sequence[IndexInput]) -> str:
    """Return the digest of everything an index is built from."""
    listed = [[item.slug, item.version, item.anchor_set, item.anchors] for item in inputs]
    return json_digest({"format": FORMAT, "space": space_digest, "inputs": listed})


@dataclass(frozen=True, eq=False)
class OpenIndex:
    """An index in memory; it never changes, so that threads may share it.

    Attributes:
        digest: Its input digest.
        inputs: What its rows are, in their order.
        finder: The index itself, with the exact vectors that its hits are scored by.
        about: How it was built.
    """

    digest: str
    inputs: tuple[IndexInput, ...]
    finder: Finder
    about: IndexBuild

    def search(self, queries: NDArray[Any], k: int) -> list[list[SearchHit]]:
        """Return the k nearest anchors for each query, (q, dim), best first.

        Scores are exact, equal ones rank by slug, version and anchor, and neither the other
        queries of a call nor the number of threads changes any of it.
        """
        return [
            [self._hit(int(row), float(score)) for row, score in zip(rows, scores, strict=True)]
            for rows, scores in self.finder.search(unit_vectors(queries), k)
        ]

    def _hit(self, row: int, score: float) -> SearchHit:
        part, anchor = self.finder.stack.place(row)
        return SearchHit(self.inputs[part].slug, self.inputs[part].version, anchor, score)


def open_index(
    folder: Path,
    space_digest: str,
    inputs: Sequence[IndexInput],
    load: Load,
    kind: str | None = None,
) -> OpenIndex:
    """Return the index of a space, from its file when that is whole and current.

    Args:
        folder: Where index files lie.
        space_digest: The anchor space.
        inputs: The anchor sets, at least one, sorted by slug and version.
        load: Returns the anchors of one input, (anchors, dim); rows are read as they are needed.
        kind: One of ``kinds.KINDS``; by default any, a new one by the number of anchors.

    Raises:
        GateError: If an index of the kind asked for finds too few of the nearest anchors.
        ValueError: If the anchors are not as many as recorded, or not finite.
    """
    digest, stack = input_digest(space_digest, inputs), _stack(inputs, load)
    files = _Files(folder, space_digest, digest)

    def loaded(built: tuple[Any, IndexBuild]) -> OpenIndex:
        index, about = built
        return OpenIndex(
            digest, tuple(inputs), Finder(index, stack, about.effort, about.slack), about
        )

    current = files.read(kind)
    if current is not None:
        return loaded(current)
    with files.lease() as writable:
        # Another process may have built it while this one waited.
        current = files.read(kind)
        if current is None:
            current = build(stack, kind)
            if writable:
                files.write(*current)
    return loaded(current)


def _stack(inputs: Sequence[IndexInput], load: Load) -> Stack:
    parts = [load(item) for item in inputs]
    for item, part in zip(inputs, parts, strict=True):
        if len(part) != item.anchors:  # It would shift every later hit.
            raise ValueError(
                f"'{item.slug}' has {len(part)} anchors, not the {item.anchors} recorded"
            )
    return Stack(parts)


@dataclass(frozen=True)
class _Files:
    """The files of one space, for one input."""

    folder: Path
    space: str
    digest: str

    @property
    def sidecar(self) -> Path:
        return self.folder / f"{self.space}.json"

    def index(self, sha256: str) -> Path:
        return self.folder / f"{self.space}-{sha256}.faiss"

    @contextlib.contextmanager
    def lease(self) -> Iterator[bool]:
        """Wait for any other builder of the space; False where nothing can be locked or written."""
        with contextlib.ExitStack() as stack:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context((self.folder / f"{self.space}.lock").open("ab"))
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:  # as on a read-only disk, or one shared without locks
                _warn(error)
                writable = False
            else:
                writable = True
            yield writable  # Outside of the try: errors of the body are its own.

    def read(self, kind: str | None) -> tuple[Any, IndexBuild] | None:
        """Return the index when its file is whole and current, else None."""
        try:
            about = strict_json(read_bytes(self.sidecar))
            if about["format"] != FORMAT or about["input"] != self.digest:
                return None
            built = IndexBuild(**about["build"])
            path = self.index(about["sha256"])
            if kind not in (None, built.kind) or _file_digest(path) != about["sha256"]:
                return None
            return faiss.read_index(str(path)), built
        # FAISS raises RuntimeError for a file that it cannot read, such as one of a newer release,
        # or one that a builder swept meanwhile: whoever then takes the lease finds its successor.
        except (OSError, LookupError, TypeError, ValueError, RuntimeError, VerificationError):
            return None

    def write(self, index: Any, built: IndexBuild) -> None:
        """Save an index and make it the current one; the caller holds the lease."""
        temporary = self.folder / f".tmp-{self.space}-{secrets.token_hex(8)}"
        self._sweep(f".tmp-{self.space}-*", "")  # of builders that were killed
        try:
            # No fsync: a file that a crash tore does not have its digest and is built again.
            faiss.write_index(index, str(temporary))
            sha256 = _file_digest(temporary)
            about = {
                "format": FORMAT, "input": self.digest, "sha256": sha256, "build": built.to_dict()
            }  # fmt: skip
            temporary.replace(self.index(sha256))
            write_atomically(self.sidecar, canonical_json(about))
            self._sweep(f"{self.space}-*.faiss", self.index(sha256).name)
        except (OSError, RuntimeError) as error:  # as on a full disk
            _warn(error)
            self._sweep(temporary.name, "")

    def _sweep(self, pattern: str, kept: str) -> None:
        for path in self.folder.glob(pattern):
            if path.name != kept:
                with contextlib.suppress(OSError):
                    path.unlink()


def _warn(error: Exception) -> None:
    # The index is only a cache: it stays in memory, and each process builds its own.
    log.warning("the index cannot be kept, and is built again each time: %s", error)


def _file_digest(path: Path) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class IndexCache:
    """The open indexes of one registry, the newest of each space; threads may share it.

    Whoever still searches an older index keeps it alive until done.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, tuple[str, OpenIndex]] = {}
        self._opening: dict[str, threading.Lock] = {}

    def current(self, space_digest: str, state: str) -> OpenIndex | None:
        """Return the index that was session in this very state of the registry, if any."""
        opened_in, index = self._open.get(space_digest, ("", None))
        return index if opened_in == state else None

    def open(
        self,
        space_digest: str,
        inputs: Sequence[IndexInput],
        load: Load,
        kind: str | None = None,
        state: str = "",
    ) -> OpenIndex:
        """Return the index of a space; see ``open_index``.

        ``state`` is the registry's in which the inputs were read, for ``current``.
        """
        digest = input_digest(space_digest, inputs)
        # One thread opens it, the others use the result.
        with self._opening.setdefault(space_digest, threading.Lock()):
            _, index = self._open.get(space_digest, ("", None))
            if index is None or index.digest != digest or kind not in (None, index.about.kind):
                index = open_index(self.folder, space_digest, inputs, load, kind)
            self._open[space_digest] = (state, index)
            return index
