import datetime
import io
import json
from dataclasses import replace

import c2pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

from concepts.digest import json_digest
from concepts.errors import InputError, NotFoundError, VerificationError
from uvr.provenance import SignedDigests, read_digests, signed_png


def certificate(subject, key, issuer, issuer_key, *, ca: bool) -> x509.Certificate:
    begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    usage = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        .serial_number(7 + ca).not_valid_before(begin).not_valid_after(begin.replace(year=2096))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )  # fmt: skip
    if not ca:
        purposes = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purposes, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def signer_of(organisation: str) -> tuple[c2pa.Signer, str]:
    """A signer, and its root certificate as PEM."""
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    names = [
        x509.Name([
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, name),
        ])
        for name in ("root", "signer")
    ]  # fmt: skip
    chain = [
        certificate(names[1], key, names[0], root_key, ca=False),
        certificate(names[0], root_key, names[0], root_key, ca=True),
    ]
    leaf, root = (item.public_bytes(serialization.Encoding.PEM) for item in chain)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    info = c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ES256, leaf + root, private, None)
    return c2pa.Signer.from_info(info), root.decode()


@pytest.fixture(scope="module")
def signer() -> c2pa.Signer:
    return signer_of("Test")[0]


def signed(picture: Image.Image, assertion, signer) -> bytes:
    """A PNG with an assertion of one's own."""
    action = {
        "action": "c2pa.created",
        "digitalSourceType": "http://c2pa.org/digitalsourcetype/empty",
    }
    manifest = {
        "assertions": [
            {"label": "c2pa.actions", "data": {"actions": [action]}},
            {"label": "uvr-registry.decision", "data": assertion},
        ]
    }
    source, found = io.BytesIO(), io.BytesIO()
    picture.save(source, "PNG")
    source.seek(0)
    with c2pa.Builder(json.dumps(manifest)) as builder:
        builder.sign(signer, "image/png", source, found)
    return found.getvalue()


def test_a_picture_carries_the_digests_of_its_decision_and_nothing_else_of_it(decide, signer):
    decision = decide(("ball", "enforce"))
    png = signed_png(decision.picture, decision, signer)
    assert read_digests(png) == SignedDigests(
        bundle=decision.verdict.bundle,
        pixels=decision.pixels,
        verdict=json_digest(decision.verdict.to_dict()),
        signer="Test, signer",
        is_trusted=False,
    )
    with c2pa.Reader("image/png", io.BytesIO(png)) as reader:
        told = reader.json()
    assert "trainedAlgorithmicMedia" in told
    for secret in (decision.prompt, decision.request, decision.bundle, "ball"):
        assert secret not in told
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.tobytes() == decision.picture.tobytes()


def test_a_picture_that_was_changed_is_refused(decide, signer):
    decision = decide(("ball", "enforce"))
    png = bytearray(signed_png(decision.picture, decision, signer))
    png[-20] ^= 1  # in the pixels
    with pytest.raises(VerificationError, match=r"changed after signing: assertion\.dataHash"):
        read_digests(bytes(png))


def test_only_the_decisions_own_picture_is_signed(decide, signer):
    decision = decide()
    with pytest.raises(InputError, match="another picture"):
        signed_png(Image.new("RGB", (8, 4)), decision, signer)
    with pytest.raises(InputError, match="on latents"):
        signed_png(decision.picture, replace(decision, pixels=None), signer)


def test_a_picture_that_says_nothing_is_told_apart(decide):
    plain = io.BytesIO()
    decide().picture.save(plain, "PNG")
    with pytest.raises(NotFoundError, match="does not say where it came from"):
        read_digests(plain.getvalue())


def test_the_digests_of_one_picture_cannot_be_moved_to_another(decide, signer):
    assertion = {"bundle": "f" * 64, "pixels": "0" * 64, "verdict": "0" * 64}
    with pytest.raises(VerificationError, match="not those of its decision"):
        read_digests(signed(decide().picture, assertion, signer))


def test_where_anchors_are_given_only_signers_that_they_certify_count(decide):
    (ours, anchors), (other, others) = signer_of("Ours"), signer_of("Mallory")
    decision = decide()
    png = signed_png(decision.picture, decision, ours)
    found = read_digests(png, anchors=others + anchors)
    assert (found.signer, found.is_trusted) == ("Ours, signer", True)
    forged = signed_png(decision.picture, decision, other)
    with pytest.raises(VerificationError, match="'Mallory, signer' is not certified by"):
        read_digests(forged, anchors=anchors)
    for bad in ("", "no certificate"):
        with pytest.raises(InputError, match="no certificates as PEM"):
            read_digests(png, anchors=bad)


@pytest.mark.parametrize(
    "assertion",
    [{}, ["bundle"], {"bundle": "f" * 64, "pixels": 7, "verdict": "0" * 64},
     {"bundle": "f" * 64, "pixels": "0" * 64, "verdict": "0" * 64, "more": "x"}],
)  # fmt: skip
def test_an_assertion_of_another_form_is_refused(decide, signer, assertion):
    with pytest.raises(VerificationError, match="does not hold the three digests"):
        read_digests(signed(decide().picture, assertion, signer))
