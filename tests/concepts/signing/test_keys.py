import json
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from concepts.canonical import canonical_json
from concepts.errors import SignatureError, VerificationError
from concepts.signing.keys import KeyList, PrivateKey, PublicKey, sign_key_list

# Fixed, since names of tests hold them.
A, B, C, D = (
    PrivateKey(ed25519.Ed25519PrivateKey.from_private_bytes(bytes([number] * 32)))
    for number in range(4)
)
FIRST = KeyList(1, 2, (A.public, B.public, C.public))
SECOND = KeyList(2, 1, (C.public, D.public), (A.public.key_id,))
THIRD = KeyList(3, 1, (D.public,), (A.public.key_id, C.public.key_id))
TO_SECOND = sign_key_list(SECOND, [B, C])
TO_THIRD = sign_key_list(THIRD, [C, D])


def test_a_key_signs_and_its_other_half_verifies():
    signature = A.sign(b"text")
    assert A.public.verify(b"text", signature)
    assert not A.public.verify(b"another text", signature)
    assert not B.public.verify(b"text", signature)
    assert not A.public.verify(b"text", signature[:-1])


def test_openssl_prints_the_same_key_id():
    script = "openssl pkey -pubin -outform DER | openssl sha256 -r"
    found = subprocess.run(
        ["sh", "-c", script], input=A.public.pem(), capture_output=True, text=True, check=True
    )
    assert found.stdout.split()[0] == A.public.key_id


@pytest.mark.parametrize("passphrase", [None, "secret", b"secret bytes"])
def test_keys_round_trip_as_pem(passphrase):
    again = PrivateKey.from_pem(A.pem(passphrase), passphrase)
    assert again.public == A.public == PublicKey.from_pem(A.public.pem())
    assert again.sign(b"text") == A.sign(b"text")


def test_a_wrong_passphrase_says_so():
    for passphrase, message in ((None, "no passphrase is given"), ("x", "passphrase is wrong")):
        with pytest.raises(VerificationError, match=message):
            PrivateKey.from_pem(A.pem("secret"), passphrase)
    with pytest.raises(VerificationError, match="is not encrypted"):
        PrivateKey.from_pem(A.pem(), "secret")


def test_other_keys_are_refused():
    other = ec.generate_private_key(ec.SECP256R1())
    private = other.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = other.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for read, data, message in (
        (PrivateKey.from_pem, private, "Ed25519 is expected"),
        (PublicKey.from_pem, public, "Ed25519 is expected"),
        (PrivateKey.from_pem, A.public.pem(), "not a private key"),
        (PublicKey.from_pem, A.pem(), "not a public key"),
        (PublicKey.from_pem, "nothing", "not a public key"),
    ):
        with pytest.raises(VerificationError, match=message):
            read(data)


# Every encoding of the eight points of small order, as in "Taming the many EdDSAs" (table 1) and
# libsodium's blocklist; those after the first eight are not canonical.
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]
# A point of large order (y = 3) in the form that adds 2^255 - 19 to its y.
NOT_CANONICAL = "f0" + "ff" * 30 + "7f"


@pytest.mark.parametrize("text", [*SMALL_ORDER, NOT_CANONICAL])
def test_a_key_for_which_anyone_can_sign_or_in_a_second_form_is_refused(text):
    raw = bytes.fromhex(text)
    canonical = int.from_bytes(raw, "little") % 2**255 < 2**255 - 19
    message = "point of order" if canonical else "must be encoded canonically"
    with pytest.raises(ValueError, match=message):
        PublicKey(raw)
    pem = ed25519.Ed25519PublicKey.from_public_bytes(raw).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    with pytest.raises(VerificationError, match=message):
        PublicKey.from_pem(pem)
    plain = FIRST.to_dict()
    listed = {**plain, "keys": sorted([*plain["keys"], text])}
    with pytest.raises(VerificationError, match=message):
        KeyList.from_bytes(canonical_json(listed))


def test_the_canonical_encodings_next_to_those_are_keys():
    for y in (2, 3, 2**255 - 19 - 2):
        raw = y.to_bytes(32, "little")
        assert PublicKey(raw).raw == raw


