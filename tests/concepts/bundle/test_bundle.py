import copy
import dataclasses
import io
import os
import pickle
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concepts.anchors import AnchorSpace
from concepts.archive import pack
from concepts.bundle import (
    Bundle,
    BundleVariant,
    LockedMember,
    Member,
    lock_digest,
    locked_members,
    read_bundle,
    write_bundle,
)
from concepts.bundle.summary import bundle_summary
from concepts.digest import sha256
from concepts.errors import (
    ExpiredError,
    MismatchError,
    NotFoundError,
    RollbackError,
    SignatureError,
    VerificationError,
)
from concepts.scorer import Scorer
from concepts.signing.envelope import BUNDLE_TYPE, Envelope, read_envelope
from concepts.signing.keys import KeyList, PrivateKey, sign_key_list
from concepts.tensors import write_tensors
from tests.conftest import often

T2I = AnchorSpace("testbed", "r1", "t2i", ("a", "b"), 4, 0.95)
EDIT = AnchorSpace("testbed", "r1", "edit", ("a", "b"), 4, 0.95)


def scorer(seed=0):
    weights = np.random.default_rng(seed).normal(size=(2, 4))
    return Scorer("whitened", weights, np.zeros(2), 3.0, 2.0, {"n": 5})


def member(slug, seed=0, **changes):
    parts = {"name": slug.title(), "category": "object", "version": 2, "content_digest": "a" * 64}
    return Member(slug=slug, scorer=scorer(seed), **{**parts, **changes})


def make_bundle(*variants, sequence=3, **changes):
    variants = variants or (
        BundleVariant(T2I, (member("pistol", 1), member("bomb", 2))),
        BundleVariant(EDIT, (member("bomb", 2),)),
    )
    return Bundle("demo", sequence, lock_digest(locked_members(variants)), variants, **changes)


DATA = write_bundle(make_bundle())
CREATED, LATER = "2026-11-24T10:00:00.000000Z", "2027-01-01T00:00:00.000000Z"
OLD, NEW = PrivateKey.generate(), PrivateKey.generate()
TRUSTED = KeyList(1, 1, (OLD.public,))
ROTATED = KeyList(2, 1, (NEW.public,), (OLD.public.key_id,))
CHAIN = sign_key_list(ROTATED, [OLD, NEW])


def rewritten(change, compression=zipfile.ZIP_STORED):
    """The bundle's archive, written again with other entries."""
    with zipfile.ZipFile(io.BytesIO(DATA)) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in change(entries):
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o100644 << 16
            info.compress_type = compression
            archive.writestr(info, data)
    return buffer.getvalue()


def test_round_trips_byte_equal():
    again = read_bundle(DATA)
    assert write_bundle(again) == DATA
    assert again.digest == make_bundle().digest
    assert [(v.space, [m.slug for m in v.members]) for v in again.variants] == [
        (EDIT, ["bomb"]),
        (T2I, ["bomb", "pistol"]),
    ]
    assert again.variants[1].members[1].scorer.digest == scorer(1).digest


def test_bytes_do_not_depend_on_the_order_of_parts():
    other = make_bundle(
        BundleVariant(EDIT, (member("bomb", 2),)),
        BundleVariant(T2I, (member("bomb", 2), member("pistol", 1))),
    )
    assert write_bundle(other) == DATA


def test_equal_scorers_share_one_file():
    with zipfile.ZipFile(io.BytesIO(DATA)) as archive:
        names = archive.namelist()
    assert len(names) == 3
    assert names[-1] == "manifest.dsse.json"


def test_reads_a_file(tmp_path):
    path = tmp_path / "demo.uvr"
    path.write_bytes(DATA)
    assert read_bundle(path).digest == make_bundle().digest
    with pytest.raises(NotFoundError, match="No bundle file at"):
        read_bundle(tmp_path / "none")
    with pytest.raises(VerificationError, match="cannot be read"):
        read_bundle(tmp_path)


def test_size_is_capped(tmp_path):
    path = tmp_path / "demo.uvr"
    path.write_bytes(DATA)
    for source in (DATA, path):
        with pytest.raises(VerificationError, match="allowed: 100"):
            read_bundle(source, max_bytes=100)


