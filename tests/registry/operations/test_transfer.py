"""A concept moves between registries whole, or not at all."""

import dataclasses

import pytest

from concepts.archive import pack
from concepts.errors import ConflictError, NotFoundError, VerificationError
from registry import Registry
from registry.operations.transfer import ImportInfo, export_concept, import_concept


@pytest.fixture
def file(tmp_path, define, collect):
    """A file with two versions of a concept, and the registry it came from."""
    source = Registry.create(tmp_path / "source", f"sqlite:///{tmp_path / 'source.db'}")
    source.concepts.add(define(), actor="ann")
    source.versions.add("pistol", [collect(1)], actor="ann")
    source.versions.add("pistol", [collect(2), collect(2, "edit")], actor="ann")
    export_concept(source.workspace, "pistol", tmp_path / "pistol.zip")
    return tmp_path / "pistol.zip", source


def test_versions_arrive_as_drafts_with_their_digests(registry, file):
    path, source = file
    assert import_concept(registry.workspace, path, actor="bob") == ImportInfo(
        "pistol", True, (1, 2), ()
    )
    found, sent = registry.concepts.get("pistol"), source.concepts.get("pistol")
    assert found.definition == sent.definition
    assert [v.content_digest for v in found.versions] == [v.content_digest for v in sent.versions]
    assert {version.state for version in found.versions} == {"draft"}
    assert [event.action for event in registry.audit.events()] == ["concept.import"]
    space = sent.versions[0].spaces[0].digest
    sets = [
        place.versions.anchor_set("pistol", space, 1).to_bytes() for place in (registry, source)
    ]
    assert sets[0] == sets[1]


def test_what_is_there_already_is_skipped(registry, file, define, collect):
    registry.concepts.add(define(), actor="bob")
    registry.versions.add("pistol", [collect(2), collect(2, "edit")], actor="bob")
    info = import_concept(registry.workspace, file[0], actor="bob")
    assert info == ImportInfo("pistol", False, (2,), (1,))
    with pytest.raises(ConflictError, match="everything that is in"):
        import_concept(registry.workspace, file[0], actor="bob")


def test_another_category_is_refused(registry, file, define):
    registry.concepts.add(dataclasses.replace(define(), category="nudity"), actor="bob")
    with pytest.raises(ConflictError, match="with category 'nudity'"):
        import_concept(registry.workspace, file[0], actor="bob")
    assert registry.concepts.get("pistol").versions == ()


def test_the_same_concept_gives_the_same_bytes(tmp_path, file):
    export_concept(file[1].workspace, "pistol", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == file[0].read_bytes()


def test_damaged_files_are_refused_and_leave_nothing(registry, file):
    path = file[0]
    data = path.read_bytes()
    for position in range(0, len(data), 101):
        broken = bytearray(data)
        broken[position] ^= 1 << position % 8
        path.write_bytes(bytes(broken))
        with pytest.raises(VerificationError):
            import_concept(registry.workspace, path, actor="bob")
    path.write_bytes(pack({"concept.json": b"{}"}))
    with pytest.raises(VerificationError, match="is not an exported concept"):
        import_concept(registry.workspace, path, actor="bob")
    assert registry.concepts.list() == []
    with pytest.raises(NotFoundError, match="none"):
        import_concept(registry.workspace, path.with_name("none"), actor="bob")
