import dataclasses
import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concepts.anchors import AnchorSpace, Scorer
from concepts.bundle import (
    Bundle,
    BundleVariant,
    Member,
    lock_digest,
    read_bundle,
    write_bundle,
)
from concepts.errors import MismatchError, NotFoundError, VerificationError

T2I = AnchorSpace("testbed", "r1", "t2i", ("a", "b"), 4, 0.95)
EDIT = AnchorSpace("testbed", "r1", "edit", ("a", "b"), 4, 0.95)


def scorer(seed=0):
    weights = np.random.default_rng(seed).normal(size=(2, 4))
    return Scorer("whitened", weights, np.zeros(2), 3.0, 2.0, {"n": 5})


def member(slug, seed=0, **changes):
    parts = {"name": slug.title(), "category": "object", "version": 2, "content_digest": "a" * 64}
    return Member(slug=slug, scorer=scorer(seed), **{**parts, **changes})


def make_bundle(*variants, sequence=3):
    variants = variants or (
        BundleVariant(T2I, (member("pistol", 1), member("bomb", 2))),
        BundleVariant(EDIT, (member("bomb", 2),)),
    )
    members = [m for variant in variants for m in variant.members]
    lock = lock_digest((m.slug, m.version, m.content_digest, m.mode) for m in members)
    return Bundle("demo", sequence, lock, variants)


DATA = write_bundle(make_bundle())


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
    assert names[-1] == "manifest.json"


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


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(DATA) - 1), st.binary(max_size=8)), min_size=1))
def test_broken_files_raise_nothing_else(edits):
    broken = bytearray(DATA)
    for position, noise in edits:
        broken[position : position + len(noise)] = noise
    if bytes(broken) != DATA:
        with pytest.raises(VerificationError):
            read_bundle(bytes(broken))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(DATA) - 1), st.binary(min_size=1, max_size=30))
def test_cut_and_padded_files_are_refused(length, padding):
    for broken in (DATA[:length], DATA + padding, padding + DATA, padding):
        with pytest.raises(VerificationError):
            read_bundle(broken)


def manifest(old, new):
    """Replace a part of the manifest, which is the last entry."""
    return lambda entries: [*entries[:-1], (entries[-1][0], entries[-1][1].replace(old, new))]


OTHER_ARCHIVES = {
    "another file": (lambda entries: [*entries, ("x", b"")], "lack the manifest"),
    "a path upwards": (lambda entries: [("../x", b""), *entries], "unexpected file"),
    "an unlisted file": (
        lambda entries: [(f"anchors/{'0' * 64}.safetensors", b""), *entries],
        "lists",
    ),
    "a missing file": (lambda entries: entries[1:], "lists"),
    "no manifest": (lambda entries: entries[:-1], "lack the manifest"),
    "nothing": (lambda entries: [], "lack the manifest"),
    "another order": (lambda entries: entries[::-1], "not sorted"),
    "a duplicate key": (manifest(b'"format"', b'"name":"x","format"'), "a key occurs twice"),
    "another version": (manifest(b'"version":2', b'"version":3'), "lock"),
    "another format": (manifest(b"bundle/1", b"bundle/2"), "format 'uvr-bundle/2' found"),
    "a space in the manifest": (manifest(b'{"files"', b'{ "files"'), "does not list"),
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
        "Bundle 'demo' release 3 has no anchors for model 'flux.1-dev', task 't2i'; it has "
        "'testbed' edit, 'testbed' t2i. Collect anchors for this model and release again."
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
    rows = [("a", 1, "0" * 64, "enforce"), ("b", 2, "1" * 64, "enforce")]
    assert lock_digest(rows) == lock_digest([*rows[::-1], rows[0]])
    assert lock_digest(rows) != lock_digest(rows[:1])


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
