import dataclasses
import subprocess
import sys
import threading

import pytest
from sqlalchemy import text

from concepts.errors import (
    BusyError,
    ConflictError,
    NotFoundError,
    PolicyError,
    SchemaError,
    UVRError,
    VerificationError,
)
from registry import Registry
from registry.store import db
from registry.store.db import transaction


def files_below(folder):
    return sorted(str(path) for path in folder.rglob("*") if path.is_file())


def test_concepts_are_added_and_listed_by_slug(registry, define):
    for slug in ("pistol", "bomb"):
        info = registry.concepts.add(define(slug), actor="ann")
        assert (info.slug, info.latest_version, info.versions) == (slug, None, 0)
    assert [info.slug for info in registry.concepts.list()] == ["bomb", "pistol"]
    detail = registry.concepts.get("pistol")
    assert (detail.definition, detail.created_by, detail.versions) == (define(), "ann", ())


def test_unknown_concept_suggests_the_closest(registry, define):
    registry.concepts.add(define("nudity"), actor="ann")
    with pytest.raises(NotFoundError) as caught:
        registry.concepts.get("nudty")
    assert str(caught.value) == "No concept 'nudty'. Did you mean 'nudity'?"


def test_a_concept_that_ships_but_was_not_added_is_to_be_added_first(registry, define):
    registry.concepts.add(define("testbed-pistol"), actor="ann")
    with pytest.raises(NotFoundError) as caught:
        registry.concepts.get("testbed-mascot")
    assert str(caught.value) == (
        "No concept 'testbed-mascot'. It ships with the program: add it first with "
        "`uvr-registry add-concept testbed-mascot`."
    )


def test_the_same_definition_or_another_category_is_a_conflict(registry, define):
    registry.concepts.add(define(), actor="ann")
    with pytest.raises(ConflictError, match="the same definition"):
        registry.concepts.add(define(), actor="ann")
    with pytest.raises(ConflictError, match="category 'object', not 'nudity'"):
        registry.concepts.add(define(category="nudity"), actor="ann")
    assert len(registry.audit.events()) == 1


def test_a_changed_definition_waits_for_the_next_version(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    first = registry.versions.add("pistol", [collect()], actor="ann")
    registry.concepts.add(define(description="A handgun."), actor="bob")
    second = registry.versions.add("pistol", [collect()], actor="bob")
    assert first.content_digest != second.content_digest
    assert registry.concepts.get("pistol").definition.description == "A handgun."


def test_anchors_of_a_definition_that_changed_meanwhile_are_refused(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    collected_with = registry.concepts.get("pistol").definition.digest
    registry.concepts.add(define(description="A handgun."), actor="bob")
    before = files_below(registry.home / "blobs"), registry.audit.events()
    with pytest.raises(ConflictError, match="The definition of 'pistol' is not the one"):
        registry.versions.add("pistol", [collect()], actor="ann", definition_digest=collected_with)
    assert (files_below(registry.home / "blobs"), registry.audit.events()) == before
    current = registry.concepts.get("pistol").definition.digest
    added = registry.versions.add("pistol", [collect()], actor="ann", definition_digest=current)
    assert added.number == 1


def test_versions_count_up_and_tell_what_they_hold(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    anchors, scorer = collect(1)
    info = registry.versions.add("pistol", [(anchors, scorer)], actor="bob")
    assert (info.slug, info.number, info.state, info.created_by) == ("pistol", 1, "draft", "bob")
    (space,) = info.spaces
    assert (space.space, space.digest) == (anchors.space, anchors.space.digest)
    assert (space.anchors, space.counter_anchors, space.seed_threshold) == (5, 3, 2.0)
    assert registry.versions.add("pistol", [collect(2)], actor="bob").number == 2
    assert registry.concepts.get("pistol").versions[0] == info
    assert registry.concepts.list()[0].latest_version == 2


def test_anchors_come_back_as_they_were(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    first, second = collect(1), collect(2)
    registry.versions.add("pistol", [first], actor="ann")
    registry.versions.add("pistol", [second], actor="ann")
    assert registry.versions.anchor_set("pistol", first[0].space).to_bytes() == second[0].to_bytes()
    again = registry.versions.anchor_set("pistol", first[0].space.digest, number=1)
    assert again.to_bytes() == first[0].to_bytes()
    with pytest.raises(NotFoundError, match="has no version 3"):
        registry.versions.anchor_set("pistol", first[0].space, number=3)
    with pytest.raises(NotFoundError, match="has no anchors in space 000"):
        registry.versions.anchor_set("pistol", "0" * 64)


def test_collecting_another_task_keeps_the_first(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect(1, "t2i")], actor="ann")
    both = registry.versions.add("pistol", [collect(1, "edit")], actor="ann")
    assert [space.space.task for space in both.spaces] == ["t2i", "edit"]


def test_new_anchors_of_a_model_and_task_replace_those_of_older_weights(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    old = collect(1)
    new = collect(1, space=dataclasses.replace(old[0].space, revision="r2"))
    registry.versions.add("pistol", [old], actor="ann")
    info = registry.versions.add("pistol", [new], actor="ann")
    assert [space.space.revision for space in info.spaces] == ["r2"]


def test_the_same_content_is_refused_even_after_other_versions(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect(1)], actor="ann")
    registry.versions.add("pistol", [collect(2)], actor="ann")
    with pytest.raises(ConflictError, match="Version 1 of 'pistol' already has exactly"):
        registry.versions.add("pistol", [collect(1)], actor="ann")


def test_a_refused_version_leaves_nothing_behind(registry, define, collect, monkeypatch):
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect(1)], actor="ann")
    before = files_below(registry.home / "blobs"), registry.concepts.get("pistol")
    monkeypatch.setattr("registry.change.work.event.record", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        registry.versions.add("pistol", [collect(2)], actor="ann")
    assert (files_below(registry.home / "blobs"), registry.concepts.get("pistol")) == before


def _interrupt(*_args, **_details):
    raise KeyboardInterrupt


def test_a_full_disk_leaves_nothing_behind(registry, define, collect, full_disk):
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect(1)], actor="ann")
    before = files_below(registry.home / "blobs"), registry.audit.events()
    with full_disk(after=1), pytest.raises(UVRError, match="The disk is full"):
        registry.versions.add("pistol", [collect(2)], actor="ann")
    assert (files_below(registry.home / "blobs"), registry.audit.events()) == before
    assert registry.versions.add("pistol", [collect(2)], actor="ann").number == 2


