"""Mutated bundles: seeded, aware of the file's structure, and none of them may be accepted."""

import base64
import json
import random
import resource
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from concepts.anchors import AnchorSpace
from concepts.archive import pack, unpack
from concepts.bundle import (
    Bundle,
    BundleVariant,
    Member,
    lock_digest,
    locked_members,
    read_bundle,
    write_bundle,
)
from concepts.bundle.reader import _FILE, ENVELOPE
from concepts.canonical import canonical_json
from concepts.digest import sha256
from concepts.errors import VerificationError
from concepts.scorer import Scorer
from concepts.signing.envelope import BUNDLE_TYPE, KEYS_TYPE, sign
from concepts.signing.keys import KeyList, PrivateKey, sign_key_list
from concepts.tensors import write_tensors
from tests.conftest import often

SEED, MUTANTS = 20261124, often(12_000)
CAP = 1 << 20
FIRST, SECOND, THIRD, STRANGER = (
    PrivateKey(Ed25519PrivateKey.from_private_bytes(bytes([number] * 32))) for number in range(4)
)
TRUSTED = KeyList(1, 2, (FIRST.public, SECOND.public))
ROTATED = KeyList(2, 2, (SECOND.public, THIRD.public), (FIRST.public.key_id,))
AGAIN = KeyList(3, 2, (SECOND.public, THIRD.public), (FIRST.public.key_id,))
CHAIN = (sign_key_list(ROTATED, (FIRST, SECOND, THIRD)), sign_key_list(AGAIN, (SECOND, THIRD)))


def make_bundle():
    draw = np.random.default_rng(0)
    made = []
    for number, (slug, dtype) in enumerate((("bomb", np.float16), ("pistol", np.float32))):
        weights, offset = draw.normal(size=(2, 4)).astype(dtype), draw.normal(size=2)
        scorer = Scorer("whitened", weights, offset, 3.0, 2.0, {"auc": 0.75})
        made.append(Member(slug, slug.title(), "object", 1, f"{number:064x}", scorer))
    variants = tuple(
        BundleVariant(AnchorSpace("testbed", "r1", task, ("a",), 4, 0.95), tuple(made))
        for task in ("edit", "t2i")
    )
    return Bundle(
        "demo", 3, lock_digest(locked_members(variants)), variants, registry="0f" * 16,
        created="2026-11-24T10:00:00.000000Z", revocations=("f" * 64,), key_lists=CHAIN,
    )  # fmt: skip


BUNDLE = make_bundle().sign(SECOND, THIRD)
DATA = write_bundle(BUNDLE)
FILES = {name: bytes(entry.data) for name, entry in unpack(DATA, ENVELOPE, _FILE).items()}
MANIFEST = json.loads(BUNDLE.manifest())
SIGNED = json.loads(FILES[ENVELOPE])


def repacked(changes, envelope=None):
    """The bundle's archive with other files, checksums right."""
    files = {name: data for name, data in {**FILES, **changes}.items() if data is not None}
    return pack({**files, ENVELOPE: FILES[ENVELOPE] if envelope is None else envelope})