def test_any_flipped_byte_is_refused():
    for position in range(0, len(DATA), 3):
        broken = bytearray(DATA)
        broken[position] ^= 1 << position % 8
        with pytest.raises(VerificationError):
            read_bundle(bytes(broken))


@pytest.mark.slow
@settings(max_examples=often(300), deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(DATA) - 1), st.binary(max_size=8)), min_size=1))
def test_broken_files_raise_nothing_else(edits):
    broken = bytearray(DATA)
    for position, noise in edits:
        broken[position : position + len(noise)] = noise
    if bytes(broken) != DATA:
        with pytest.raises(VerificationError):
            read_bundle(bytes(broken))


@pytest.mark.slow
@settings(max_examples=often(100), deadline=None)
@given(st.integers(0, len(DATA) - 1), st.binary(min_size=1, max_size=30))
def test_cut_and_padded_files_are_refused(length, padding):
    for broken in (DATA[:length], DATA + padding, padding + DATA, padding):
        with pytest.raises(VerificationError):
            read_bundle(broken)


def manifest(old, new):
    """Replace a part of the manifest, in the envelope that is the last entry."""

    def change(entries):
        name, data = entries[-1]
        payload = read_envelope(data, BUNDLE_TYPE).payload
        assert old in payload
        changed = Envelope(BUNDLE_TYPE, payload.replace(old, new)).to_bytes()
        return [*entries[:-1], (name, changed)]

    return change


ENVELOPE = "manifest.dsse.json"

OTHER_ARCHIVES = {
    "another file": (lambda entries: [*entries, ("x", b"")], "lack the manifest"),
    "a path upwards": (lambda entries: [("../x", b""), *entries], "unexpected file"),
    "an unlisted file": (
        lambda entries: [(f"anchors/{'0' * 64}.safetensors", b""), *entries],
        "lists",
    ),
    "a missing file": (lambda entries: entries[1:], "lists"),
    "no manifest": (lambda entries: entries[:-1], "lack the manifest"),
    "nothing": (lambda entries: [], "no file of this program"),
    "another order": (lambda entries: entries[::-1], "not sorted"),
    "a duplicate key": (manifest(b'"format"', b'"name":"x","format"'), "a key occurs twice"),
    "another version": (manifest(b'"version":2', b'"version":3'), "lock"),
    "another format": (manifest(b"bundle/1", b"bundle/2"), "format 'uvr-bundle/2' found"),
    "a space in the manifest": (manifest(b'"files"', b' "files"'), "not written as"),
    "another number": (manifest(b'"sequence":3', b'"sequence":3.0'), "whole number"),
    "another key": (manifest(b'"format"', b'"extra":1,"format"'), "expected exactly"),
    "no manifest in the envelope": (lambda entries: [*entries[:-1], (ENVELOPE, b"{}")], "envelope"),
    "a key list that is none": (
        lambda entries: [*entries[:-1], ("keys/0001.json", b"{}"), entries[-1]],
        "envelope",
    ),
}


@pytest.mark.parametrize(("change", "message"), OTHER_ARCHIVES.values(), ids=list(OTHER_ARCHIVES))
def test_other_archives_are_refused(change, message):
    with pytest.raises(VerificationError, match=message):
        read_bundle(rewritten(change))


def test_compressed_archives_are_refused():
    with pytest.raises(VerificationError, match="compressed"):
        read_bundle(rewritten(lambda entries: entries, zipfile.ZIP_DEFLATED))


def test_rewriting_without_a_change_is_the_same_file():
    assert rewritten(lambda entries: entries) == DATA


def test_variant_is_chosen_by_model_and_task():
    assert make_bundle().variant_for("testbed", "edit").space == EDIT
    assert make_bundle().variant_for("testbed", "t2i", "r1").space == T2I


def test_variant_of_another_model_says_what_there_is():
    with pytest.raises(MismatchError) as caught:
        make_bundle().variant_for("flux.1-dev", "t2i")
    assert str(caught.value) == (
        "Release demo@3 has no anchors for model 'flux.1-dev', task 't2i'; it has "
        "'testbed' edit, 'testbed' t2i. Collect some, `uvr-registry collect-anchors SLUG --model "
        "MODEL --task t2i`, and release again."
    )