def test_slips_of_the_programmer_are_value_errors(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    anchors, scorer = collect()
    narrow = dataclasses.replace(scorer, weights=scorer.weights[:, :2])
    for collections in ([], [(anchors, scorer)] * 2, [(anchors, narrow)]):
        with pytest.raises(ValueError, match="space"):
            registry.versions.add("pistol", collections, actor="ann")
    with pytest.raises(ValueError, match="actor"):
        registry.versions.add("pistol", [(anchors, scorer)], actor=" ")


def test_release_locks_the_latest_versions(registry, define, collect):
    for slug in ("pistol", "bomb"):
        registry.concepts.add(define(slug), actor="ann")
        registry.versions.add(slug, [collect(1)], actor="ann")
    registry.versions.add("pistol", [collect(2), collect(2, "edit")], actor="ann")
    info = registry.releases.add("default", actor="bob")
    assert (info.bundle, info.sequence, info.created_by) == ("default", 1, "bob")
    assert [(member.slug, member.version) for member in info.members] == [
        ("bomb", 1), ("pistol", 2),
    ]  # fmt: skip
    bundle = registry.releases.bundle("default")
    assert (bundle.digest, bundle.lock_digest) == (info.bundle_digest, info.lock_digest)
    assert [(v.space.task, [m.slug for m in v.members]) for v in bundle.variants] == [
        ("edit", ["pistol"]), ("t2i", ["bomb", "pistol"]),
    ]  # fmt: skip
    assert bundle.variant_for("testbed", "edit").members[0].scorer.digest == (
        collect(2, "edit")[1].digest
    )


def test_releases_count_up_and_old_ones_stay(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect(1)], actor="ann")
    first = registry.releases.add("default", ["pistol"], actor="ann")
    registry.concepts.add(define(name="Handgun"), actor="ann")
    registry.versions.add("pistol", [collect(2)], actor="ann")
    assert registry.releases.add("default", ["pistol"], actor="ann").sequence == 2
    assert registry.releases.bundle("default", 1).digest == first.bundle_digest
    assert registry.releases.bundle("default", 1).variants[0].members[0].name == "Pistol"
    assert registry.releases.bundle("default").variants[0].members[0].name == "Handgun"
    assert [info.sequence for info in registry.releases.list()] == [1, 2]