def flip_bits(draw):
    data = bytearray(DATA)
    for _ in range(draw.choice((1, 1, 1, 2, 8))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


def splice(draw):
    at, end = sorted(draw.sample(range(len(DATA) + 1), 2))
    start = draw.randrange(len(DATA))
    piece = draw.choice((b"", draw.randbytes(draw.randrange(1, 40)), DATA[start : start + 200]))
    return draw.choice(
        (DATA[:at] + piece + DATA[end:], DATA[:at] + piece + DATA[at:], DATA[at:end] + piece)
    )


def cut_or_pad(draw):
    noise = draw.randbytes(draw.randrange(1, 50))
    cut = DATA[: draw.randrange(len(DATA))]
    return draw.choice((cut, DATA + noise, noise + DATA, DATA + DATA, cut + DATA[-22:]))


def edit_zip_header(draw):
    mark = draw.choice((b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"))
    places = [at for at in range(len(DATA)) if DATA.startswith(mark, at)]
    size = {b"PK\x03\x04": 30, b"PK\x01\x02": 46, b"PK\x05\x06": 22}[mark]
    at, width = draw.choice(places) + draw.randrange(4, size - 3), draw.choice((1, 2, 4))
    value = draw.choice((0, 1, len(DATA), 0xFFFFFFFF, 0x7FFFFFFF, draw.getrandbits(32)))
    field = (value % (1 << 8 * width)).to_bytes(width, "little")
    return DATA[:at] + field + DATA[at + width :]


ODD_VALUES = (
    None, True, 0, -1, 3.5, 1e300, 1 << 60, "", "x", "../x", "a" * 64, "é", [], {}, [[]],
    {"a": 1}, "2020-01-01T00:00:00.000000Z",
)  # fmt: skip


def edited(value, draw):
    """A JSON value with one place changed, at a random depth."""
    if isinstance(value, dict) and value and draw.random() < 0.85:
        name = draw.choice(sorted(value))
        if draw.random() < 0.1:
            return {key: item for key, item in value.items() if key != name}
        if draw.random() < 0.1:
            return {**value, draw.choice(("x", name + "x", "__class__")): draw.choice(ODD_VALUES)}
        return {**value, name: edited(value[name], draw)}
    if isinstance(value, list) and value and draw.random() < 0.85:
        at = draw.randrange(len(value))
        if draw.random() < 0.2:
            return [*value[:at], *value[at + 1 :], *draw.choice(([], [value[at]] * 2))]
        return [*value[:at], edited(value[at], draw), *value[at + 1 :]]
    if isinstance(value, str) and value and draw.random() < 0.5:
        at = draw.randrange(len(value))
        return value[:at] + draw.choice("0af-Z") + value[at + 1 :]
    if isinstance(value, int | float) and draw.random() < 0.5:
        return value + draw.choice((-1, 1, 0.5))
    return draw.choice(ODD_VALUES)


def encoded(value, draw):
    """JSON text, canonical or nearly so."""
    try:
        text = canonical_json(value)
    except ValueError:
        text = json.dumps(value).encode()
    if draw.random() < 0.2:
        text = draw.choice(
            (b" " + text, text + b"\n", text[:-1], json.dumps(value).encode(), b"[" * 5000,
             text.replace(b'"format"', b'"format":"uvr-bundle/1","format"'))
        )  # fmt: skip
    return text


def edit_manifest(draw):
    """Another manifest under the old signatures, or under those of a stranger."""
    text = encoded(edited(MANIFEST, draw), draw)
    old = [(item["keyid"], item["sig"]) for item in SIGNED["signatures"]]
    if draw.random() < 0.5:
        forged = sign(BUNDLE_TYPE, text, STRANGER).signatures[0]
        value = base64.b64encode(forged.value).decode()
        names = draw.choice(([forged.key_id], [key_id for key_id, _ in old]))
        old = [(name, value) for name in names]
    return repacked({}, envelope_bytes(BUNDLE_TYPE, text, old))


def envelope_bytes(kind, payload, signatures):
    rows = [{"keyid": key_id, "sig": sig} for key_id, sig in signatures]
    text = base64.b64encode(payload).decode()
    return canonical_json({"payload": text, "payloadType": kind, "signatures": rows})


def edit_payload(draw):
    """Other tensors, with every digest, name and checksum set right."""
    name = draw.choice([name for name in FILES if name.startswith("anchors/")])
    data = bytearray(FILES[name])
    at = draw.randrange(len(data))
    data[at] ^= draw.randrange(1, 256)
    other = f"anchors/{sha256(bytes(data))}.safetensors"
    listed = {key: item for key, item in MANIFEST["files"].items() if key != name}
    listed[other] = {"sha256": sha256(bytes(data)), "size": len(data)}
    text = canonical_json({**MANIFEST, "files": listed}).replace(name.encode(), other.encode())
    signatures = [(item["keyid"], item["sig"]) for item in SIGNED["signatures"]]
    if draw.random() < 0.3:
        return repacked({name: bytes(data)})
    return repacked({name: None, other: bytes(data)}, envelope_bytes(BUNDLE_TYPE, text, signatures))


def edit_envelope(draw):
    rows, payload = SIGNED["signatures"], SIGNED["payload"]
    first, second = rows
    stranger = sign(BUNDLE_TYPE, BUNDLE.manifest(), STRANGER).signatures[0]
    strange = {"keyid": stranger.key_id, "sig": base64.b64encode(stranger.value).decode()}
    changed = draw.choice(
        (
            {"signatures": [{**first, "sig": second["sig"]}, {**second, "sig": first["sig"]}]},
            {"signatures": [second, first]},
            {"signatures": [draw.choice(rows)]},
            {"signatures": [first, first]},
            {"signatures": [first, {**first, "keyid": second["keyid"]}]},
            {"signatures": sorted((strange, draw.choice(rows)), key=lambda row: row["keyid"])},
            {"signatures": [*rows, strange, strange]},
            {"signatures": []},
            {"payloadType": draw.choice((KEYS_TYPE, BUNDLE_TYPE + " ", BUNDLE_TYPE.upper(), ""))},
            {"payload": payload.rstrip("=") if payload.endswith("=") else payload + "===="},
            {"payload": payload[:76] + "\n" + payload[76:]},
            {"payload": payload[:20].replace(payload[5], "_") + payload[20:]},
            {"signatures": [{**first, "sig": first["sig"].rstrip("=")}, second]},
            {"signatures": [{**first, "keyid": first["keyid"].upper()}, second]},
            {"more": 1},
        )
    )
    whole = edited(SIGNED, draw) if draw.random() < 0.1 else {**SIGNED, **changed}
    return repacked({}, encoded(whole, draw))


def edit_chain(draw):
    mine = KeyList(2, 1, (STRANGER.public,), (FIRST.public.key_id,))
    next_one = KeyList(4, 1, (STRANGER.public,), (FIRST.public.key_id,))
    name = draw.choice(("keys/0002.json", "keys/0003.json"))
    forged = draw.choice(
        (
            {name: None},
            {"keys/0002.json": FILES["keys/0003.json"], "keys/0003.json": FILES["keys/0002.json"]},
            {"keys/0002.json": sign_key_list(mine, [STRANGER]).to_bytes(), "keys/0003.json": None},
            {"keys/0004.json": sign_key_list(next_one, [STRANGER, SECOND]).to_bytes()},
            {"keys/0002.json": sign_key_list(ROTATED, [FIRST, THIRD]).to_bytes()},
            {"keys/0001.json": sign_key_list(TRUSTED, [FIRST, SECOND]).to_bytes()},
            {name: encoded(edited(json.loads(FILES[name]), draw), draw)},
        )
    )
    return repacked(forged)


def edit_entries(draw):
    name = draw.choice(sorted(FILES))
    noise = draw.randbytes(draw.randrange(100))
    return draw.choice(
        (
            lambda: repacked({draw.choice(("../x", "anchors/x", "/etc/x", "zz")): noise}),
            lambda: repacked({f"anchors/{sha256(noise)}.safetensors": noise}),
            lambda: repacked({name: noise}, noise if name == ENVELOPE else None),
            lambda: pack({key: data for key, data in FILES.items() if key != name}),
            lambda: pack({}),
            lambda: repacked({name: FILES[name] + noise + b"x"}),
        )
    )()


MUTATIONS = (
    flip_bits, splice, cut_or_pad, edit_zip_header, edit_manifest, edit_payload, edit_envelope,
    edit_chain, edit_entries,
)  # fmt: skip


def mutants(seed, count):
    """Mutated bundles that differ from the good one, each with its mutation's name."""
    draw = random.Random(seed)
    while count:
        mutation = draw.choice(MUTATIONS)
        data = mutation(draw)
        if data != DATA and not same_but_for_strangers(data):
            count -= 1
            yield mutation.__name__, data


def same_but_for_strangers(data):
    """Whether a file is the good one beside signatures of keys that nobody trusts.

    Such a file may be accepted: a signature that is not trusted is passed over, not an error.
    """
    try:
        read = read_bundle(data)
    except VerificationError:
        return False
    return read.digest == BUNDLE.digest and set(BUNDLE.signatures) < set(read.signatures)


def test_the_good_bundle_is_accepted():
    assert write_bundle(read_bundle(DATA, TRUSTED, max_bytes=CAP)) == DATA


@pytest.mark.slow
def test_no_mutated_bundle_is_accepted_and_none_raises_anything_else():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused, accepted = Counter(), []
    for number, (name, data) in enumerate(mutants(SEED, MUTANTS)):
        try:
            read_bundle(data, TRUSTED, max_bytes=CAP)
        except VerificationError:
            refused[name] += 1
        else:
            accepted.append((SEED, number, name))
    assert accepted == []
    assert sum(refused.values()) == MUTANTS
    assert set(refused) == {mutation.__name__ for mutation in MUTATIONS}
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * 1024 < 64 << 20


@pytest.mark.slow
def test_reading_a_mutated_bundle_takes_memory_in_proportion_to_it():
    tracemalloc.start()
    try:
        for name, data in mutants(SEED + 1, often(500)):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            with pytest.raises(VerificationError):
                read_bundle(data, TRUSTED, max_bytes=CAP)
            peak = tracemalloc.get_traced_memory()[1] - before
            assert peak <= 3 * len(data) + (256 << 10), name
    finally:
        tracemalloc.stop()


def test_memory_is_bounded_for_a_large_bundle():
    draw = np.random.default_rng(0)
    space = AnchorSpace("testbed", "r1", "t2i", ("a",), 3072, 0.95)
    made = [
        Member(
            f"m-{number}", "M", "object", 1, "a" * 64,
            Scorer("mean", draw.normal(size=(16, 3072)).astype(np.float16), np.zeros(16), 3, 2),
        )
        for number in range(50)
    ]  # fmt: skip
    variants = (BundleVariant(space, tuple(made)),)
    data = write_bundle(Bundle("demo", 1, lock_digest(locked_members(variants)), variants))
    tracemalloc.start()
    try:
        read_bundle(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= len(data) / 2  # The vectors are views of the file, which is already there.


@pytest.mark.slow
def test_what_is_accepted_without_keys_is_exactly_what_would_be_written():
    draw, accepted = random.Random(SEED + 2), 0
    for _ in range(often(3000)):
        text = encoded(edited(MANIFEST, draw), draw)
        data = repacked({}, envelope_bytes(BUNDLE_TYPE, text, ()))
        try:
            read = read_bundle(data)
        except VerificationError:
            continue
        accepted += 1
        assert write_bundle(read) == data
    # Such as another name or sequence; the test would be idle otherwise.
    assert accepted > often(100)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"weights": np.zeros((1, 4))}, "expected exactly"),
        ({"weights": np.zeros((1, 4)), "offset": np.zeros(1, np.float32)}, "must not be float64"),
        ({"weights": np.zeros((1, 5), np.float32), "offset": np.zeros(1, np.float32)}, "dimension"),
        ({"weights": np.zeros((0, 4), np.float32), "offset": np.zeros(0, np.float32)}, "one or"),
        ({"weights": np.zeros((1, 4), np.float32), "offset": np.zeros(1, np.float16)}, "float16"),
    ],
)
def test_other_tensors_are_refused_under_a_valid_signature(tensors, message):
    payload = write_tensors(tensors)
    old = next(name for name in FILES if name.startswith("anchors/"))
    new = f"anchors/{sha256(payload)}.safetensors"
    listed = {**MANIFEST["files"], new: {"sha256": sha256(payload), "size": len(payload)}}
    del listed[old]
    text = canonical_json({**MANIFEST, "files": listed}).replace(old.encode(), new.encode())
    envelope = sign(BUNDLE_TYPE, text, SECOND, THIRD).to_bytes()
    with pytest.raises(VerificationError, match=message):
        read_bundle(repacked({old: None, new: payload}, envelope), TRUSTED)
