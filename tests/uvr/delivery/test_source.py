"""A source takes what is newer and valid, from a file or a folder, and says how it stands."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from concepts.bundle import (
    Bundle,
    lock_digest,
    write_bundle,
)
from concepts.errors import (
    ExpiredError,
    MismatchError,
    NotFoundError,
    RollbackError,
    SignatureError,
    UVRError,
    VerificationError,
)
from tests.uvr.delivery.conftest import (
    KEY,
    KEYS,
    LATER,
    OUTSIDER,
    SPACE,
    START,
    make_bundle,
    make_file,
)


def test_a_newer_release_is_taken_and_whoever_holds_the_older_one_keeps_it(host):
    host.offer(3)
    with host.source() as source:
        held = source.current
        assert (held.sequence, source.refresh()) == (3, False)
        host.offer(4)
        assert source.refresh()
        assert (held.sequence, source.current.sequence) == (3, 4)
        assert not source.refresh()


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (make_file(5, OUTSIDER), SignatureError, "Signed"),
        (write_bundle(make_bundle(5)), SignatureError, "Signed"),
        (make_file(3), RollbackError, "older than release 4"),
        (make_file(4, slug="cup"), VerificationError, "A release never changes"),
        (make_file(5, name="other"), VerificationError, "'demo' is expected"),
        (make_file(5, registry="f" * 32), VerificationError, "is of registry"),
        (make_file(5, expires=START), ExpiredError, "expired at"),
        (make_file(5)[:-1], VerificationError, "corrupt"),
        (b"", VerificationError, "corrupt"),
    ],
)
def test_a_bundle_that_must_not_be_taken_changes_nothing(host, data, error, message):
    host.offer(4)
    with host.source() as source:
        before = source.current
        stored = (host.state / "demo" / "state.json").read_bytes()
        host.file.write_bytes(data)
        with pytest.raises(error, match=message):
            source.refresh()
        assert source.current is before
        assert message in str(source.status().last_error)
        assert (host.state / "demo" / "state.json").read_bytes() == stored
    with host.source() as again:  # and the same after a restart
        assert again.current.sequence == 4


def test_a_start_without_a_valid_bundle_raises_what_is_wrong_with_it(host):
    with pytest.raises(NotFoundError, match="No bundle file at"):
        host.source().start()
    host.offer(1, OUTSIDER)
    with pytest.raises(SignatureError):
        host.source().start()
    with host.source(require=False) as source:
        assert source.status().state == "failed"
        with pytest.raises(NotFoundError, match=r"No bundle was loaded.*Signed"):
            _ = source.current
        host.offer(1)
        assert source.refresh()
        assert source.current.sequence == 1


def test_too_large_a_file_is_refused_unread(host):
    host.offer(1)
    with pytest.raises(VerificationError, match="more than 1000 bytes"):
        host.source(max_bytes=1000).start()
    pipe = host.folder / "pipe"
    os.mkfifo(pipe)  # Opening it would wait for ever.
    with pytest.raises(UVRError, match="not a regular file"):
        host.source(pipe).start()


def test_without_keys_only_the_integrity_is_checked(host):
    host.file.write_bytes(write_bundle(make_bundle(1)))
    with host.source(keys=None) as source:
        assert source.status().key_list_version is None
        host.file.write_bytes(write_bundle(make_bundle(2))[:-3])
        with pytest.raises(VerificationError):
            source.refresh()


def test_keys_are_read_from_a_file(host):
    host.offer(1)
    keys = host.folder / "keys.json"
    keys.write_bytes(KEYS.to_bytes())
    with host.source(keys=keys) as source:
        assert source.status().key_list_version == 1
    with pytest.raises(NotFoundError, match="No key list"):
        host.source(keys=host.folder / "none")


def test_a_release_that_does_not_fit_leaves_the_last_known_good(host):
    def accept(bundle: Bundle) -> None:
        bundle.variant_for("tiny", "t2i")

    elsewhere = replace(SPACE, model="other")
    host.offer(5)
    with host.source(accept=accept) as source:
        host.offer(6, space=elsewhere)
        with pytest.raises(MismatchError, match="no anchors for model 'tiny'"):
            source.refresh()
        assert source.current.sequence == 5
        host.offer(5)
        assert not source.refresh()
    with host.source(accept=accept) as source:
        assert source.current.sequence == 5
        host.offer(7)
        assert source.refresh()


def test_status_is_plain_json(host):
    host.offer(1, expires=LATER)
    with host.source() as source:
        digest = source.current.digest
        found = json.loads(json.dumps(source.status().to_dict()))
    assert found == {
        "location": str(host.file), "state": "ok", "bundle": "demo", "sequence": 1,
        "digest": digest, "created": "2026-01-01T00:00:00.000000Z", "checked_at": START,
        "loaded_at": START, "expires": LATER, "stale": None, "last_error": None,
        "key_list_version": 1, "polls": 1, "polls_failed": 0, "warnings": [],
    }  # fmt: skip


def test_an_empty_bundle_is_a_bundle(host):
    empty = replace(make_bundle(1), variants=(), lock_digest=lock_digest([]), digest="")
    host.file.write_bytes(write_bundle(empty.sign(KEY)))
    with host.source() as source:
        assert source.current.slugs == []


def test_the_newest_valid_release_of_a_folder_is_taken(host):
    folder = host.folder / "releases"
    folder.mkdir()
    with pytest.raises(NotFoundError, match=r"No \*.uvr file"):
        host.source(folder).start()
    for sequence in (2, 9, 10):
        (folder / f"demo-{sequence}.uvr").write_bytes(make_file(sequence))
    (folder / "demo-11.uvr").write_bytes(make_file(11)[:-9])
    (folder / "demo-12.uvr").write_bytes(make_file(12, OUTSIDER))
    (folder / ".demo-13.uvr").write_bytes(make_file(13))
    with host.source(folder) as source:
        assert source.current.sequence == 10
        assert "Signed" in str(source.status().last_error)
        (folder / "a.uvr").write_bytes(make_file(14))
        assert source.refresh()
        assert source.current.sequence == 14
        (folder / "a.uvr").unlink()
        with pytest.raises(UVRError):
            source.refresh()
        assert source.current.sequence == 14