def test_a_private_key_is_not_shown():
    assert repr(A) == f"PrivateKey(of {A.public.key_id[:16]})"


def test_a_key_list_round_trips():
    again = KeyList.from_bytes(SECOND.to_bytes())
    assert again == SECOND
    assert again.digest == SECOND.digest != FIRST.digest
    assert json.loads(SECOND.to_bytes())["revoked"] == [A.public.key_id]
    assert KeyList(2, 1, (D.public, C.public), (A.public.key_id,)) == SECOND
    assert (SECOND.find(D.public.key_id), SECOND.find(A.public.key_id)) == (D.public, None)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((0, 1, (A.public,)), "version"), ((True, 1, (A.public,)), "version"),
        ((10_000, 1, (A.public,)), "version"), ((1, 0, (A.public,)), "threshold"),
        ((1, 2, (A.public,)), "2 keys must sign"), ((1, 1, ()), "1 keys must sign"),
        ((1, 1, (A.public, A.public)), "listed twice"),
        ((1, 1, (A.public,), ("0" * 64, "0" * 64)), "listed twice"),
        ((1, 1, (A.public,), (A.public.key_id,)), "both listed and revoked"),
        ((1, 1, (A.public,), ("x",)), "64 hex digits"),
    ],
)  # fmt: skip
def test_a_key_list_checks_itself(parts, message):
    with pytest.raises(ValueError, match=message):
        KeyList(*parts)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"uvr-keys/1", b"uvr-keys/2"), (b'"threshold":1', b'"threshold":"1"'),
        (b'"version":2', b'"version": 2'), (b'"version":2', b'"version":2.0'),
        (b'"version":2', b'"version":2,"more":1'), (b'"revoked":[', b'"revoked":[1,'),
        (b'"format"', b'"version":2,"format"'), (C.public.raw.hex().encode(), b"0"),
    ],
)  # fmt: skip
def test_other_bytes_are_no_key_list(old, new):
    assert old in SECOND.to_bytes()
    with pytest.raises(VerificationError, match="key list"):
        KeyList.from_bytes(SECOND.to_bytes().replace(old, new))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(FIRST.to_bytes()) - 1), st.binary(max_size=4))
def test_a_broken_key_list_is_refused_or_another_valid_one(position, noise):
    data = bytearray(FIRST.to_bytes())
    data[position : position + len(noise)] = noise
    try:
        found = KeyList.from_bytes(bytes(data))
    except VerificationError:
        return
    assert found.to_bytes() == bytes(data)


def test_a_chain_is_followed_to_the_newest_list():
    assert FIRST.follow([]) == FIRST
    assert FIRST.follow([TO_SECOND, TO_THIRD]) == THIRD
    assert SECOND.follow([TO_SECOND, TO_THIRD]) == THIRD
    assert THIRD.follow([TO_SECOND]) == THIRD


BROKEN_CHAINS = {
    "too few keys of the list before": ([sign_key_list(SECOND, [C])], "1 of the 2"),
    "none of its own": ([sign_key_list(SECOND, [A, B])], "0 of the 1"),
    "a list left out": ([TO_THIRD], "the lists between are missing"),
    "a signature of another list": ([TO_SECOND, sign_key_list(FIRST, [A]), TO_THIRD], None),
    "a revocation taken back": (
        [TO_SECOND, sign_key_list(KeyList(3, 1, (A.public, D.public)), [D])],
        "takes back the revocation",
    ),
    "a revoked key": (
        [TO_SECOND, sign_key_list(KeyList(3, 1, (B.public,), (A.public.key_id,)), [A, B])],
        "0 of the 1",
    ),
}


@pytest.mark.parametrize(("chain", "message"), BROKEN_CHAINS.values(), ids=list(BROKEN_CHAINS))
def test_broken_chains_are_refused(chain, message):
    if message is None:  # A list that is not newer is passed over, whoever signed it.
        assert FIRST.follow(chain) == THIRD
        return
    with pytest.raises(VerificationError, match=message):
        FIRST.follow(chain)


def test_a_wrong_signature_of_a_listed_key_is_an_error():
    swapped = TO_SECOND.with_signatures(TO_THIRD.signatures)
    with pytest.raises(SignatureError, match="is not valid"):
        FIRST.follow([swapped])
