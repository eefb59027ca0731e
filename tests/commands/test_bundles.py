"""Commands on bundle files."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

BUNDLE_ERRORS = ("bundle inspect", "bundle verify", "generate prompt --bundle")


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def test_export_gives_the_same_bytes(run, filled, tmp_path):
    run("release", "policy", "--out", "first.uvr")
    assert run("bundle", "export", "policy", "--out", "again.uvr").code == 0
    assert (tmp_path / "first.uvr").read_bytes() == (tmp_path / "again.uvr").read_bytes()


@pytest.mark.parametrize("command", BUNDLE_ERRORS)
def test_a_corrupt_bundle_is_refused(run, filled, tmp_path, command):
    run("release", "policy", "--out", "policy.uvr")
    data = bytearray((tmp_path / "policy.uvr").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bad.uvr").write_bytes(data)
    result = run(*command.split(), "bad.uvr")
    assert (result.code, len(result.err.splitlines())) == (6, 1)


def test_a_wrong_digest_is_refused(run, filled):
    run("release", "policy", "--out", "policy.uvr")
    assert run("bundle", "verify", "policy.uvr", "--digest", "0" * 64).code == 6


def test_a_release_that_another_key_signed_is_refused(run, key, tmp_path):
    run("key", "export", "--out", "keys.json")
    run("release", "policy", "--out", "unsigned.uvr")
    run("release", "policy", "--key", key, "--out", "signed.uvr")
    for command in ("bundle verify", "bundle inspect", "generate prompt --bundle"):
        result = run(*command.split(), "unsigned.uvr", "--keys", "keys.json")
        assert (result.code, len(result.err.splitlines())) == (6, 1)
        assert "Signed by 0 of the 1" in result.err
    assert run("bundle", "verify", "signed.uvr", "--keys", "keys.json").code == 0


def test_pull_refuses_an_older_release_and_keeps_the_newer(run, key, tmp_path):
    run("key", "export", "--out", "keys.json")
    run("release", "policy", "--key", key, "--out", "one.uvr")
    run("release", "policy", "--key", key, "--out", "offer.uvr")
    pull = ("pull", "offer.uvr", "--keys", "keys.json", "--state", "state", "--name", "policy")
    assert run(*pull, "--json").json()["sequence"] == 2
    (tmp_path / "offer.uvr").write_bytes((tmp_path / "one.uvr").read_bytes())
    result = run(*pull, "--out", "new.uvr")
    assert (result.code, result.out, (tmp_path / "new.uvr").exists()) == (6, "", False)


def test_pull_takes_a_bundle_from_a_server(run, key, tmp_path):
    run("key", "export", "--out", "keys.json")
    (tmp_path / "served").mkdir()
    served = tmp_path / "served" / "policy.uvr"
    handler = partial(QuietHandler, directory=str(served.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/policy.uvr"
        pull = ("pull", url, "--keys", "keys.json", "--state", "state", "--out", "pulled.uvr")
        assert run(*pull).code == 3  # Nothing is served yet.
        for sequence in (1, 2):
            run("release", "policy", "--key", key, "--out", served)
            assert run(*pull, "--json").json()["sequence"] == sequence
            assert Path("pulled.uvr").read_bytes() == served.read_bytes()
        served.write_text("<!DOCTYPE html>")
        result = run(*pull)
        server.shutdown()
    assert (result.code, len(result.err.splitlines())) == (6, 1)
    assert "it begins with b'<!DOCTYP'" in result.err
    assert "policy@2, accepted earlier, stays." in result.err
