"""Plain archives: a ZIP file without compression whose bytes depend on its entries alone."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping

from concepts.errors import VerificationError

EPOCH = (1980, 1, 1, 0, 0, 0)  # The earliest time that a ZIP entry can have.
UNIX = 3
MODE = 0o100644  # A regular file that everyone may read.


def pack(entries: Mapping[str, bytes]) -> bytes:
    """Encode entries, sorted by name; the same entries always give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, date_time=EPOCH)
            info.create_system, info.external_attr = UNIX, MODE << 16
            archive.writestr(info, entries[name])
    return buffer.getvalue()


def unpack(data: bytes, last: str, others: re.Pattern[str]) -> dict[str, bytes]:
    """Decode the entries of an archive; none is read before all names and sizes were checked.

    Args:
        data: The file.
        last: Name of the one entry that sorts last and must be there.
        others: What every other name must match.

    Raises:
        VerificationError: For names or sizes that ``pack`` would not write. Bytes that are no
            archive at all raise what ``zipfile`` raises.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        names = [info.filename for info in infos]
        if names != sorted(set(names)) or names[-1:] != [last]:
            raise VerificationError("its files are not sorted, occur twice or lack the manifest.")
        for info in infos:
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
                raise VerificationError(f"the file '{info.filename}' is compressed.")
            if info.filename != last and not others.fullmatch(info.filename):
                raise VerificationError(f"it holds an unexpected file '{info.filename}'.")
        if sum(info.file_size for info in infos) > len(data):
            raise VerificationError("its files overlap.")
        return {name: archive.read(name) for name in names}
