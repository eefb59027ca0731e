"""Where a picture came from, inside its file: a C2PA assertion that holds digests and no more.

Whoever finds the picture sees, signed, that a model made it, and which release and verdict it was
drawn under, by digests: the registry and the decision log know what those stand for. Of the request
and its prompt it says nothing.

``c2pa`` is the extra ``c2pa``: it is imported when a picture is signed or read.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from PIL import Image

from concepts.digest import json_digest
from concepts.errors import InputError, NotFoundError, VerificationError
from concepts.printable import printable
from uvr.decisions.decision import Decision, pixels_digest

if TYPE_CHECKING:
    import c2pa

LABEL = "uvr-registry.decision"
"""Of the assertion; its data is what ``digests_of`` returns."""

DIGEST = re.compile("[0-9a-f]{64}")

MADE_BY_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def digests_of(decision: Decision) -> dict[str, str]:
    """Return what an assertion tells of a decision, SHA-256 each.

    ``bundle`` is the digest of the release, ``pixels`` that of the picture, as the decision log has
    it, and ``verdict`` that of the verdict's canonical JSON.

    Raises:
        InputError: The decision is on latents, and so on no picture.
    """
    if decision.pixels is None:
        raise InputError("The decision is on latents: only a picture can carry where it came from.")
    verdict = json_digest(decision.verdict.to_dict())
    return {"bundle": decision.verdict.bundle, "pixels": decision.pixels, "verdict": verdict}


def signed_png(picture: Image.Image, decision: Decision, signer: c2pa.Signer) -> bytes:
    """Return a picture as a PNG file that says where it came from, signed.

    Args:
        picture: As it was returned.
        decision: On this picture.
        signer: Of ``c2pa``; its certificate says who vouches.

    Raises:
        InputError: The decision is on another picture.
        NotFoundError: ``c2pa`` is not installed.
    """
    digests = digests_of(decision)
    if pixels_digest(picture) != decision.pixels:
        raise InputError("The decision is on another picture: their pixels differ.")
    made = {"action": "c2pa.created", "digitalSourceType": MADE_BY_MODEL}
    manifest = {
        "claim_generator_info": [{"name": "uvr-registry", "version": version("uvr-registry")}],
        "assertions": [
            {"label": "c2pa.actions", "data": {"actions": [made]}},
            {"label": LABEL, "data": digests},
        ],
    }
    plain, signed = io.BytesIO(), io.BytesIO()
    picture.convert("RGB").save(plain, "PNG")
    plain.seek(0)
    with _c2pa().Builder(json.dumps(manifest)) as builder:
        builder.sign(signer, "image/png", plain, signed)
    return signed.getvalue()


@dataclass(frozen=True)
class SignedDigests:
    """What a picture's file says of where it came from.

    Attributes:
        bundle: Digest of the release.
        pixels: Digest of the picture, as the decision log has it; it is this picture's.
        verdict: Digest of the verdict's canonical JSON.
        signer: Organisation and name in the certificate that it is signed with. Anybody can make a
            certificate with any name: it says something only if ``is_trusted``.
        is_trusted: Whether the certificate leads to one of the anchors that were given.
    """

    bundle: str
    pixels: str
    verdict: str
    signer: str
    is_trusted: bool


def read_digests(png: bytes, *, anchors: str | None = None) -> SignedDigests:
    """Return the digests that a PNG file carries, checked against its bytes and its pixels.

    Args:
        png: The file.
        anchors: Certificates that a signer must be certified by, as PEM, one after the other.
            None for any signer: whoever wants to can then have signed any digests.

    Raises:
        InputError: The anchors are no certificates.
        NotFoundError: It carries none, or ``c2pa`` is not installed.
        VerificationError: File or pixels were changed after it was signed, its signer is not
            trusted, or its assertion is not of this form.
    """
    told = _read(png, anchors)
    state = told["validation_state"]
    codes = ", ".join(sorted({item["code"] for item in told.get("validation_status", ())}))
    if state == "Invalid":
        raise VerificationError(f"The picture was changed after signing: {codes}.")
    manifest = told["manifests"][told["active_manifest"]]
    about = manifest.get("signature_info") or {}
    signer = f"{about.get('issuer')}, {about.get('common_name')}"
    if anchors is not None and state != "Trusted":
        raise VerificationError(
            f"The picture's signer '{printable(signer)}' is not certified by the anchors: {codes}."
        )
    digests = _digests_in(manifest)
    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        if pixels_digest(picture) != digests["pixels"]:
            raise VerificationError("The picture's pixels are not those of its decision.")
    is_trusted = anchors is not None
    return SignedDigests(**digests, signer=signer, is_trusted=is_trusted)


def _read(png: bytes, anchors: str | None) -> dict[str, Any]:
    """What C2PA found in a file, under settings of this call's own."""
    c2pa = _c2pa()
    settings = {} if anchors is None else {"trust": {"trust_anchors": anchors}}
    try:
        context = c2pa.Context.from_dict(settings)
    except c2pa.C2paError as error:
        raise InputError(f"The anchors are no certificates as PEM: {error}.") from error
    try:
        with context, c2pa.Reader("image/png", io.BytesIO(png), context=context) as reader:
            told: dict[str, Any] = json.loads(reader.json())
    except c2pa.C2paError as error:
        raise NotFoundError(f"The picture does not say where it came from: {error}.") from error
    return told


def _digests_in(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The digests in a manifest's assertion."""
    found = [item["data"] for item in manifest.get("assertions", ()) if item["label"] == LABEL]
    if not found:
        raise NotFoundError("The picture does not say under which release it was drawn.")
    data = found[0]
    if not (
        isinstance(data, dict)
        and data.keys() == {"bundle", "pixels", "verdict"}
        and all(isinstance(item, str) and DIGEST.fullmatch(item) for item in data.values())
    ):
        raise VerificationError(
            f"The picture's assertion '{LABEL}' does not hold the three digests bundle, pixels "
            "and verdict, 64 hexadecimal digits each: it was made by another program."
        )
    return dict(data)


def _c2pa() -> Any:
    try:
        import c2pa  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise NotFoundError("Signing pictures needs the extra: pip install '.[c2pa]'.") from error
    return c2pa
