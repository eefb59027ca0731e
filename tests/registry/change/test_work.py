"""A unit of work keeps all of its blobs, or deletes them while it still may."""

import pytest
from sqlalchemy import text

from concepts.errors import UVRError
from registry import Registry
from registry.operations.doctor import diagnose
from registry.versions import adding


def blobs(registry):
    return set(registry.workspace.store.digests())


def test_a_failed_transaction_leaves_no_blobs(registry, define, collect, monkeypatch):
    registry.concepts.add(define(), actor="ann")

    def fail(unit, *_):
        unit.session.execute(text("SELECT no_such_column"))

    monkeypatch.setattr(adding, "add_exemplars", fail)
    with pytest.raises(UVRError):
        registry.versions.add("pistol", [collect(1)], actor="ann")
    assert blobs(registry) == set()


def test_a_lost_connection_never_costs_another_writer_its_blobs(
    postgres_url, tmp_path, define, collect, monkeypatch
):
    registry = Registry.create(tmp_path / "home", postgres_url)
    registry.concepts.add(define(), actor="ann")
    add_exemplars = adding.add_exemplars

    def lose(unit, *arguments):
        """The server drops the first writer, and its lock; a second stores the same anchors."""
        if unit.actor == "ann":
            pid = unit.session.scalar(text("SELECT pg_backend_pid()"))
            other = Registry.open(tmp_path / "home", postgres_url)
            with other.workspace.engine.begin() as connection:
                connection.execute(text(f"SELECT pg_terminate_backend({pid}, 5000)"))
            other.versions.add("pistol", [collect(1)], actor="bob")
        add_exemplars(unit, *arguments)
        unit.session.execute(text("SELECT 1"))

    monkeypatch.setattr(adding, "add_exemplars", lose)
    with pytest.raises(UVRError):
        registry.versions.add("pistol", [collect(1)], actor="ann")
    found = diagnose(registry.workspace)
    assert {check.name: check.problems for check in found.checks if not check.ok} == {}
    assert [version.created_by for version in registry.concepts.get("pistol").versions] == ["bob"]
