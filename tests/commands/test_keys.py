"""Commands on keys."""

from pathlib import Path


def test_a_key_is_secret_and_never_overwritten(run, home):
    assert run("key", "generate", "alice", "--out", "deep/alice.pem").code == 0
    written = Path("deep/alice.pem")
    assert written.stat().st_mode & 0o777 == 0o600
    before = written.read_bytes()
    result = run("key", "generate", "alice", "--out", "deep/alice.pem")
    assert (result.code, "never overwritten" in result.err) == (2, True)
    assert written.read_bytes() == before


def test_a_passphrase_guards_a_key(run, filled, monkeypatch, tmp_path):
    monkeypatch.setenv("UVR_KEY_PASSPHRASE", "correct horse")
    run("key", "generate", "alice")
    run("key", "add", "alice", "alice.pem.pub")
    rotate = ("key", "rotate", "--add", "alice", "--key", "alice.pem")
    monkeypatch.setenv("UVR_KEY_PASSPHRASE", "wrong")
    assert run(*rotate).code == 6
    monkeypatch.delenv("UVR_KEY_PASSPHRASE")
    assert (run(*rotate).code, "UVR_KEY_PASSPHRASE" in run(*rotate).err) == (2, True)
    monkeypatch.setenv("UVR_KEY_PASSPHRASE", "correct horse")
    assert run(*rotate).out == "Key list 1: 1 of 1 key must sign\n"


def test_a_private_key_is_not_taken_for_a_public_one(run, key):
    result = run("key", "add", "bob", key)
    assert (result.code, len(result.err.splitlines())) == (6, 1)