def test_variant_of_another_revision_is_refused():
    with pytest.raises(MismatchError, match="of revision 'r1', not for 'r2'"):
        make_bundle().variant_for("testbed", "t2i", "r2")


def test_two_revisions_need_a_name():
    other = dataclasses.replace(T2I, revision="r2")
    both = make_bundle(
        BundleVariant(T2I, (member("bomb"),)), BundleVariant(other, (member("bomb"),))
    )
    assert both.variant_for("testbed", "t2i", "r2").space == other
    with pytest.raises(MismatchError, match="name the revision"):
        both.variant_for("testbed", "t2i")


def test_lock_does_not_depend_on_order_or_repetition():
    rows = [LockedMember("a", 1, "0" * 64), LockedMember("b", 2, "1" * 64, "log")]
    assert lock_digest(rows) == lock_digest([*rows[::-1], rows[0]])
    assert lock_digest(rows) != lock_digest(rows[:1])
    with pytest.raises(ValueError, match="'a' is locked twice"):
        lock_digest([*rows, dataclasses.replace(rows[0], version=2)])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("slug", "b"), ("version", 2), ("content_digest", "1" * 64), ("mode", "shadow"),
        ("thresholds", {"2" * 64: 1.0}), ("disabled_until", "2026-11-24T10:00:00.000000Z"),
    ],
)  # fmt: skip
def test_lock_covers_every_field(name, value):
    row = LockedMember("a", 1, "0" * 64)
    assert lock_digest([dataclasses.replace(row, **{name: value})]) != lock_digest([row])


def test_locked_members_join_the_variants():
    variants = (
        BundleVariant(T2I, (member("bomb", threshold=2.5), member("pistol"))),
        BundleVariant(EDIT, (member("bomb", threshold=1.5),)),
    )
    assert locked_members(variants) == [
        LockedMember("bomb", 2, "a" * 64, thresholds={T2I.digest: 2.5, EDIT.digest: 1.5}),
        LockedMember("pistol", 2, "a" * 64),
    ]
    other = BundleVariant(EDIT, (member("bomb", mode="log"),))
    with pytest.raises(ValueError, match="disagree on 'bomb'"):
        locked_members((variants[0], other))


def test_a_threshold_moves_the_grow_threshold_too():
    moved = member("bomb", threshold=3.75)
    assert (moved.seed_threshold, moved.grow_threshold) == (3.75, 2.75)
    assert (member("bomb").seed_threshold, member("bomb").grow_threshold) == (3.0, 2.0)


def test_a_member_is_enforced_unless_its_mode_or_its_pause_says_otherwise():
    paused = member("bomb", disabled_until=LATER)
    assert [paused.enforced_at(at) for at in (CREATED, LATER)] == [False, True]
    assert not member("bomb", mode="log").enforced_at(CREATED)


def test_float16_weights_stay_float16():
    weights = scorer().weights.astype(np.float16)
    half = Scorer("whitened", weights, np.zeros(2), 3.0, 2.0)
    made = make_bundle(BundleVariant(T2I, (dataclasses.replace(member("bomb"), scorer=half),)))
    again = read_bundle(write_bundle(made)).variants[0].members[0].scorer
    assert again.weights.dtype == np.float16
    assert again.digest == half.digest != scorer().digest
    assert write_bundle(read_bundle(write_bundle(made))) == write_bundle(made)


def test_a_read_bundle_can_be_copied_and_pickled():
    read = read_bundle(DATA)
    for again in (copy.deepcopy(read), pickle.loads(pickle.dumps(read))):  # noqa: S301
        assert write_bundle(again) == DATA


