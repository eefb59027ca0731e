"""Plain archives: a ZIP file without compression whose bytes depend on its entries alone.

Both directions are written here and not left to ``zipfile``: the writer, so that the bytes do not
depend on a Python release; the reader, so that it accepts exactly what ``pack`` writes and hands
out views of the file, not copies.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from concepts.errors import VerificationError

VERSION = 20  # Of the ZIP format: plain files.
DATE = 1 << 5 | 1  # 1 January 1980, the earliest date that an entry can have; the time is 0.
UNIX = 3
MODE = 0o100644  # A regular file that everyone may read.
MAX_ENTRIES = 0xFFFE  # Beyond this, and beyond 4 GiB, a ZIP file needs another form.
MAX_BYTES = 0xFFFFFFFE
# Signature, version, flags, method, time, date, CRC-32, stored size, size, lengths of name and
# extra; the central directory adds who made it, a comment's length, a disk, attributes, an offset.
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_LOCAL_MARK, _CENTRAL_MARK, _END_MARK = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"


@dataclass(frozen=True)
class Entry:
    """One file of an archive: its bytes, where it begins, and the CRC-32 that its header tells."""

    data: memoryview
    offset: int
    crc: int

    def check(self, name: str) -> None:
        """Refuse bytes that do not have the header's CRC-32."""
        if zlib.crc32(self.data) != self.crc:
            raise VerificationError(f"the file '{name}' does not have its checksum.")


def pack(entries: Mapping[str, bytes | memoryview]) -> bytes:
    """Encode entries, sorted by name; the same entries always give the same bytes."""
    parts: list[bytes | memoryview] = []
    placed: dict[str, Entry] = {}
    offset = 0
    for name in sorted(entries):
        data = memoryview(entries[name])
        placed[name] = entry = Entry(data, offset, zlib.crc32(data))
        header = _local_header(name, entry)
        parts += (header, data)
        offset += len(header) + len(data)
    parts.append(_directory(placed, offset))
    if len(entries) > MAX_ENTRIES or offset + len(parts[-1]) > MAX_BYTES:
        raise ValueError(f"an archive holds at most {MAX_ENTRIES} files and {MAX_BYTES} bytes")
    return b"".join(parts)


def unpack(data: bytes, last: str, others: re.Pattern[str]) -> dict[str, Entry]:
    """Find the entries of an archive, without a look at their bytes.

    Together with each entry's ``check`` this accepts exactly the files that ``pack`` writes.

    Args:
        data: The file.
        last: Name of the one entry that sorts last and must be there.
        others: What every other name must match.

    Raises:
        VerificationError: For anything that ``pack`` would not write.
    """
    if data[:4] != _LOCAL_MARK:
        what = f"begins with {data[:8]!r}" if data else "is empty"
        raise VerificationError(f"it is no file of this program: it {what}.")
    view = memoryview(data)
    found: list[tuple[str, Entry]] = []
    offset = 0
    while data[offset : offset + 4] == _LOCAL_MARK:
        if len(found) >= MAX_ENTRIES:
            raise VerificationError(f"it holds more than {MAX_ENTRIES} files.")
        name, entry = _read_local(view, offset)
        found.append((name, entry))
        offset += _LOCAL.size + len(name) + len(entry.data)
    names = [name for name, _ in found]
    if names != sorted(set(names)) or names[-1:] != [last]:
        raise VerificationError("its files are not sorted, occur twice or lack the manifest.")
    for name in names[:-1]:
        if not others.fullmatch(name):
            raise VerificationError(f"it holds an unexpected file '{name}'.")
    entries = dict(found)
    if view[offset:] != _directory(entries, offset):
        raise VerificationError("its directory is not that of its files.")
    return entries


def _read_local(view: memoryview, offset: int) -> tuple[str, Entry]:
    if offset + _LOCAL.size > len(view):
        raise VerificationError("it ends within a header.")
    fields = _LOCAL.unpack_from(view, offset)
    method, crc, size, length = fields[3], fields[6], fields[8], fields[9]
    begin = offset + _LOCAL.size + length
    if method != 0:
        raise VerificationError("one of its files is compressed.")
    if begin + size > len(view):
        raise VerificationError("it ends within a file.")
    try:
        name = str(view[offset + _LOCAL.size : begin], "ascii")
    except UnicodeDecodeError as error:
        raise VerificationError("it holds a file whose name is not ASCII.") from error
    entry = Entry(view[begin : begin + size], offset, crc)
    if view[offset:begin] != _local_header(name, entry):
        raise VerificationError(f"the header of its file '{name}' is not a plain one.")
    return name, entry


def _local_header(name: str, entry: Entry) -> bytes:
    size, text = len(entry.data), name.encode("ascii")
    fields = (VERSION, 0, 0, 0, DATE, entry.crc, size, size, len(text), 0)
    return _LOCAL.pack(_LOCAL_MARK, *fields) + text


def _directory(entries: Mapping[str, Entry], offset: int) -> bytes:
    parts: list[bytes] = []
    for name, entry in entries.items():
        size, text = len(entry.data), name.encode("ascii")
        fields = (UNIX << 8 | VERSION, VERSION, 0, 0, 0, DATE, entry.crc, size, size)
        tail = (len(text), 0, 0, 0, 0, MODE << 16, entry.offset)
        parts += (_CENTRAL.pack(_CENTRAL_MARK, *fields, *tail), text)
    size, count = sum(map(len, parts)), len(entries)
    return b"".join((*parts, _END.pack(_END_MARK, 0, 0, count, count, size, offset, 0)))
