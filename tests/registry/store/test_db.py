"""What a database does wrong gets a name, by its code rather than by the words of its message."""

import os
import resource
import sys
from types import SimpleNamespace

import pytest
from sqlalchemy import text

from concepts.errors import BusyError, InputError, SchemaError, UVRError, VerificationError
from registry.store import db
from registry.store.db import connect, database_url, transaction

CODES = {
    "42P01": (SchemaError, "has no registry"),
    "55P03": (BusyError, "Another process is writing"),
    "40001": (BusyError, "Another process is writing"),
    "40P01": (BusyError, "Another process is writing"),
    "53100": (UVRError, "The disk is full"),
    "XX001": (VerificationError, "is corrupt: pech gehabt"),
    "58000": (UVRError, "failed: pech gehabt"),
}


def do(engine, statement, **values):
    with transaction(engine, write=True) as connection:
        return connection.execute(text(statement), values)


@pytest.mark.parametrize("code", list(CODES))
def test_postgres_errors_are_told_by_their_code(postgres_url, code):
    error, message = CODES[code]
    raising = f"RAISE EXCEPTION USING MESSAGE = 'pech gehabt', ERRCODE = '{code}'"
    with pytest.raises(error, match=message) as found:
        do(connect(postgres_url), f"DO $$ BEGIN {raising}; END $$")
    assert type(found.value) is error


def test_a_table_that_is_not_there_is_told_whatever_its_name(engine):
    with pytest.raises(SchemaError, match="has no registry"):
        do(engine, "SELECT * FROM locked")


def test_a_full_sqlite_file_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(db, "SQLITE_PRAGMAS", ("PRAGMA max_page_count = 1",))
    with pytest.raises(UVRError, match="The disk is full"):
        do(connect(database_url(tmp_path)), "CREATE TABLE a (b)")


@pytest.mark.parametrize("room", ["bytes", "files", None])
def test_a_full_disk_is_told_where_sqlite_calls_it_an_error(tmp_path, monkeypatch, room):
    engine = connect(database_url(tmp_path))
    do(engine, "CREATE TABLE a (b)")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    plain = {"f_bavail": 1000, "f_frsize": 4096, "f_files": 1000, "f_favail": 1000}
    full = {"bytes": {"f_bavail": 9}, "files": {"f_favail": 0}, None: {}}[room]
    monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(**plain | full))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))  # The next write fails.
    try:
        with pytest.raises(UVRError) as caught:
            do(engine, "INSERT INTO a VALUES (1)")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    expected = "The disk is full" if room else "disk I/O error"
    assert expected in str(caught.value)


def test_a_number_that_is_too_large_is_told(engine):
    with pytest.raises(InputError, match="The registry cannot hold a value"):
        do(engine, "SELECT CAST(:number AS integer)", number=2**70)


def test_a_writer_that_waits_too_long_is_told(postgres_url, monkeypatch):
    engine = connect(postgres_url)
    with transaction(engine, write=True):
        monkeypatch.setattr(db, "BUSY_SECONDS", 0.1)
        with pytest.raises(BusyError, match="Try again in a moment"):
            do(engine, "SELECT 1")


def test_a_writer_sees_what_was_written_while_it_waited(postgres_url):
    # The server's default is not the program's: a snapshot must not be older than the lock.
    eager = f"{postgres_url}%20-cdefault_transaction_isolation%3Drepeatable%5C%20read"
    levels = []
    for write in (True, False):
        with transaction(connect(eager), write=write) as connection:
            levels.append(connection.scalar(text("SHOW transaction_isolation")))
    assert levels == ["read committed", "repeatable read"]


def test_the_default_home_is_the_environments_or_the_users(tmp_path, monkeypatch):
    """A registry made before the system was asked is found again, whatever the system says now."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    before = tmp_path / ".local" / "share" / "uvr"
    if sys.platform == "linux":
        assert db.default_home() == before
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        assert db.default_home() == tmp_path / "data" / "uvr"
    before.mkdir(parents=True)
    assert db.default_home() == before
    monkeypatch.setenv("UVR_HOME", str(tmp_path / "mine"))
    assert db.default_home() == tmp_path / "mine"
