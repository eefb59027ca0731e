import json
import os
import zipfile

import pytest
from sqlalchemy import text

from concepts.bundle import write_bundle
from concepts.digest import sha256
from concepts.errors import ConflictError, NotFoundError, SchemaError, UVRError, VerificationError
from concepts.signing.ed25519 import PrivateKey
from registry import Registry
from registry.operations import backup, restore
from registry.operations.doctor import diagnose
from registry.store import guards
from registry.store.db import transaction
from registry.store.models import Base
from registry.store.schema import differences, newest_guards
from registry.versions.exemplars import Exemplar
from tests.conftest import toy_evaluation
from tests.registry.versions.test_keeping import GROUND, given


@pytest.fixture
def filled(registry, define, collect):
    """A registry that has a row in every table."""
    key = PrivateKey.generate()
    exemplar = Exemplar(sha256(b"picture"), "archive 7", "licence", "2030-01-01T00:00:00.000000Z")
    registry.team.set(
        "ann", roles=["admin", "auditor", "curator", "publisher", "reviewer"], actor="ann"
    )
    registry.team.set_policy(actor="ann", approvals=1, max_shrink=0.1)
    for slug in ("bomb", "pistol"):
        registry.concepts.add(define(slug, description="Grüße, 銃 𐍈."), actor="ann")
        anchors = [collect(1), collect(2, "edit")]
        registry.versions.add(slug, anchors, actor="ann", exemplars=[exemplar])
        content = registry.versions.submit(slug, actor="ann").content_digest
        registry.versions.evaluate(
            slug, actor="ann", evaluation=toy_evaluation(), expect_digest=content
        )
        registry.versions.approve(slug, actor="ann")
    registry.keys.add("ann", key.public, actor="ann")
    registry.keys.rotate(actor="ann", signers=[key], add=["ann"])
    registry.releases.add("policy", actor="ann", keys=[key], thresholds={"bomb": {"t2i": 1.75}})
    registry.versions.revoke("bomb", actor="ann", reason="wrong")
    registry.releases.add("policy", actor="ann", keys=[key], drop=["bomb"])
    registry.channels.move("prod", "policy", actor="ann")
    registry.audit.checkpoint(actor="ann", key=key)
    registry.exemplars.keep("pistol", [given(1)], GROUND, actor="ann")
    registry.jobs.add("calibrate", ["pistol"], actor="ann")
    registry.jobs.cancel(1, actor="ann")
    return registry


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """Where to restore to: a folder, and a database URL or None."""
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("second_postgres_url")
    return tmp_path / "restored", url


def contents(registry):
    with transaction(registry.workspace.engine) as connection:
        return {
            table.name: [
                tuple(row) for row in connection.execute(
                    table.select().order_by(*table.primary_key.columns)
                )
            ]
            for table in Base.metadata.sorted_tables
        }  # fmt: skip


def test_a_backup_restores_to_either_database(filled, place, tmp_path):
    info = backup(filled.workspace, tmp_path / "all.zip")
    assert min(info.tables.values()) >= 1  # Every table is tried.
    seen = []
    workspace = restore(
        tmp_path / "all.zip", *place, actor="bob", progress=lambda *step: seen.append(step)
    )
    restored = Registry(workspace)
    assert seen[-1] == (info.blobs, info.blobs)
    before, after = contents(filled), contents(restored)
    assert len(after["audit_event"]) == len(before["audit_event"]) + 1
    after["audit_event"].pop()
    assert after == before
    assert set(restored.workspace.store.digests()) == set(filled.workspace.store.digests())
    assert {
        check.name: check.problems
        for check in diagnose(restored.workspace).checks
        if check.problems
    } == {}
    assert differences(restored.workspace.engine) == []
    last = restored.audit.events()[-1]
    assert (last.action, last.actor, last.details["events"]) == (
        "registry.restore", "bob", info.events,
    )  # fmt: skip


def test_a_restored_registry_gives_the_same_bundles_and_goes_on(filled, place, tmp_path, collect):
    backup(filled.workspace, tmp_path / "all.zip")
    restored = Registry(restore(tmp_path / "all.zip", *place))
    for sequence in (1, 2):
        files = [
            write_bundle(one.releases.bundle("policy", sequence)) for one in (filled, restored)
        ]
        assert files[0] == files[1]
    # Numbers that the database gives out go on where they were.
    assert restored.versions.add("pistol", [collect(3)], actor="ann").number == 2
    restored.versions.submit("pistol", actor="ann")
    restored.versions.approve("pistol", actor="ann")
    restored.releases.add("policy", actor="ann")
    restored.channels.move("prod", "policy", actor="ann")
    restored.team.set("new", roles=["curator"], actor="ann")
    with pytest.raises(UVRError), transaction(restored.workspace.engine, write=True) as connection:
        connection.execute(text("UPDATE release SET note = 'x'"))  # The triggers are back.
    assert diagnose(restored.workspace).ok


