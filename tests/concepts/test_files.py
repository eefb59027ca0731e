from pathlib import Path

import pytest

from concepts.files import write_file


def test_makes_the_folder_and_leaves_no_partial_file(tmp_path: Path):
    write_file(tmp_path / "a" / "b.bin", b"new")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.bin"]
    assert (tmp_path / "a" / "b.bin").read_bytes() == b"new"


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = tmp_path / "b.bin"
    target.write_bytes(b"old")

    def full(path: Path, data: bytes) -> int:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_file(target, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["b.bin"]
    assert target.read_bytes() == b"old"