def test_every_field_of_a_release_round_trips():
    made = make_bundle(
        BundleVariant(T2I, (member("bomb", mode="shadow", threshold=1, disabled_until=LATER),)),
        registry="0f" * 16, previous="b" * 64, created=CREATED, expires=LATER,
        revocations=("d" * 64, "c" * 64), key_lists=(CHAIN,),
    ).sign(NEW)  # fmt: skip
    again = read_bundle(write_bundle(made), TRUSTED)
    assert write_bundle(again) == write_bundle(made)
    assert TRUSTED.follow(again.key_lists) == ROTATED
    shown = bundle_summary(again)
    assert {name: shown[name] for name in shown if name != "variants"} == {
        "name": "demo", "sequence": 3, "digest": made.digest, "lock_digest": made.lock_digest,
        "registry": "0f" * 16, "previous": "b" * 64, "created": CREATED, "expires": LATER,
        "revocations": ["c" * 64, "d" * 64], "signatures": [NEW.public.key_id], "key_lists": [2],
    }  # fmt: skip
    only = shown["variants"][0]["members"][0]
    names = ("mode", "seed_threshold", "grow_threshold", "disabled_until", "dtype", "prototypes")
    assert [only[name] for name in names] == ["shadow", 1.0, 0.0, LATER, "float32", 2]


def test_a_bundle_may_have_no_members():
    empty = Bundle("demo", 1, lock_digest([]), ())
    again = read_bundle(write_bundle(empty))
    assert (again, again.slugs) == (empty, [])
    with pytest.raises(MismatchError, match="it has no members"):
        again.variant_for("testbed", "t2i")


def test_signatures_are_not_part_of_the_digest():
    made = make_bundle()
    signed = made.sign(OLD)
    assert signed.digest == made.digest
    assert signed.sign(NEW) == made.with_signatures(signed.sign(NEW).signatures)


UNTRUSTED = {
    "no signature": (make_bundle(), "Signed by 0 of the 1 trusted keys required"),
    "another key": (make_bundle().sign(NEW), "not trusted"),
    "a wrong signature": (
        make_bundle().with_signatures(make_bundle(sequence=4).sign(OLD).signatures),
        "is not valid",
    ),
    "a revoked key": (make_bundle(key_lists=(CHAIN,)).sign(OLD), "revoked"),
}


@pytest.mark.parametrize(("bundle", "message"), UNTRUSTED.values(), ids=list(UNTRUSTED))
def test_untrusted_bundles_are_refused(bundle, message):
    data = write_bundle(bundle)
    with pytest.raises(SignatureError, match=message):
        read_bundle(data, TRUSTED)
    assert write_bundle(read_bundle(data)) == data  # it is whole, and only that


@pytest.mark.parametrize("metadata", [{}, {"more": "x" * 100}])
def test_a_scorer_file_with_metadata_of_its_own_is_refused(metadata):
    hiding = scorer()
    payload = write_tensors(hiding.to_tensors(), metadata)
    hiding.__dict__.update(payload=payload, payload_digest=sha256(payload))
    made = make_bundle(BundleVariant(T2I, (dataclasses.replace(member("bomb"), scorer=hiding),)))
    with pytest.raises(VerificationError, match="a scorer's file holds no metadata"):
        read_bundle(write_bundle(made))


def test_signatures_are_checked_before_anything_is_parsed():
    data = rewritten(manifest(b"{", b"not JSON"))
    with pytest.raises(SignatureError):
        read_bundle(data, TRUSTED)


def test_cryptography_is_imported_only_where_signatures_are_handled():
    modules = "sys, concepts.bundle, concepts.bundle.summary"
    code = f"import {modules}; print('cryptography' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


def test_old_and_foreign_bundles_are_refused():
    made = make_bundle(created=CREATED, expires=LATER, registry="0f" * 16).sign(OLD)
    data = write_bundle(made)
    read = read_bundle(data, TRUSTED, min_sequence=3, at=CREATED, registry="0f" * 16)
    assert read.digest == made.digest
    with pytest.raises(RollbackError, match="older than release 4"):
        read_bundle(data, TRUSTED, min_sequence=4)
    with pytest.raises(ExpiredError, match=f"expired at {LATER}"):
        read_bundle(data, TRUSTED, at=LATER)
    with pytest.raises(VerificationError, match="is expected"):
        read_bundle(data, TRUSTED, registry="1f" * 16)


