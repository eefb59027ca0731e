import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concepts.digest import (
    canonical_json,
    read_metadata,
    read_tensors,
    sha256,
    strict_json,
    tensors_digest,
    write_tensors,
)
from concepts.errors import VerificationError

TENSORS = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a": np.array([1, 2], dtype=np.int32),
}


def test_json_is_canonical():
    value = {"b": (1, 2.0, 1e21), "a": np.float32(0.5), "é": np.int64(3)}
    assert canonical_json(value) == '{"a":0.5,"b":[1,2,1e+21],"é":3}'.encode()


def test_json_refuses_nan():
    with pytest.raises(ValueError, match="nan"):
        canonical_json({"a": float("nan")})


@pytest.mark.parametrize(
    "text", [b'{"a":1,"a":2}', b"[NaN]", b"[Infinity]", b"\xff", b"{", b"[" * 100_000]
)
def test_strict_json_refuses(text):
    with pytest.raises(VerificationError):
        strict_json(text)


def test_sha256():
    assert sha256(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_tensors_round_trip_byte_equal():
    data = write_tensors(TENSORS)
    again = read_tensors(data)
    assert write_tensors(again) == data
    assert {name: array.tolist() for name, array in again.items()} == {
        name: array.tolist() for name, array in TENSORS.items()
    }


def test_tensor_bytes_do_not_depend_on_order_or_layout():
    other = {"a": TENSORS["a"].astype(">i4"), "b": np.asfortranarray(TENSORS["b"])}
    assert write_tensors(other) == write_tensors(TENSORS)
    assert tensors_digest(other) == tensors_digest(TENSORS)


def test_metadata_round_trips_and_is_deterministic():
    about = {"z": [1, {"y": "é"}], "a": None}
    data = write_tensors(TENSORS, about)
    assert read_metadata(data) == about
    assert write_tensors(TENSORS, dict(reversed(about.items()))) == data
    assert read_metadata(write_tensors(TENSORS)) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"c": TENSORS["b"]},
        {"b": TENSORS["b"].reshape(3, 2)},
        {"b": TENSORS["b"].astype(np.float64)},
        {"b": TENSORS["b"] + 1},
    ],
    ids=["name", "shape", "dtype", "bytes"],
)
def test_digest_covers(changed):
    assert tensors_digest(changed) != tensors_digest({"b": TENSORS["b"]})


def test_nan_is_neither_written_nor_read():
    nan = np.array([np.nan], dtype=np.float32)
    with pytest.raises(ValueError, match="'x' holds NaN"):
        write_tensors({"x": nan})
    data = write_tensors({"x": np.zeros(1, np.float32)})[:-4] + nan.tobytes()
    with pytest.raises(VerificationError, match="'x' holds NaN"):
        read_tensors(data)


def test_duplicate_tensor_names_are_refused():
    entry = '"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    header = f"{{{entry},{entry}}}".encode()
    data = struct.pack("<Q", len(header)) + header + bytes(4)
    with pytest.raises(VerificationError, match="a key occurs twice"):
        read_tensors(data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64), st.integers(0, 200), st.integers(1, 255))
def test_broken_tensor_files_raise_nothing_else(noise, position, flip):
    data = bytearray(write_tensors(TENSORS))
    data[position % len(data)] ^= flip
    for broken in (bytes(data), noise, bytes(data[: position % len(data)])):
        with contextlib.suppress(VerificationError):
            read_tensors(broken)