def test_the_same_lock_is_the_same_content(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect(1)], actor="ann")
    first, second = (registry.releases.add("default", actor="ann") for _ in range(2))
    assert (first.lock_digest, second.sequence) == (second.lock_digest, 2)


def test_release_without_anchors_is_refused(registry, define, collect):
    with pytest.raises(PolicyError, match="No concepts to release"):
        registry.releases.add("default", actor="ann")
    registry.concepts.add(define("bomb"), actor="ann")
    with pytest.raises(PolicyError, match="No anchors yet for bomb"):
        registry.releases.add("default", actor="ann")
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect()], actor="ann")
    with pytest.raises(PolicyError, match="No anchors yet for bomb"):
        registry.releases.add("default", ["pistol", "bomb"], actor="ann")
    with pytest.raises(NotFoundError, match="Did you mean 'pistol'"):
        registry.releases.add("default", ["pistl"], actor="ann")
    assert [m.slug for m in registry.releases.add("default", actor="ann").members] == ["pistol"]


@pytest.mark.parametrize("change", [{"taps": ("blocks.1",)}, {"sigma": 0.5}, {"revision": "r2"}])
def test_a_release_never_mixes_spaces_of_one_model_and_task(registry, define, collect, change):
    registry.concepts.add(define("bomb"), actor="ann")
    registry.concepts.add(define("pistol"), actor="ann")
    anchors, scorer = collect()
    registry.versions.add("bomb", [(anchors, scorer)], actor="ann")
    other = dataclasses.replace(anchors.space, **change)
    registry.versions.add("pistol", [collect(space=other)], actor="ann")
    with pytest.raises(PolicyError, match=r"have anchors of testbed t2i from .* or weights"):
        registry.releases.add("default", actor="ann")
    assert registry.releases.list() == []


def test_unknown_bundles_and_releases(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect()], actor="ann")
    registry.releases.add("default", actor="ann")
    with pytest.raises(NotFoundError, match=r"No bundle 'defalt'\. Did you mean 'default'"):
        registry.releases.bundle("defalt")
    with pytest.raises(NotFoundError, match="has no release 7"):
        registry.releases.bundle("default", 7)
    with pytest.raises(UVRError, match="Bundle name 'A b' is not valid"):
        registry.releases.add("A b", actor="ann")