# As docs/security.md shows it: FILE is a bundle, KEY.pem a public key of its registry.
VERIFY = r"""
set -e; python3 -m zipfile -e "$FILE" unpacked; cd unpacked
files=$(find . -type f ! -path ./manifest.dsse.json)
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" manifest.dsse.json; }
field payload | base64 -d > manifest.json
id=$(openssl pkey -pubin -in "$KEY" -outform DER | openssl sha256 -r | cut -d' ' -f1)
field "keyid\":\"$id\",\"sig" | base64 -d > signature
type=$(field payloadType)
printf 'DSSEv1 %d %s %d ' ${#type} "$type" $(wc -c < manifest.json) | cat - manifest.json > signed
openssl pkeyutl -verify -pubin -inkey "$KEY" -rawin -in signed -sigfile signature
for file in $files; do  # those that are there are those of the manifest's list, by digest
  printf '"%s":{"sha256":"%s"\n' "${file#./}" "$(openssl sha256 -r "$file" | cut -d' ' -f1)"
done | sort > held
sed 's/},"format":.*//' manifest.json | grep -o '"[^"]*":{"sha256":"[^"]*"' | sort | cmp - held
"""


@pytest.mark.parametrize(
    "change",
    ["nothing", "another key", "another manifest", "a file", "a removed file", "one more file"],
)
def test_openssl_alone_verifies_a_bundle(tmp_path, change):
    if not shutil.which("openssl"):
        pytest.fail("openssl is not installed: the manual promises that it is enough")
    made = make_bundle(created=CREATED).sign(OLD, NEW)
    if change == "another manifest":
        made = make_bundle(created=CREATED, sequence=4).with_signatures(made.signatures)
    key = PrivateKey.generate() if change == "another key" else OLD
    data = write_bundle(made)
    if change == "a file":  # another scorer, whose checksum is right
        names = [name for name in made.files if name.startswith("anchors/")]
        files = {**made.files, names[0]: made.files[names[1]]}
        data = pack({**files, ENVELOPE: made.envelope.to_bytes()})
    if change in ("a removed file", "one more file"):
        files = dict(made.files)
        if change == "one more file":
            files["keys/0009.json"] = b"{}"
        else:
            del files[next(name for name in files if name.startswith("anchors/"))]
        data = pack({**files, ENVELOPE: made.envelope.to_bytes()})
    (tmp_path / "demo.uvr").write_bytes(data)
    (tmp_path / "key.pem").write_text(key.public.pem())
    found = subprocess.run(
        ["sh", "-c", VERIFY], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "FILE": "demo.uvr", "KEY": str(tmp_path / "key.pem")},
    )  # fmt: skip
    assert (found.returncode == 0) == (change == "nothing"), found.stderr
    if change == "nothing":
        assert "Verified Successfully" in found.stdout
        assert (tmp_path / "unpacked" / "manifest.json").read_bytes() == made.manifest()


def test_a_bundle_checks_itself():
    with pytest.raises(ValueError, match="at least one member"):
        BundleVariant(T2I, ())
    with pytest.raises(ValueError, match="occurs twice"):
        BundleVariant(T2I, (member("bomb"), member("bomb")))
    with pytest.raises(ValueError, match="dimensions"):
        BundleVariant(dataclasses.replace(T2I, dim=5), (member("bomb"),))
    with pytest.raises(ValueError, match="same model, task and revision"):
        make_bundle(
            BundleVariant(T2I, (member("bomb"),)),
            BundleVariant(dataclasses.replace(T2I, sigma=0.5), (member("bomb"),)),
        )
    with pytest.raises(ValueError, match="sequence"):
        make_bundle(sequence=0)
    with pytest.raises(ValueError, match="digest is not that of the bundle"):
        dataclasses.replace(make_bundle(), digest="0" * 64)
    with pytest.raises(ValueError, match="version 2 of 'bomb' is revoked"):
        make_bundle(revocations=("a" * 64,))
    with pytest.raises(ValueError, match="later than created"):
        make_bundle(created=LATER, expires=CREATED)
    with pytest.raises(ValueError, match="32 hex digits"):
        make_bundle(registry="x")
    with pytest.raises(ValueError, match="key list 2 comes after key list 2"):
        make_bundle(key_lists=(CHAIN, CHAIN))
    with pytest.raises(ValueError, match="disabled_until must be an instant"):
        member("bomb", disabled_until="tomorrow")
    with pytest.raises(ValueError, match="threshold must be finite"):
        member("bomb", threshold=float("nan"))
