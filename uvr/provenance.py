"""Where a picture came from, inside its file: a C2PA assertion that holds digests and no more.

Whoever finds the picture sees, signed, that a model made it, and which release and verdict it was
drawn under, by digests: the registry and the decision log know what those stand for. Of the request
and its prompt it says nothing.

``c2pa`` is the extra ``c2pa``: it is imported when a picture is signed or read.
"""

from __future__ import annotations

import io
import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from PIL import Image

from concepts.digest import json_digest
from concepts.errors import InputError, NotFoundError, VerificationError
from uvr.decisions.decision import Decision, pixels_digest

if TYPE_CHECKING:
    import c2pa

LABEL = "uvr-registry.decision"
"""Of the assertion; its data is what ``digests_of`` returns."""

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


def read_digests(png: bytes) -> dict[str, str]:
    """Return the digests that a PNG file carries, checked against its bytes and its pixels.

    Whether its signer is to be trusted is not checked: ``c2pa`` has settings for that.

    Raises:
        NotFoundError: It carries none, or ``c2pa`` is not installed.
        VerificationError: File or pixels were changed after it was signed.
    """
    c2pa = _c2pa()
    try:
        with c2pa.Reader("image/png", io.BytesIO(png)) as reader:
            told = json.loads(reader.json())
    except c2pa.C2paError as error:
        raise NotFoundError(f"The picture does not say where it came from: {error}.") from error
    if told["validation_state"] == "Invalid":
        codes = sorted({item["code"] for item in told.get("validation_status", ())})
        raise VerificationError(f"The picture was changed after signing: {', '.join(codes)}.")
    assertions = told["manifests"][told["active_manifest"]].get("assertions", ())
    found = [item["data"] for item in assertions if item["label"] == LABEL]
    if not found:
        raise NotFoundError("The picture does not say under which release it was drawn.")
    digests: dict[str, str] = found[0]
    with Image.open(io.BytesIO(png)) as picture:
        if pixels_digest(picture) != digests["pixels"]:
            raise VerificationError("The picture's pixels are not those of its decision.")
    return digests


def _c2pa() -> Any:
    try:
        import c2pa  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise NotFoundError("Signing pictures needs the extra: pip install '.[c2pa]'.") from error
    return c2pa
