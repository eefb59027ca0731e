"""A registry's folder belongs to one registry."""

import pytest

from concepts.errors import ConflictError, NotFoundError
from registry import Registry
from registry.operations import backup, restore
from registry.operations.doctor import diagnose


def test_two_registries_never_share_a_folder(registry, define, tmp_path):
    other = f"sqlite:///{tmp_path / 'other.db'}"
    with pytest.raises(ConflictError, match="belongs to registry"):
        Registry.create(registry.home, other)
    with pytest.raises(NotFoundError):
        Registry.open(registry.home, other)
    second = Registry.create(tmp_path / "second", other)
    with pytest.raises(ConflictError, match="belongs to registry"):
        Registry.open(registry.home, other)
    backup(second.workspace, tmp_path / "second.zip")
    third = f"sqlite:///{tmp_path / 'third.db'}"
    with pytest.raises(ConflictError, match="belongs to registry"):
        restore(tmp_path / "second.zip", registry.home, third)


def test_a_lost_database_is_restored_beside_its_blobs(registry, define, collect, tmp_path):
    registry.concepts.add(define(), actor="ann")
    registry.versions.add("pistol", [collect(1)], actor="ann")
    backup(registry.workspace, tmp_path / "all.zip")
    url = f"sqlite:///{tmp_path / 'new.db'}"
    assert diagnose(restore(tmp_path / "all.zip", registry.home, url)).ok


def test_a_folder_without_a_mark_is_taken(registry):
    (registry.home / "blobs" / "registry").unlink()
    url = registry.workspace.engine.url.render_as_string(hide_password=False)
    assert Registry.open(registry.home, url).concepts.list() == []
    Registry.create(registry.home, url)
    assert (registry.home / "blobs" / "registry").is_file()
