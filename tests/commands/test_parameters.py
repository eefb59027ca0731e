"""What arguments and options refuse, whichever command takes them."""

import hashlib

import pytest

from tests.commands.conftest import on_both

WRITING = [
    "bundle export policy --out",
    "release policy --out",
    "release policy --dry-run --out",
    "rollback policy@1 --reason x --out",
    "sign policy --key alice.pem --out",
    "pull policy.uvr --unsigned --state state --out",
    "pull policy.uvr --unsigned --state",
    "export-concept pistol --out",
    "backup",
    "key export --out",
    "key generate bob --out",
    "audit checkpoint --key alice.pem --out",
    "audit export --out",
    "generate prompt --out",
    "generate prompt --bundle policy.uvr --report",
    "edit picture.png prompt --bundle policy.uvr --heat-map",
    "demo --out",
]


def contents(home):
    return {
        str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(home.rglob("*"))
        if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    }


@pytest.mark.parametrize("command", WRITING)
def test_no_command_writes_over_the_registry(run, key, home, tmp_path, command):
    assert run("release", "policy", "--key", key, "--out", "policy.uvr").code == 0
    (tmp_path / "link").symlink_to(home / "registry.db")
    places = ("registry.db", "registry.db-wal", "blobs/registry", "blobs/sha256/ab", "index/x",
              "exemplars/x")  # fmt: skip
    before = contents(home)
    for place in (*(home / place for place in places), "link"):
        result = run(*command.split(), place)
        assert (result.code, result.out, result.err) == (
            4, "", f"Error: '{place}' is a part of the registry. Name another place.\n"
        )  # fmt: skip
    assert contents(home) == before


@on_both
def test_a_database_named_by_its_url_is_the_registrys_own(run, filled, home, monkeypatch, tmp_path):
    assert run("audit", "export", "--out", home / "blobs" / "x").code == 4
    monkeypatch.setenv("UVR_DATABASE_URL", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    assert run("--home", "second", "init").code == 0
    assert run("--home", "second", "audit", "export", "--out", "elsewhere.db").code == 4
    assert run("--home", "second", "audit", "export", "--out", "elsewhere.jsonl").code == 0
