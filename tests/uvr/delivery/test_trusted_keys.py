"""Key lists on the way to a host: rotations are followed, revocations hold."""

from __future__ import annotations

import pytest

from concepts.errors import (
    ExpiredError,
    RollbackError,
    SignatureError,
    VerificationError,
)
from concepts.signing.keys import KeyList, sign_key_list
from tests.uvr.delivery.conftest import (
    KEY,
    LIST_2,
    OUTSIDER,
    SECOND,
    START,
    make_file,
    record_of,
    rotated,
)


def test_a_rotation_is_followed_without_a_restart_and_kept(host):
    host.offer(1)
    with host.source() as source:
        host.offer(2, SECOND, **rotated())
        assert source.refresh()
        assert source.status().key_list_version == 2
        host.offer(3, KEY)
        with pytest.raises(SignatureError):
            source.refresh()
        host.offer(3, SECOND)  # A host that knows the new list needs no chain.
        assert source.refresh()
    host.offer(4, KEY)
    with host.source() as again:  # given the first list still
        assert (again.current.sequence, again.status().key_list_version) == (3, 2)
        assert "Signed" in str(again.status().last_error)


def test_a_newer_key_list_given_by_hand_holds(host):
    host.offer(1)
    host.source().start()
    newer = KeyList(2, 1, (SECOND.public,), (KEY.public.key_id,))
    with pytest.raises(SignatureError):
        host.source(keys=newer).start()
    host.offer(2, SECOND)
    with host.source(keys=newer) as source:
        assert source.current.sequence == 2


@pytest.mark.parametrize(
    ("signer", "change", "error"),
    [
        (SECOND, {"expires": START}, ExpiredError),
        (SECOND, {"name": "other"}, VerificationError),
        (OUTSIDER, {}, SignatureError),
    ],
    ids=["expired", "another bundle", "not signed"],
)
@pytest.mark.parametrize("accepted", [True, False])
def test_a_key_list_in_a_refused_bundle_is_kept(
    host,
    signer,
    change,
    error,
    accepted,
):
    if accepted:
        host.offer(5)
    with host.source(require=False) as source:
        host.offer(6, signer, **rotated(), **change)
        with pytest.raises(error):
            source.refresh()
        assert record_of(host).keys == LIST_2
        host.offer(7, KEY)
        with pytest.raises(SignatureError, match="revoked"):
            source.refresh()
    with host.source(require=False) as again:  # given the first list still
        assert again.status().key_list_version == 2
        assert "revoked" in str(again.status().last_error)


@pytest.mark.parametrize("unsettled", [60, -1], ids=["read again", "not read again"])
def test_a_bundle_of_a_key_that_was_revoked_is_not_confirmed_again(host, unsettled, monkeypatch):
    monkeypatch.setattr("uvr.delivery.location.UNSETTLED", unsettled)
    folder = host.folder / "releases"
    folder.mkdir()
    (folder / "demo-5.uvr").write_bytes(make_file(5))
    with host.source(folder) as source:
        (folder / "demo-6.uvr").write_bytes(make_file(6, SECOND, expires=START, **rotated()))
        for error in (ExpiredError, SignatureError):
            with pytest.raises(error):
                source.refresh()
            (folder / "demo-6.uvr").unlink(missing_ok=True)
        assert source.current.sequence == 5  # It serves, and is stale once max_age is over.


def test_a_key_list_from_another_worker_has_everything_verified_again(host, server):
    newer = KeyList(2, 1, (KEY.public, SECOND.public))
    server.body = make_file(5)
    host.offer(5)
    with host.source() as first, host.source(server.url) as second:
        host.offer(6, expires=START, key_lists=(sign_key_list(newer, (KEY,)),))
        with pytest.raises(ExpiredError):
            first.refresh()
        for _ in range(3):
            assert not second.refresh()
        assert second.status().key_list_version == 2
    assert server.codes == [200, 200, 304, 304]


def test_a_huge_number_by_a_stolen_key_ends_with_its_revocation(host):
    host.offer(5)
    with host.source() as source:
        host.offer(2**53 - 1, slug="evil")
        with pytest.raises(VerificationError, match="Ask the publisher whether a key was stolen"):
            source.refresh()
        host.offer(900_000, slug="evil")
        assert source.refresh()
        host.offer(6)
        with pytest.raises(RollbackError):
            source.refresh()
    with host.source() as source, host.source() as other:
        host.offer(6, SECOND, **rotated())
        assert source.refresh()
        assert (source.current.sequence, source.current.slugs) == (6, ["ball"])
        assert other.refresh()
        host.offer(5, SECOND)
        with pytest.raises(RollbackError, match="older than release 6"):
            source.refresh()  # The new number binds again.
    assert record_of(host).signers == (SECOND.public.key_id,)


def test_a_number_binds_while_enough_of_its_signers_are_trusted(host):
    both = KeyList(1, 2, (KEY.public, SECOND.public))
    third = KeyList(2, 2, (KEY.public, SECOND.public, OUTSIDER.public))
    host.offer(5, KEY, SECOND)
    host.source(keys=both).start()
    chain = (sign_key_list(third, (KEY, SECOND)),)
    host.offer(4, KEY, SECOND, key_lists=chain)
    with host.source(keys=both) as source:
        assert source.current.sequence == 5
        assert "older than release 5" in str(source.status().last_error)
        assert source.status().key_list_version == 2
