import io
import re
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concepts.archive import pack, unpack
from concepts.errors import VerificationError
from tests.conftest import often

ANY = re.compile(r"[a-y][a-z0-9/.]*")
FILES = {"a/1": b"one", "b": b"", "z": b"last"}
ENTRIES = st.dictionaries(st.from_regex(ANY, fullmatch=True), st.binary(max_size=40), max_size=5)


def zipped(entries):
    """What Python's own writer makes of the entries."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o100644 << 16
            archive.writestr(info, entries[name])
    return buffer.getvalue()


@pytest.mark.slow
@settings(max_examples=often(200), deadline=None)
@given(ENTRIES)
def test_an_archive_is_what_zipfile_writes_and_reads_back(entries):
    entries = {**entries, "z": b"last"}
    data = pack(entries)
    assert data == zipped(entries)
    found = unpack(data, "z", ANY)
    for name, entry in found.items():
        entry.check(name)
    assert {name: bytes(entry.data) for name, entry in found.items()} == entries


def test_entries_are_views_of_the_file():
    data = pack(FILES)
    assert all(entry.data.obj is data for entry in unpack(data, "z", ANY).values())


@pytest.mark.slow
@settings(max_examples=often(500), deadline=None)
@given(st.integers(0, len(pack(FILES)) - 1), st.binary(min_size=1, max_size=4))
def test_whatever_is_accepted_is_what_pack_writes(position, noise):
    data = bytearray(pack(FILES))
    data[position : position + len(noise)] = noise
    try:
        found = unpack(bytes(data), "z", ANY)
        for name, entry in found.items():
            entry.check(name)
    except VerificationError:
        return
    assert pack({name: entry.data for name, entry in found.items()}) == data


def test_an_archive_of_too_many_files_is_refused_early():
    few = pack({"z": b""})
    local = few[: few.index(b"PK\x01\x02")]
    with pytest.raises(VerificationError, match="more than 65534 files"):
        unpack(local * 70_000, "z", ANY)
