import os

import pytest

from concepts.digest import sha256
from concepts.errors import UVRError, VerificationError
from registry.store.blobs import BlobStore


@pytest.fixture
def store(tmp_path):
    return BlobStore(tmp_path)


def test_a_blob_lies_under_its_digest(store, tmp_path):
    digest, _ = store.put(b"hello")
    assert digest == sha256(b"hello")
    path = tmp_path / "sha256" / digest[:2] / digest
    assert (path.read_bytes(), store.get(digest)) == (b"hello", b"hello")
    assert digest in store
    assert store.put(b"hello") == (digest, False)


def test_damaged_and_missing_blobs_are_refused(store):
    digest, _ = store.put(b"hello")
    store.path(digest).write_bytes(b"hullo")
    with pytest.raises(VerificationError, match="is corrupt"):
        store.get(digest)
    assert store.put(b"hello") == (digest, False)  # Storing it again repairs it.
    assert store.get(digest) == b"hello"
    store.discard(digest)
    with pytest.raises(VerificationError, match="cannot be read"):
        store.get(digest)


def test_a_full_disk_leaves_no_file(store, tmp_path, full_disk):
    with full_disk(), pytest.raises(UVRError, match="The disk is full"):
        store.put(b"hello")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_bytes_are_on_disk_before_the_name_is(store, monkeypatch):
    events = []
    monkeypatch.setattr(os, "fsync", lambda _handle: events.append("sync"))
    replace = type(store.root).replace
    monkeypatch.setattr(
        type(store.root), "replace", lambda *args: (events.append("rename"), replace(*args))
    )
    store.put(b"hello")
    assert events == ["sync", "rename", "sync", "sync"]


def test_a_name_that_was_there_before_is_on_disk_too(store, monkeypatch):
    store.put(b"hello")
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    store.put(b"hello")
    folder = store.path(sha256(b"hello")).parent
    assert synced == [folder.stat().st_ino, folder.parent.stat().st_ino]


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64])
def test_other_names_are_no_digest(store, name):
    with pytest.raises(ValueError, match="is not a SHA-256"):
        store.path(name)


def test_a_blob_is_written_and_read_in_parts(store):
    digest = sha256(b"hello world")
    store.write(digest, [b"hello", b" ", b"world"])
    assert (store.get(digest), b"".join(store.read(digest))) == (b"hello world", b"hello world")
    assert list(store.digests()) == [digest]


def test_parts_of_another_digest_are_refused_and_leave_nothing(store, tmp_path):
    with pytest.raises(VerificationError, match="is corrupt"):
        store.write(sha256(b"hello"), [b"hul", b"lo"])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    digest, _ = store.put(b"hello")
    store.path(digest).write_bytes(b"hullo")
    with pytest.raises(VerificationError, match="is corrupt"):
        list(store.read(digest))
    with pytest.raises(VerificationError, match="cannot be read"):
        list(store.read(sha256(b"none")))


def test_only_blobs_are_listed_and_unfinished_files_apart(store):
    digest, _ = store.put(b"hello")
    folder = store.path(digest).parent
    left = folder / ".tmp-0011223344556677"
    misplaced = folder / ("0" * 64)
    assert digest[:2] != "00"
    for path in (left, folder / "notes.txt", misplaced):
        path.write_bytes(b"x")
    assert list(store.digests()) == [digest]
    assert store.temporaries() == [left]
