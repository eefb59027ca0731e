"""Anchors and what they were captured from: ``AnchorSpace``, ``AnchorSet``.

Features of different spaces never mix: each set carries its space, and spaces compare by digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concepts.canonical import plain_json
from concepts.digest import json_digest
from concepts.errors import VerificationError
from concepts.plain import finite_number, require_keys
from concepts.tensors import read_metadata, read_tensors, tensors_digest, write_tensors
from concepts.words import TASKS

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class AnchorSpace:
    """Which features: of which model, at which taps, captured at which noise level.

    Attributes:
        model: Name of the model profile, such as "flux.1-dev".
        revision: Digest or revision of the weights, "" when any will do.
        task: "t2i" or "edit".
        taps: Module names; their features are concatenated in this order.
        dim: Total number of features.
        sigma: Noise level of the step whose features were captured, 0 to 1.
    """

    model: str
    revision: str
    task: str
    taps: tuple[str, ...]
    dim: int
    sigma: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "taps", tuple(self.taps))
        object.__setattr__(self, "sigma", finite_number("sigma", self.sigma))
        if not isinstance(self.model, str) or not self.model:
            raise ValueError("model must be a name")
        if not isinstance(self.revision, str):
            raise ValueError("revision must be a string")
        if self.task not in TASKS:
            raise ValueError(f"task is {self.task!r}, allowed: {', '.join(TASKS)}")
        if not self.taps or not all(isinstance(tap, str) and tap for tap in self.taps):
            raise ValueError("taps must be one or more module names")
        if len(set(self.taps)) != len(self.taps):
            raise ValueError("a tap occurs twice")
        if not isinstance(self.dim, int) or isinstance(self.dim, bool) or self.dim < 1:
            raise ValueError(f"dim must be a positive integer, not {self.dim!r}")
        if not 0.0 <= self.sigma <= 1.0:
            raise ValueError(f"sigma must lie in 0..1, not {self.sigma}")

    @property
    def digest(self) -> str:
        """SHA-256 of the space's canonical JSON."""
        return json_digest(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        names = ("model", "revision", "task", "dim", "sigma")
        return {**{name: getattr(self, name) for name in names}, "taps": list(self.taps)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AnchorSpace:
        """Read the JSON form; ValueError if a key is missing, unknown or of another type."""
        require_keys(data, ("model", "revision", "task", "taps", "dim", "sigma"))
        if not isinstance(data["taps"], list | tuple):
            raise ValueError("taps must be a list")
        return cls(**{**data, "taps": tuple(data["taps"])})


@dataclass(frozen=True, eq=False)
class AnchorSet:
    """Features of patches that show a concept, and of patches that do not.

    Attributes:
        space: Where the features come from.
        anchors: Features of the concept, (n, dim), float32, n >= 1.
        anchor_images: Which picture each anchor came from, (n,), int32.
        counter_anchors: Features of benign and near-miss patches, (m, dim), float32.
        counter_images: Which picture each counter-anchor came from, (m,), int32; numbered with
            the same numbers as ``anchor_images``, so that a picture can appear in both.
        provenance: How they were collected (method, prompts, seeds, sizes); JSON.
    """

    space: AnchorSpace
    anchors: Floats = field(repr=False)
    anchor_images: Ints = field(repr=False)
    counter_anchors: Floats = field(repr=False)
    counter_images: Ints = field(repr=False)
    provenance: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for vectors, images in (
            ("anchors", "anchor_images"),
            ("counter_anchors", "counter_images"),
        ):
            features = _floats(vectors, getattr(self, vectors), 2)
            pictures = _ints(images, getattr(self, images))
            if features.shape[1] != self.space.dim:
                raise ValueError(
                    f"{vectors} have {features.shape[1]} dimensions, the space {self.space.dim}"
                )
            if pictures.shape[0] != features.shape[0]:
                raise ValueError(f"{images} needs one number for each of the {vectors}")
            object.__setattr__(self, vectors, features)
            object.__setattr__(self, images, pictures)
        if self.anchors.shape[0] == 0:
            raise ValueError("an anchor set needs at least one anchor")
        object.__setattr__(self, "provenance", plain_json(self.provenance))

    @cached_property  # Hashing takes a good part of adding a set, and its arrays are read-only.
    def digest(self) -> str:
        """SHA-256 over the payload's digest and the space's; provenance is not part of it."""
        return json_digest(
            {"payload": tensors_digest(self.to_tensors()), "space": self.space.digest}
        )

    def to_tensors(self, dtype: str = "float32") -> dict[str, NDArray[Any]]:
        """Return the four arrays by name, features as float32 or float16."""
        if dtype not in ("float32", "float16"):
            raise ValueError(f"dtype is {dtype!r}, allowed: float32, float16")
        with np.errstate(over="ignore"):  # An overflow is refused when the tensors are written.
            return {
                "anchors": self.anchors.astype(dtype, copy=False),
                "anchor_images": self.anchor_images,
                "counter_anchors": self.counter_anchors.astype(dtype, copy=False),
                "counter_images": self.counter_images,
            }

    @classmethod
    def from_tensors(
        cls, space: AnchorSpace, tensors: Mapping[str, NDArray[Any]], provenance: Mapping[str, Any]
    ) -> AnchorSet:
        """Rebuild a set from the arrays of ``to_tensors``."""
        require_keys(tensors, ("anchors", "anchor_images", "counter_anchors", "counter_images"))
        return cls(space=space, provenance=provenance, **tensors)

    def to_bytes(self, dtype: str = "float32") -> bytes:
        """Encode as one safetensors file that carries space and provenance too."""
        about = {"space": self.space.to_dict(), "provenance": self.provenance}
        return write_tensors(self.to_tensors(dtype), about)

    @classmethod
    def from_bytes(cls, data: bytes) -> AnchorSet:
        """Decode ``to_bytes``; VerificationError for anything else."""
        tensors, about = read_tensors(data), read_metadata(data)
        try:
            require_keys(about, ("space", "provenance"))
            return cls.from_tensors(
                AnchorSpace.from_dict(about["space"]), tensors, dict(about["provenance"])
            )
        except (ValueError, TypeError) as error:
            raise VerificationError(f"The anchor file is not valid: {error}.") from error


def _floats(name: str, value: Any, ndim: int) -> Floats:
    with np.errstate(over="ignore"):  # An overflow becomes infinity and is refused below.
        array = np.array(value, dtype=np.float32, order="C")
    if array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} axes, not {array.ndim}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} hold NaN or infinity")
    return array


def _ints(name: str, value: Any) -> Ints:
    found = np.asarray(value)
    if found.ndim != 1 or (found.size and not np.issubdtype(found.dtype, np.integer)):
        raise ValueError(f"{name} must be one axis of integers")
    array = found.astype(np.int32, order="C", copy=True)
    if not np.array_equal(array, found):
        raise ValueError(f"{name} does not fit into 32 bits")
    return array
