"""``Scorer``: what scores a patch for one concept, and the thresholds that decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concepts.calibration import KEY
from concepts.canonical import plain_json
from concepts.digest import json_digest, sha256
from concepts.plain import finite_number, require_keys
from concepts.tensors import all_finite, read_metadata, read_tensors, tensors_digest, write_tensors
from concepts.words import RULES

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scorer:
    """What scores a patch for one concept: ``score = max_k(f . weights_k + offset_k)``.

    Attributes:
        rule: One of ``words.RULES``; "mean" is the reference's.
        weights: One row for each prototype, (k, dim), float32 or float16; read-only. The dtype
            is part of the digest, and whoever scores converts.
        offset: (k,), float32, read-only.
        seed_threshold: A patch with score >= this starts a region.
        grow_threshold: A patch with score >= this joins a region next to it.
        metadata: How it was fitted and what was measured; JSON.
    """

    rule: str
    weights: NDArray[Any] = field(repr=False)
    offset: Floats = field(repr=False)
    seed_threshold: float
    grow_threshold: float
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule is {self.rule!r}, allowed: {', '.join(RULES)}")
        dtype = np.float16 if getattr(self.weights, "dtype", None) == np.float16 else np.float32
        object.__setattr__(self, "weights", _frozen("weights", self.weights, 2, dtype))
        object.__setattr__(self, "offset", _frozen("offset", self.offset, 1, np.float32))
        if self.weights.shape[0] == 0 or self.offset.shape[0] != self.weights.shape[0]:
            raise ValueError("a scorer needs one or more weight rows and one offset for each")
        for name in ("seed_threshold", "grow_threshold"):
            object.__setattr__(self, name, finite_number(name, getattr(self, name)))
        if self.grow_threshold > self.seed_threshold:
            raise ValueError("grow_threshold must not be above seed_threshold")
        object.__setattr__(self, "metadata", plain_json(self.metadata))

    @property
    def dim(self) -> int:
        """Number of features that it scores."""
        return int(self.weights.shape[1])

    @property
    def digest(self) -> str:
        """SHA-256 over the tensors' digest and the scalars."""
        return json_digest({**self.to_dict(), "payload": tensors_digest(self.to_tensors())})

    def scores(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """Score features (n, dim): (n,), unbounded; "score >= threshold is a match"."""
        product = np.asarray(features, np.float64) @ self.weights.astype(np.float64).T
        best: NDArray[np.float64] = (product + self.offset).max(axis=1)
        return best

    def with_thresholds(self, seed: float, grow: float) -> Scorer:
        """Return it with other thresholds, and without what was measured at the present ones."""
        metadata = {name: item for name, item in self.metadata.items() if name != KEY}
        return replace(self, seed_threshold=seed, grow_threshold=grow, metadata=metadata)

    def to_dict(self) -> dict[str, Any]:
        """JSON form of everything but the tensors."""
        return {
            "rule": self.rule,
            "seed_threshold": self.seed_threshold,
            "grow_threshold": self.grow_threshold,
            "metadata": self.metadata,
        }

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """Return weights and offset by name."""
        return {"weights": self.weights, "offset": self.offset}

    @cached_property
    def payload(self) -> bytes | memoryview:
        """The tensors as one safetensors file."""
        return write_tensors(self.to_tensors())

    @cached_property
    def payload_digest(self) -> str:
        """SHA-256 of the payload, which names its file."""
        return sha256(self.payload)

    def __getstate__(self) -> dict[str, Any]:
        # A payload may be a view of a whole bundle file, which can be neither copied nor pickled.
        return {name: item for name, item in self.__dict__.items() if name != "payload"}

    @classmethod
    def from_payload(
        cls, scalars: Mapping[str, Any], payload: bytes | memoryview, digest: str
    ) -> Scorer:
        """Rebuild a scorer from ``to_dict`` and a payload, without a copy of it where possible.

        Args:
            scalars: See ``to_dict``.
            payload: See ``payload``; it must stay unchanged.
            digest: SHA-256 of the payload, which the caller has checked.

        Raises:
            ValueError, VerificationError: For anything else.
        """
        tensors = read_tensors(payload, finite=False)  # The scorer refuses NaN and infinity.
        if read_metadata(payload) is not None:
            raise ValueError("a scorer's file holds no metadata: the manifest has it")
        scorer = cls.from_tensors(scalars, tensors)
        for name, array in scorer.to_tensors().items():
            if array.dtype != tensors[name].dtype:
                raise ValueError(f"{name} must not be {tensors[name].dtype}")
        scorer.__dict__.update(payload=payload, payload_digest=digest)
        return scorer

    @classmethod
    def from_tensors(cls, scalars: Mapping[str, Any], tensors: Mapping[str, Any]) -> Scorer:
        """Rebuild a scorer from ``to_dict`` and ``to_tensors``; ValueError for anything else."""
        require_keys(scalars, ("rule", "seed_threshold", "grow_threshold", "metadata"))
        require_keys(tensors, ("weights", "offset"))
        if not isinstance(scalars["metadata"], Mapping):
            raise ValueError("metadata must be a mapping")
        return cls(**scalars, **tensors)


def _frozen(name: str, value: Any, ndim: int, dtype: type[np.floating[Any]]) -> NDArray[Any]:
    """Return a checked array that cannot be written; it is a copy unless nobody could before."""
    array = value
    if not isinstance(value, np.ndarray) or value.flags.writeable or value.dtype != dtype:
        with np.errstate(over="ignore"):  # An overflow becomes infinity and is refused below.
            array = np.array(value, dtype=dtype)
    array = np.ascontiguousarray(array) if array.ndim else array
    if array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} axes, not {array.ndim}")
    if not all_finite(array):
        raise ValueError(f"{name} hold NaN or infinity")
    array.setflags(write=False)
    return array
