import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concepts.errors import SignatureError, VerificationError
from concepts.signing.envelope import (
    BUNDLE_TYPE,
    KEYS_TYPE,
    Envelope,
    Signature,
    pae,
    read_envelope,
    sign,
)
from concepts.signing.keys import KeyList, PrivateKey

A, B, C = (PrivateKey.generate() for _ in range(3))
SIGNED = sign(BUNDLE_TYPE, b'{"a":1}', A, B)
DATA = SIGNED.to_bytes()


def test_pae_is_the_one_of_the_specification():
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_an_envelope_round_trips():
    assert read_envelope(DATA, BUNDLE_TYPE) == SIGNED
    assert [item.key_id for item in SIGNED.signatures] == sorted([A.public.key_id, B.public.key_id])
    assert read_envelope(Envelope(BUNDLE_TYPE, b"").to_bytes(), BUNDLE_TYPE).signatures == ()


def test_another_payload_type_is_refused():
    with pytest.raises(VerificationError, match=f"expected '{KEYS_TYPE.replace('+', '.')}'"):
        read_envelope(DATA, KEYS_TYPE)
    retyped = Envelope(KEYS_TYPE, SIGNED.payload, SIGNED.signatures)
    with pytest.raises(SignatureError, match="is not valid"):
        KeyList(1, 1, (A.public,)).require(retyped)


def test_enough_trusted_keys_must_sign():
    everyone = KeyList(1, 2, (A.public, B.public, C.public))
    assert everyone.require(SIGNED) == sorted([A.public.key_id, B.public.key_id])
    with pytest.raises(SignatureError, match="Signed by 1 of the 2 trusted keys required"):
        KeyList(1, 2, (A.public, C.public)).require(SIGNED)
    with pytest.raises(SignatureError, match=r"0 of the 1 .*\(revoked\)"):
        KeyList(1, 1, (C.public,), (A.public.key_id, B.public.key_id)).require(SIGNED)


def test_a_wrong_signature_of_a_listed_key_is_an_error_even_beside_enough_others():
    wrong = Envelope(BUNDLE_TYPE, b"other").with_signatures(SIGNED.signatures[:1])
    wrong = wrong.with_signatures(sign(BUNDLE_TYPE, b"other", C).signatures)
    with pytest.raises(SignatureError, match="is not valid"):
        KeyList(1, 1, (A.public, B.public, C.public)).require(wrong)


OTHERS = {
    "a space": (b'{"payload"', b'{ "payload"'),
    "another key": (b'{"payload"', b'{"more":1,"payload"'),
    "a duplicate key": (b'{"payload"', b'{"payload":"","payload"'),
    "base64 without padding": (b"fQ==", b"fQ"),
    "base64 with other unused bits": (b"fQ==", b"fR=="),
    "base64 with a line break": (b"fQ==", b"\\nfQ=="),
    "a number": (b'"fQ=="', b"1"),
    "a key id in capitals": (A.public.key_id.encode(), A.public.key_id.upper().encode()),
    "a short signature": (
        base64.b64encode(SIGNED.signatures[0].value),
        base64.b64encode(SIGNED.signatures[0].value[:63]),
    ),
    "no list": (b'"signatures":[', b'"signatures":1,"x":['),
}


@pytest.mark.parametrize(("old", "new"), OTHERS.values(), ids=list(OTHERS))
def test_other_bytes_are_no_envelope(old, new):
    data = sign(BUNDLE_TYPE, b"}", A, B).to_bytes()
    data = data if old in data else DATA
    assert old in data
    with pytest.raises(VerificationError, match="envelope"):
        read_envelope(data.replace(old, new), BUNDLE_TYPE)


def test_signatures_out_of_order_or_twice_are_refused():
    first, second = (b'{"keyid":"' + i.key_id.encode() for i in SIGNED.signatures)
    start, end = DATA.index(first), DATA.index(b"]}")
    one, other = DATA[start : DATA.index(second) - 1], DATA[DATA.index(second) : end]
    assert b",".join((one, other)) == DATA[start:end]
    for changed in (b",".join((other, one)), b",".join((one, one))):
        with pytest.raises(VerificationError, match="envelope"):
            read_envelope(DATA[:start] + changed + DATA[end:], BUNDLE_TYPE)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(DATA) - 1), st.binary(max_size=6))
def test_a_broken_envelope_is_refused_or_another_that_is_not_trusted(position, noise):
    broken = bytearray(DATA)
    broken[position : position + len(noise)] = noise
    if bytes(broken) == DATA:
        return
    with pytest.raises(VerificationError):
        KeyList(1, 2, (A.public, B.public)).require(read_envelope(bytes(broken), BUNDLE_TYPE))


def test_a_signature_checks_itself():
    with pytest.raises(ValueError, match="64 hex digits"):
        Signature("x", bytes(64))
    with pytest.raises(ValueError, match="64 bytes"):
        Signature("0" * 64, b"")
    with pytest.raises(ValueError, match="signed twice"):
        Envelope(BUNDLE_TYPE, b"", SIGNED.signatures[:1] * 2)
