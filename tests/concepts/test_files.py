import os
import secrets
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from concepts.bundle import read_bundle
from concepts.definition import load_definition
from concepts.errors import DefinitionError, VerificationError
from concepts.files import abandoned, check_writable, read_bytes, replacing, write_file


@pytest.mark.usefixtures("impatient")
def test_a_pipe_or_device_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/zero")):
        with pytest.raises(OSError, match="a pipe or a device, not a regular file"):
            read_bytes(path)
    with pytest.raises(IsADirectoryError):
        read_bytes(tmp_path)
    (tmp_path / "file").write_bytes(b"text")
    assert read_bytes(tmp_path / "file") == b"text"


@pytest.mark.usefixtures("impatient")
def test_a_bundle_or_definition_that_is_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(VerificationError, match="not a regular file"):
        read_bundle(tmp_path / "pipe")
    with pytest.raises(DefinitionError, match="not a regular file"):
        load_definition(tmp_path / "pipe")


def test_makes_the_folder_and_leaves_no_partial_file(tmp_path):
    write_file(tmp_path / "a" / "b.bin", b"new")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.bin"]
    assert (tmp_path / "a" / "b.bin").read_bytes() == b"new"


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "b.bin"
    target.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_file(target, b"new", durable=True)
    assert [path.name for path in tmp_path.iterdir()] == ["b.bin"]
    assert target.read_bytes() == b"old"


def test_two_writers_of_one_file_never_mix(tmp_path):
    target = tmp_path / "b.bin"
    whole = [bytes([number]) * (1 << 20) for number in (1, 2)]
    target.write_bytes(whole[0])
    with ThreadPoolExecutor(3) as pool:
        writes = [pool.submit(write_file, target, data) for data in whole * 20]
        while not all(write.done() for write in writes):
            assert target.read_bytes() in whole
        assert [write.result() for write in writes] == [None] * 40
    assert [path.name for path in tmp_path.iterdir()] == ["b.bin"]


def test_a_link_in_the_way_is_not_followed(tmp_path, monkeypatch):
    victim, target = tmp_path / "victim", tmp_path / "b.bin"
    victim.write_bytes(b"old")
    monkeypatch.setattr(secrets, "token_hex", lambda size: "known")
    (tmp_path / ".b.bin.known.partial").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_file(target, b"new")
    assert (victim.read_bytes(), target.exists()) == (b"old", False)


def test_the_mode_is_the_one_that_the_process_asks_for(tmp_path):
    before = os.umask(0o027)
    try:
        write_file(tmp_path / "b.bin", b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "b.bin").stat().st_mode & 0o777 == 0o640


def test_a_link_is_followed_and_a_pipe_is_written_into(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_file(tmp_path / "link", b"one")
    write_file(tmp_path / "link", b"two")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"two"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_file(tmp_path / "pipe", b"three")
    assert os.read(reader, 9) == b"three"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
    with pytest.raises(IsADirectoryError):
        write_file(tmp_path, b"four")


def test_what_is_checked_is_what_is_written(tmp_path, monkeypatch):
    (tmp_path / "locked").mkdir()
    monkeypatch.setattr("os.access", lambda path, _: Path(path).name not in ("locked", "dev"))
    (tmp_path / "link").symlink_to(tmp_path / "locked" / "file")
    with pytest.raises(PermissionError):
        check_writable(tmp_path / "link")
    check_writable(Path("/dev/null"))  # Whoever may not write into its folder may use it.
    write_file(Path("/dev/null"), b"x")
    assert not Path("/dev/null").is_file()


KILLED = """
import os, pathlib, sys
from concepts.files import replacing
with replacing(pathlib.Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), 9)
"""


def test_a_killed_writers_partial_file_goes_and_a_living_ones_stays(tmp_path):
    target = tmp_path / "b.bin"
    for _ in range(2):  # The second removes what the first left.
        subprocess.run([sys.executable, "-c", KILLED, target], check=False)
    (left,) = abandoned(tmp_path)
    mine = tmp_path / ".b.bin.mine.partial"  # Not a name that this program gives.
    mine.write_bytes(b"x")
    with replacing(target) as file:
        assert abandoned(tmp_path) == []  # The killed one's is gone, and this one is alive.
        file.write(b"whole")
        write_file(target, b"another")
    assert not left.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [mine.name, "b.bin"]
    assert target.read_bytes() == b"whole"