def test_the_same_registry_gives_the_same_backup(filled, tmp_path):
    for name in ("one.zip", "two.zip"):
        backup(filled.workspace, tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_a_backup_goes_only_where_no_registry_is(filled, tmp_path):
    backup(filled.workspace, tmp_path / "all.zip")
    restored = Registry(restore(tmp_path / "all.zip", tmp_path / "restored"))
    before = contents(restored)
    with pytest.raises(ConflictError, match="There is a registry"):
        restore(tmp_path / "all.zip", tmp_path / "restored")
    assert contents(restored) == before
    with pytest.raises(NotFoundError, match="No backup at"):
        restore(tmp_path / "none.zip", tmp_path / "other")


@pytest.mark.parametrize("name", ["registry.db", "registry.db-wal", "blobs/all.zip", "index/a"])
def test_a_backup_never_goes_over_the_registry(filled, name):
    if filled.workspace.engine.dialect.name == "postgresql" and name.startswith("registry.db"):
        name = "blobs/sha256/x"
    before = contents(filled)
    with pytest.raises(ConflictError, match="a part of the registry"):
        backup(filled.workspace, filled.home / name)
    assert contents(filled) == before


@pytest.mark.usefixtures("impatient")
def test_a_pipe_in_the_place_of_a_blob_stops_a_backup_and_is_found(filled, tmp_path):
    path = filled.workspace.store.path(next(filled.workspace.store.digests()))
    path.unlink()
    os.mkfifo(path)
    message = "cannot be read: it is a pipe or a device, not a regular file"
    with pytest.raises(VerificationError, match=message):
        backup(filled.workspace, tmp_path / "all.zip")
    problems = [line for check in diagnose(filled.workspace).checks for line in check.problems]
    assert any(message in line for line in problems)
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(VerificationError, match=message):
        restore(tmp_path / "pipe.zip", tmp_path / "restored")


def test_backups_to_one_file_at_once_do_not_mix(filled, tmp_path):
    path = tmp_path / "all.zip"

    def other(done, _):
        if done == 1:  # While the first is half-way, another begins and ends.
            backup(filled.workspace, path)

    backup(filled.workspace, path, other)
    assert diagnose(restore(path, tmp_path / "restored")).ok
    assert [item.name for item in tmp_path.glob(".*")] == []


def test_what_the_doctor_finds_is_backed_up_and_told(filled, tmp_path):
    with transaction(filled.workspace.engine, write=True) as connection:
        guards.drop(connection)
        connection.execute(text("UPDATE concept_version SET state = 'in_review' WHERE id = 2"))
        guards.create(connection, newest_guards())
    found = [problem for check in diagnose(filled.workspace).checks for problem in check.problems]
    assert found
    assert list(backup(filled.workspace, tmp_path / "all.zip").problems) == found
    with pytest.raises(VerificationError, match=r"found \d+ problems .* --accept-problems"):
        restore(tmp_path / "all.zip", tmp_path / "restored")
    restored = Registry(restore(tmp_path / "all.zip", tmp_path / "restored", accept_problems=True))
    after = [problem for check in diagnose(restored.workspace).checks for problem in check.problems]
    assert after == found


def test_damage_to_a_backup_leaves_no_registry(filled, tmp_path):
    path = tmp_path / "all.zip"
    backup(filled.workspace, path)
    with zipfile.ZipFile(path) as archive:
        data = path.read_bytes()
        spots = [data.index(archive.read(name)[:40]) + 20 for name in archive.namelist()
                 if archive.getinfo(name).file_size > 40]  # fmt: skip
    home = tmp_path / "restored"
    for spot in spots:
        broken = bytearray(data)
        broken[spot] ^= 1
        path.write_bytes(bytes(broken))
        with pytest.raises(VerificationError):
            restore(path, home)
        assert list((home / "blobs").rglob("??/*")) == []
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(VerificationError, match="is corrupt"):
        restore(path, home)
    # What failed is no registry, and does not stop the whole backup from being restored there.
    path.write_bytes(data)
    assert diagnose(restore(path, home)).ok


def rewrite(path, changes):
    """Write a backup again with other entries, as a forger could; None leaves one out."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries = {name: data for name, data in {**entries, **changes}.items() if data is not None}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def test_a_forged_backup_is_refused(filled, tmp_path):
    path, home = tmp_path / "all.zip", tmp_path / "restored"
    backup(filled.workspace, path)
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    about = json.loads(entries["backup.json"])
    events = entries["tables/audit_event.jsonl"].splitlines(keepends=True)
    versions = entries["tables/concept_version.jsonl"]
    blob = next(name for name in entries if name.startswith("blobs/"))
    more = {"backup.json": json.dumps({**about, "tables": {}}).encode()}
    forgeries = {
        "blobs are not those": {blob: None},
        "its blobs": {"blobs/" + "0" * 64: b"more"},
        "rows, not the": {"tables/audit_event.jsonl": b"".join(events[:-1])},
        "tables are not those": more,
        "does not end as it says": {"backup.json": json.dumps({**about, "events": 3}).encode()},
        "corrupt": {blob: b"other bytes"},
        "content digest": {
            "tables/concept_version.jsonl": versions.replace(b"toy pistol", b"toy poodle")
        },
    }
    for message, changes in forgeries.items():
        path.write_bytes(data)
        rewrite(path, changes)
        with pytest.raises(VerificationError, match=message):
            restore(path, home)
    rewrite(path, {"backup.json": json.dumps({**about, "schema": "0001"}).encode()})
    with pytest.raises(SchemaError, match="has schema 0001"):
        restore(path, home)


def test_a_damaged_registry_is_not_backed_up(filled, tmp_path):
    path = tmp_path / "all.zip"
    backup(filled.workspace, path)
    before = path.read_bytes()
    digest = next(filled.workspace.store.digests())
    blob = filled.workspace.store.path(digest).read_bytes()
    filled.workspace.store.path(digest).write_bytes(blob[:-1] + b"x")
    with pytest.raises(VerificationError, match="is corrupt"):
        backup(filled.workspace, path)
    filled.workspace.store.path(digest).write_bytes(blob)
    with transaction(filled.workspace.engine, write=True) as connection:
        guards.drop(connection)
        connection.execute(text("UPDATE audit_event SET actor = 'eve' WHERE number = 2"))
        guards.create(connection, newest_guards())
    with pytest.raises(VerificationError, match="event 2 was edited"):
        backup(filled.workspace, path)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.glob(".*")] == []