def test_each_change_is_one_event_in_the_chain(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    registry.concepts.add(define(name="Gun"), actor="bob")
    info = registry.versions.add("pistol", [collect()], actor="cem")
    registry.releases.add("default", actor="dia")
    events = registry.audit.events()
    assert [(e.number, e.actor, e.action, e.subject) for e in events] == [
        (1, "ann", "concept.add", "pistol"),
        (2, "bob", "concept.define", "pistol"),
        (3, "cem", "version.add", "pistol@1"),
        (4, "dia", "release.add", "default#1"),
    ]
    assert events[2].details == {
        "content_digest": info.content_digest, "authors": ["ann", "bob", "cem"],
    }  # fmt: skip
    assert [e.prev_digest for e in events] == ["0" * 64, *(e.digest for e in events[:-1])]


def test_a_changed_event_breaks_the_chain(tmp_path, define):
    registry = Registry.create(tmp_path)
    registry.concepts.add(define(), actor="ann")
    registry.concepts.add(define("bomb"), actor="ann")
    with transaction(registry.workspace.engine, write=True) as connection:
        connection.execute(text("DROP TRIGGER uvr_audit_event_update"))
        connection.execute(text("UPDATE audit_event SET actor = 'eve' WHERE number = 1"))
    with pytest.raises(VerificationError, match="event 1"):
        registry.audit.verify()


def test_damaged_blobs_are_noticed(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    made = collect()
    registry.versions.add("pistol", [made], actor="ann")
    registry.releases.add("default", actor="ann")
    for path in (registry.home / "blobs").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(VerificationError, match="is corrupt"):
        registry.versions.anchor_set("pistol", made[0].space)
    with pytest.raises(VerificationError, match="is corrupt"):
        registry.releases.bundle("default")


def test_versions_have_the_same_digest_in_every_registry(tmp_path, define, collect):
    digests = set()
    for name in ("one", "two"):
        registry = Registry.create(tmp_path / name)
        registry.concepts.add(define("bomb" if name == "two" else "knife"), actor=name)
        registry.concepts.add(define(), actor=name)
        digests.add(registry.versions.add("pistol", [collect()], actor=name).content_digest)
    assert len(digests) == 1


def test_create_twice_keeps_what_is_there(tmp_path, define):
    Registry.create(tmp_path).concepts.add(define(), actor="ann")
    assert [info.slug for info in Registry.create(tmp_path).concepts.list()] == ["pistol"]
    assert [info.slug for info in Registry.open(tmp_path).concepts.list()] == ["pistol"]


def test_open_without_a_registry_says_how_to_make_one(tmp_path):
    with pytest.raises(NotFoundError, match="Run `uvr-registry init`"):
        Registry.open(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    (tmp_path / "registry.db").touch()
    with pytest.raises(NotFoundError, match="Run `uvr-registry init`"):
        Registry.open(tmp_path)


def test_another_schema_is_refused(tmp_path):
    registry = Registry.create(tmp_path)
    with transaction(registry.workspace.engine, write=True) as connection:
        connection.execute(text("UPDATE uvr_alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaError, match="has schema 9999, this program works with 0005"):
        Registry.open(tmp_path)
    with pytest.raises(SchemaError, match="cannot be migrated"):
        Registry.create(tmp_path)


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "registry.db").write_bytes(b"not a database, but long enough to be read" * 50)
    with pytest.raises(VerificationError, match="is corrupt"):
        Registry.open(tmp_path)


@pytest.mark.parametrize("url", ["nonsense", "martian://user:secret@host/db"])
def test_unusable_urls_are_refused_without_their_password(tmp_path, url):
    with pytest.raises(UVRError) as caught:
        Registry.open(tmp_path, url)
    assert "secret" not in str(caught.value)


def test_a_home_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UVRError, match="Cannot make a registry"):
        Registry.create(tmp_path / "file" / "home")


def test_the_environment_names_the_database(tmp_path, monkeypatch, define):
    monkeypatch.setenv("UVR_DATABASE_URL", f"sqlite:///{tmp_path / 'other.db'}")
    Registry.create(tmp_path / "home").concepts.add(define(), actor="ann")
    assert (tmp_path / "other.db").exists()
    assert not (tmp_path / "home" / "registry.db").exists()


def test_a_held_write_lock_is_told(tmp_path, define, monkeypatch):
    registry = Registry.create(tmp_path)
    quick = tuple(p.replace(str(db.BUSY_SECONDS * 1000), "50") for p in db.SQLITE_PRAGMAS)
    monkeypatch.setattr(db, "SQLITE_PRAGMAS", quick)
    with transaction(registry.workspace.engine, write=True):
        assert registry.concepts.list() == []  # Readers do not wait.
        with pytest.raises(BusyError, match="Try again in a moment"):
            registry.concepts.add(define(), actor="ann")


def test_parallel_writers_get_numbers_of_their_own(registry, define, collect):
    registry.concepts.add(define(), actor="ann")
    numbers = []

    def add(seed):
        numbers.append(registry.versions.add("pistol", [collect(seed)], actor="ann").number)

    threads = [threading.Thread(target=add, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]
    assert len(registry.audit.events()) == 7


def test_definitions_are_stored_whole(registry, define):
    made = define(edits=("make it snow",), benign=("a tree",), parameters={"shrinkage": 0.1})
    registry.concepts.add(made, actor="ann")
    assert registry.concepts.get("pistol").definition == made


def test_importing_the_registry_loads_neither_alembic_nor_faiss():
    code = (
        "import sys, registry.registry; "
        "print([name for name in ('alembic', 'faiss', 'torch', 'click') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_processes_may_create_one_registry_together(tmp_path):
    code = "import sys, registry.registry as r; r.Registry.create(sys.argv[1])"
    command = [sys.executable, "-c", code, str(tmp_path / "home")]
    running = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert Registry.open(tmp_path / "home").concepts.list() == []


def test_models_that_anchors_are_of_are_listed(registry, define, collect):
    assert registry.concepts.models() == []
    registry.concepts.add(define("mouse"), actor="ann")
    registry.versions.add("mouse", [collect()], actor="ann")
    assert registry.concepts.models() == ["testbed"]


def test_whoever_lacks_a_role_is_told_so_before_they_act(registry):
    registry.team.require("ann", "publisher")  # Without actors everyone may do everything.
    registry.team.set("ann", actor="ann", roles=["admin"])
    with pytest.raises(PolicyError, match="'ann' may act as admin; this needs the role publisher"):
        registry.team.require("ann", "publisher")
    registry.team.require("ann", "admin")
