"""A decision: the verdict on one picture, with the call that it was drawn in."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from uvr.report import RegulationReport, decode_feature, encode_feature
from uvr.verdict import Verdict

ROWS = 64
"""Of a picture whose digest is made, at one time."""
_PLAIN = ("time", "request", "model", "task", "state", "space")
_request: ContextVar[str | None] = ContextVar("uvr_request", default=None)


@contextmanager
def named_request(name: str) -> Iterator[None]:
    """Name the calls of regulated pipelines within the context, as reports and decisions do.

    It holds for this thread or task alone. Without it each call gets a name of its own.
    """
    token = _request.set(name)
    try:
        yield
    finally:
        _request.reset(token)


def request_name() -> str:
    """Return the name of the request that runs here, a new one where none was given."""
    return _request.get() or secrets.token_hex(8)


@dataclass(frozen=True)
class Decision:
    """What was decided on one picture.

    Attributes:
        time: When its call ended.
        request: Name of the call; see ``named_request``.
        model: Name of the model in anchor spaces.
        task: "t2i" or "edit".
        bundle: Name of the bundle; its digest is the verdict's.
        sequence: Release number.
        state: "ok"; "stale" or "degraded" when the bundle's source could not confirm it.
        space: Digest of the anchor space that ``features`` are of, "" for none.
        verdict: What became of the picture.
        seconds: Of the whole call and of parts of it: "call", "look", "rewind", "check".
        pixels: Digest of the picture that was returned, see ``pixels_digest``; None for latents.
        prompt: Its text, None where the call had none, or a log kept none.
        prompt_digest: The digest that a log kept of it.
        features: Of what fired at the look, by concept: the feature of the patch that scored
            highest, (dim,), float16.
        labels: What the log says of its host.
        picture: The picture that was returned, None for latents.
    """

    time: str
    request: str
    model: str
    task: str
    bundle: str
    sequence: int
    state: str
    space: str
    verdict: Verdict
    seconds: Mapping[str, float] = field(default_factory=dict)
    pixels: str | None = None
    prompt: str | None = field(default=None, repr=False)
    prompt_digest: str | None = None
    features: Mapping[str, NDArray[Any]] = field(default_factory=dict, repr=False, compare=False)
    labels: Mapping[str, str] = field(default_factory=dict)
    picture: Image.Image | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        report: RegulationReport,
        verdict: Verdict,
        *,
        prompt: str | None = None,
        picture: Image.Image | None = None,
    ) -> Decision:
        """Make the decision on one picture of a call, whose report is complete."""
        found = (*report.images[verdict.picture], *report.shadow[verdict.picture])
        return cls(
            time=report.time,
            request=report.request,
            model=report.model,
            task=report.task,
            bundle=report.bundle,
            sequence=report.sequence,
            state=report.bundle_state,
            space=report.space,
            verdict=verdict,
            seconds=report.seconds,
            pixels=None if picture is None else pixels_digest(picture),
            prompt=prompt,
            features={item.slug: item.feature for item in found if item.feature is not None},
            picture=picture,
        )

    def to_dict(
        self,
        *,
        key: bytes | None = None,
        text: bool = False,
        features: bool = False,
    ) -> dict[str, Any]:
        """JSON form: the verdict's, and the call's beside it.

        Args:
            key: Of the prompt's digest; see ``prompt_digest``.
            text: Whether the prompt itself is told.
            features: Whether features are told, in base64.
        """
        told: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN}
        told |= {
            **self.verdict.to_dict(),
            "release": {"bundle": self.bundle, "sequence": self.sequence},
            "seconds": {name: round(value, 4) for name, value in self.seconds.items()},
            "pixels": self.pixels,
            "prompt_digest": prompt_digest(self.prompt, key),
            "labels": dict(self.labels),
        }
        if text:
            told["prompt"] = self.prompt
        if features and self.features:
            told["features"] = {s: encode_feature(f) for s, f in self.features.items()}
        return told

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Decision:
        """Read the JSON form; ValueError, LookupError or TypeError for anything else."""
        features = data.get("features", {})
        return cls(
            **{name: data[name] for name in _PLAIN},
            bundle=data["release"]["bundle"],
            sequence=int(data["release"]["sequence"]),
            verdict=Verdict.from_dict(data),
            seconds=dict(data["seconds"]),
            pixels=data["pixels"],
            prompt=data.get("prompt"),
            prompt_digest=data["prompt_digest"],
            features={s: decode_feature(f).astype(np.float16) for s, f in features.items()},
            labels=dict(data["labels"]),
        )


def prompt_digest(prompt: str | None, key: bytes | None = None) -> str | None:
    """Return "sha256:…" of a prompt, "hmac-sha256:…" with a key, or None without a prompt.

    Whoever has a list of prompts can find theirs among plain digests; with a key only its holder
    can.
    """
    if prompt is None:
        return None
    if key is None:
        return f"sha256:{hashlib.sha256(prompt.encode()).hexdigest()}"
    return f"hmac-sha256:{hmac.digest(key, prompt.encode(), 'sha256').hex()}"


def pixels_digest(picture: Image.Image) -> str:
    """Return the SHA-256 of a picture's size and RGB pixels: files that lose nothing share it."""
    width, height = picture.size
    digest = hashlib.sha256(width.to_bytes(4, "big") + height.to_bytes(4, "big"))
    for top in range(0, height, ROWS):  # Of a large picture a copy takes much memory.
        rows = picture.crop((0, top, width, min(top + ROWS, height)))
        digest.update(rows.convert("RGB").tobytes())
    return digest.hexdigest()
