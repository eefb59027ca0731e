"""Definitions that name minors come in nowhere."""

import pytest

from concepts.errors import ContentError
from registry import Registry
from registry.operations.transfer import export_concept, import_concept

REFUSED = {"category": "nudity", "benign": ("a child with a kite",)}


def test_a_concept_is_not_added_nor_changed(registry, define):
    with pytest.raises(ContentError):
        registry.concepts.add(define(**REFUSED), actor="ann")
    registry.concepts.add(define(category="nudity"), actor="ann")
    with pytest.raises(ContentError):
        registry.concepts.add(define(**REFUSED), actor="ann")
    assert [event.action for event in registry.audit.events()] == ["concept.add"]
    assert registry.concepts.get("pistol").definition == define(category="nudity")


def test_a_version_is_not_edited_nor_copied(registry, define, collect):
    registry.concepts.add(define(category="nudity"), actor="ann")
    registry.versions.add("pistol", [collect(1)], actor="ann")
    with pytest.raises(ContentError):
        registry.versions.edit("pistol", actor="ann", definition=define(**REFUSED))
    registry.versions.submit("pistol", actor="ann")
    with pytest.raises(ContentError):
        registry.versions.copy("pistol", actor="ann", definition=define(**REFUSED))
    assert [version.number for version in registry.concepts.get("pistol").versions] == [1]


def test_an_older_registrys_definition_is_read_and_not_imported(
    registry, tmp_path, define, collect, monkeypatch
):
    source = Registry.create(tmp_path / "source", f"sqlite:///{tmp_path / 'source.db'}")
    with monkeypatch.context() as before_the_rule:
        before_the_rule.setattr("registry.versions.adding.refuse_minors", lambda _: None)
        source.concepts.add(define(**REFUSED), actor="ann")
    source.versions.add("pistol", [collect(1)], actor="ann")
    assert source.versions.detail("pistol").definition == define(**REFUSED)
    export_concept(source.workspace, "pistol", tmp_path / "pistol.zip")
    with pytest.raises(ContentError):
        import_concept(registry.workspace, tmp_path / "pistol.zip", actor="bob")
    assert registry.concepts.list() == []
