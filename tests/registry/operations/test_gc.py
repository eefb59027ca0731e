import dataclasses
import os
import time

import pytest

from concepts.errors import InputError, PolicyError
from concepts.files import in_use, write_file
from registry.operations import collect_garbage
from registry.operations.gc import named_blobs

HOUR = 3600


@pytest.fixture
def filled(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect(1)], actor="ann")
    return registry


def orphan(registry, data, hours):
    digest, _ = registry.workspace.store.put(data)
    then = time.time() - hours * HOUR
    os.utime(registry.workspace.store.path(digest), (then, then))
    return digest


def blobs(registry):
    return set(registry.workspace.store.digests())


def test_only_old_blobs_that_no_row_names_go(filled):
    kept = blobs(filled)
    for digest in kept:
        os.utime(filled.workspace.store.path(digest), (0, 0))  # Named, however old.
    old, young = orphan(filled, b"old", 25), orphan(filled, b"young", 23)
    found = collect_garbage(filled.workspace, actor="ann")
    assert (found.blobs, found.bytes, found.kept, found.temporaries) == ((old,), 3, 1, 0)
    assert blobs(filled) == kept | {young}
    assert [event.action for event in filled.audit.events()][-1] == "gc.collect"


def test_what_an_edit_leaves_unnamed_has_its_grace_from_then_on(filled, collect):
    for digest in blobs(filled):
        os.utime(filled.workspace.store.path(digest), (0, 0))
    filled.versions.edit("pistol", actor="ann", collections=[collect(2)])
    found = collect_garbage(filled.workspace, actor="ann")
    assert (found.blobs, found.kept) == ((), 1)


def test_old_features_go_unless_a_collection_is_under_way(filled):
    cache = filled.workspace.home / "cache" / "features"
    for name, hours in (("old", 25), ("young", 23)):
        write_file(cache / name, b"12345")
        os.utime(cache / name, (time.time() - hours * HOUR,) * 2)
    with in_use(cache):
        assert collect_garbage(filled.workspace, actor="ann").features == 0
    found = collect_garbage(filled.workspace, actor="ann")
    assert (found.features, found.feature_bytes) == (1, 5)
    assert {path.name for path in cache.iterdir() if path.is_file()} == {"young", "lock"}
    assert len(filled.audit.events()) == 2


def test_old_tries_go(filled):
    tried = filled.workspace.home / "cache" / "tried"
    for name, hours in (("job-1/old", 25), ("given/old", 25), ("job-2/young", 23)):
        write_file(tried / name, b"12345")
        os.utime(tried / name, (time.time() - hours * HOUR,) * 2)
    found = collect_garbage(filled.workspace, actor="ann")
    assert (found.tried, found.tried_bytes) == (2, 10)
    assert [path.name for path in tried.rglob("*") if path.is_file()] == ["young"]
    assert len(filled.audit.events()) == 2


def test_nothing_to_collect_is_no_event(filled):
    assert collect_garbage(filled.workspace, actor="ann", grace="0h").blobs == ()
    assert len(filled.audit.events()) == 2


def test_a_dry_run_only_tells(filled):
    old = orphan(filled, b"old", 25)
    for found in (
        collect_garbage(filled.workspace, actor="ann", dry_run=True),
        collect_garbage(dataclasses.replace(filled.workspace, dry_run=True), actor="ann"),
    ):
        assert (found.blobs, found.dry_run) == ((old,), True)
    assert old in filled.workspace.store
    assert len(filled.audit.events()) == 2


def test_what_an_edit_left_behind_is_collected(filled, collect):
    before = blobs(filled)
    filled.versions.edit("pistol", actor="ann", collections=[collect(2)])
    with filled.workspace.read() as session:
        named = named_blobs(session)
    # The anchors are still named by their set, which never goes; the old scorer is not.
    (gone,) = before - named
    assert collect_garbage(filled.workspace, actor="ann", grace="0h").blobs == (gone,)
    assert blobs(filled) == named


def test_unfinished_files_go_at_once(filled):
    left = filled.workspace.store.root / "ab" / ".tmp-0011223344556677"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"half")
    assert collect_garbage(filled.workspace, actor="ann").temporaries == 1
    assert not left.exists()


def test_a_blob_that_is_wanted_again_is_young_again(filled):
    digest = orphan(filled, b"again", 48)
    filled.workspace.store.put(b"again")
    assert collect_garbage(filled.workspace, actor="ann").kept == 1
    assert digest in filled.workspace.store


@pytest.mark.parametrize("grace", ["", "soon", "2026-11-24", "-1h", "3"])
def test_a_grace_period_is_a_length_of_time(filled, grace):
    with pytest.raises(InputError, match="such as 24h or 7d"):
        collect_garbage(filled.workspace, actor="ann", grace=grace)


def test_only_an_admin_collects(filled):
    filled.team.set("ann", roles=["admin"], actor="ann")
    with pytest.raises(PolicyError, match="not an actor"):
        collect_garbage(filled.workspace, actor="bob")
