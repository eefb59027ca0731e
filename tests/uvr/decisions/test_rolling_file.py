import fcntl
import multiprocessing
import os

import pytest

from uvr.decisions.rolling_file import RollingFile, full_files


def test_a_full_file_is_put_aside_and_the_oldest_ones_go(tmp_path):
    file = RollingFile(tmp_path / "deep" / "log.jsonl", max_bytes=8, keep=2)
    for number in range(9):
        file.append(f"{number}aa\n".encode())
    full = full_files(file.path)
    assert [path.name for path in full] == ["log.000003.jsonl", "log.000004.jsonl"]
    assert [path.read_text() for path in full] == ["4aa\n5aa\n", "6aa\n7aa\n"]
    assert file.path.read_text() == "8aa\n"


def test_a_line_that_is_larger_than_a_file_is_written_all_the_same(tmp_path):
    file = RollingFile(tmp_path / "log.jsonl", max_bytes=2, keep=1)
    file.append(b"long\n")
    file.append(b"longer\n")
    assert (file.path.read_bytes(), full_files(file.path)[0].read_bytes()) == (
        b"longer\n", b"long\n",
    )  # fmt: skip


def test_a_torn_line_is_ended_before_the_next(tmp_path):
    (tmp_path / "log.jsonl").write_bytes(b'{"whole": 1}\n{"to')
    RollingFile(tmp_path / "log.jsonl", max_bytes=100, keep=1).append(b"next\n")
    assert (tmp_path / "log.jsonl").read_bytes() == b'{"whole": 1}\n{"to\nnext\n'


def test_processes_share_a_file_while_it_is_put_aside(tmp_path):
    context = multiprocessing.get_context("fork")
    path = tmp_path / "log.jsonl"
    workers = [context.Process(target=_append, args=(path, name)) for name in "abc"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    lines = [line for file in (*full_files(path), path) for line in file.read_text().splitlines()]
    assert sorted(lines) == sorted(f"{name}{number:03}" for name in "abc" for number in range(200))


def _append(path, name):
    file = RollingFile(path, max_bytes=100, keep=1000)
    for number in range(200):
        file.append(f"{name}{number:03}\n".encode())


def test_a_process_forked_within_a_write_does_not_keep_the_file_locked(tmp_path):
    file = RollingFile(tmp_path / "log.jsonl", max_bytes=100, keep=1)
    with file._locked():
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(write)
            os.read(read, 1)  # until the parent is through
            os._exit(0)
    try:
        with file.path.open("rb") as other:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(write)
        os.close(read)
        os.waitpid(child, 0)


def test_a_folder_is_no_file_and_no_bytes_are_no_size(tmp_path):
    with pytest.raises(IsADirectoryError):
        RollingFile(tmp_path, 10, 1)
    with pytest.raises(ValueError, match="max_bytes is 0 and keep 1"):
        RollingFile(tmp_path / "log", 0, 1)
