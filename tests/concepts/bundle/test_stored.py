"""Bytes that earlier releases of this program wrote: what is signed once must stay readable."""

from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from concepts.anchors import AnchorSet, AnchorSpace
from concepts.bundle import (
    Bundle,
    BundleVariant,
    Member,
    lock_digest,
    locked_members,
    read_bundle,
    write_bundle,
)
from concepts.scorer import Scorer
from concepts.signing.keys import KeyList, PrivateKey, sign_key_list

STORED = Path(__file__).with_name("stored.uvr")  # written by 0.2.0 from the parts below
OLD, NEW = (
    PrivateKey(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)) for number in (1, 2)
)
FIRST = KeyList(1, 1, (OLD.public,))
SECOND = KeyList(2, 1, (NEW.public,), (OLD.public.key_id,))


def space(task):
    return AnchorSpace("tiny", "r1", task, ("a", "b"), 4, 0.95)


def member(slug, number, dtype=np.float32, **more):
    weights = ((np.arange(8, dtype=np.float32).reshape(2, 4) - number) / 8).astype(dtype)
    offset = np.array([0.5, -number], np.float32)
    scorer = Scorer("whitened", weights, offset, 3.0, 2.25, {"n": number})
    return Member(slug, slug.title(), "object", number, f"{number}" * 64, scorer, **more)


def make_bundle():
    until = "2026-12-01T00:00:00.000000Z"
    cup = member("cup", 2, np.float16, threshold=2.5)
    hat = member("hat", 3, mode="log", disabled_until=until)
    variants = (
        BundleVariant(space("t2i"), (member("ball", 1), cup)),
        BundleVariant(space("edit"), (member("ball", 1), hat)),
    )
    made = Bundle(
        "demo", 7, lock_digest(locked_members(variants)), variants,
        registry="0f" * 16, previous="b" * 64, created="2026-11-24T10:00:00.000000Z",
        expires="2027-01-01T00:00:00.000000Z", revocations=("c" * 64,),
        key_lists=(sign_key_list(SECOND, [OLD, NEW]),),
    )  # fmt: skip
    return made.sign(NEW)


def test_a_bundle_of_an_earlier_release_is_read_and_written_to_the_same_bytes():
    found = read_bundle(STORED, FIRST)
    assert write_bundle(found) == STORED.read_bytes()
    assert found.digest == "e51ad3b0f9f8c6361c3c8bc1d2aa938e9d557b740101903e2fee93de3b1b1ef3"


def test_the_same_release_made_again_has_the_bytes_that_it_always_had():
    assert write_bundle(make_bundle()) == STORED.read_bytes()


def test_digests_are_those_that_they_always_were():
    lock = "6e35cad70237bd350fb7d03ce866bcd73d19e8bbf6b43016dffbeeb423387664"
    assert make_bundle().lock_digest == lock
    assert FIRST.digest == "aa71ff1a3c2060bbc497a72f0e709580bab31ef4969820c4a0eeaaebd4425d11"
    anchors = AnchorSet(
        space("t2i"),
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.array([0, 0, 1]),
        -np.arange(8, dtype=np.float32).reshape(2, 4),
        np.array([2, 3]),
        {"method": "x"},
    )
    assert anchors.digest == "e97526f2992696a9d2461eb8053c124acc677f1191f7b431140b04b8e2624338"
    assert anchors.space.digest == (
        "9aad3417aa3dc9f49abb2102afc167e2cac939613471627ac66cebd2c8609d47"
    )
