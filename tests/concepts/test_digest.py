import contextlib
import struct

import numpy as np
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from concepts.canonical import canonical_json, strict_json
from concepts.digest import sha256
from concepts.errors import VerificationError
from concepts.tensors import all_finite, read_metadata, read_tensors, tensors_digest, write_tensors
from tests.conftest import often

TENSORS = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a": np.array([1, 2], dtype=np.int32),
}


def test_json_is_canonical():
    value = {"b": (1, 2.0, 1e21), "a": np.float32(0.5), "é": np.int64(3)}
    assert canonical_json(value) == '{"a":0.5,"b":[1,2,1e+21],"é":3}'.encode()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda item: (
        st.lists(item) | st.dictionaries(st.text(st.characters(codec="utf-8")), item, max_size=5)
    ),
    max_leaves=20,
)


@pytest.mark.slow
@settings(max_examples=often(500), deadline=None)
@given(JSON)
def test_json_is_that_of_the_reference_writer(value):
    assert canonical_json(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [2**53, -(2**53), float(2**53), "\ud800", {1: 2}, b"x"])
def test_json_treats_unusual_values_like_the_reference_writer(value):
    try:
        expected = rfc8785.dumps(
            {str(k): v for k, v in value.items()} if value == {1: 2} else value
        )
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011 (each value has its own message)
            canonical_json(value)
    else:
        assert canonical_json(value) == expected


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


ARRAYS = st.sampled_from(["<i8", "<f8", "<f4", "<i4", "<f2"]).flatmap(
    lambda dtype: hnp.arrays(
        np.dtype(dtype),
        hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4),
        elements=st.integers(-1000, 1000),
    )
)
NAMES = st.text(st.characters(codec="utf-8"), max_size=6)


@pytest.mark.slow
@settings(max_examples=often(300), deadline=None)
@given(st.dictionaries(NAMES, ARRAYS, max_size=4), st.none() | st.dictionaries(NAMES, NAMES))
def test_tensor_files_are_those_of_the_library(tensors, about):
    data = write_tensors(tensors, about)
    held = None if about is None else {"uvr": canonical_json(about).decode()}
    assert data == save_safetensors(tensors, metadata=held)
    for again in (read_tensors(data), load_safetensors(data)):
        assert {name: (item.dtype, item.tolist()) for name, item in again.items()} == {
            name: (item.dtype, item.tolist()) for name, item in tensors.items()
        }


def test_read_tensors_are_views_that_cannot_be_written():
    data = write_tensors(TENSORS)
    for array in read_tensors(data).values():
        assert np.shares_memory(array, np.frombuffer(data, np.uint8))
        assert not array.flags.writeable
    unaligned = read_tensors(memoryview(b"x" + data)[1:])
    assert {name: array.tolist() for name, array in unaligned.items()} == {
        name: array.tolist() for name, array in TENSORS.items()
    }
    assert all(array.flags.aligned for array in unaligned.values())


OTHER_HEADERS = {
    "a space": '{ "x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "a gap": '{"x":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}',
    "another size": '{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}',
    "a negative size": '{"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
    "a huge shape": '{"x":{"dtype":"F32","shape":[0,1e99],"data_offsets":[0,0]}}',
    "true as a size": '{"x":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}}',
    "another dtype": '{"x":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}',
    "a list as a dtype": '{"x":{"dtype":["F32"],"shape":[1],"data_offsets":[0,4]}}',
    "more keys": '{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"y":1}}',
    "no shape": '{"x":{"dtype":"F32","data_offsets":[0,4]}}',
    "a list": "[]",
}


@pytest.mark.parametrize("header", OTHER_HEADERS.values(), ids=list(OTHER_HEADERS))
def test_other_headers_are_refused(header):
    text = header.encode() + b" " * (-len(header) % 8)
    with pytest.raises(VerificationError):
        read_tensors(struct.pack("<Q", len(text)) + text + bytes(4))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_all_finite_sees_every_value_that_is_not(dtype):
    assert all_finite(np.array([[0, -1], [60000, -60000]], dtype))
    assert all_finite(np.zeros((0, 3), dtype))
    for value in (np.nan, -np.nan, np.inf, -np.inf):
        assert not all_finite(np.array([0, value, 1], dtype))


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


@pytest.mark.slow
@settings(max_examples=often(200), deadline=None)
@given(st.binary(max_size=64), st.integers(0, 200), st.integers(1, 255))
def test_broken_tensor_files_raise_nothing_else(noise, position, flip):
    data = bytearray(write_tensors(TENSORS))
    data[position % len(data)] ^= flip
    for broken in (bytes(data), noise, bytes(data[: position % len(data)])):
        with contextlib.suppress(VerificationError):
            read_tensors(broken)
