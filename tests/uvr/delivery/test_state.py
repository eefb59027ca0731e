"""What a host has accepted, on disk: never forgotten, never taken back, whoever is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from concepts.bundle import (
    read_bundle,
)
from concepts.errors import (
    RollbackError,
    SignatureError,
    UVRError,
    VerificationError,
)
from concepts.signing.keys import KeyList
from tests.uvr.delivery.conftest import (
    KEY,
    KEYS,
    LATER,
    LIST_2,
    OUTSIDER,
    REGISTRY,
    SECOND,
    START,
    make_file,
    record_of,
    rotated,
)
from uvr.delivery.source import BundleSource
from uvr.delivery.state import Accepted, TrustState


def test_the_last_known_good_is_verified_again_and_serves_without_the_location(host):
    host.offer(7)
    host.source().start()
    host.file.unlink()
    with host.source() as source:
        assert source.current.sequence == 7
        assert "No bundle file" in str(source.status().last_error)
    stored = host.state / "demo" / "bundle.uvr"
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.write_bytes(data)
    with pytest.raises(VerificationError, match="last known good"):
        host.source().start()
    host.offer(6)
    with pytest.raises(RollbackError, match="older than release 7"):
        host.source().start()  # What was accepted is not forgotten with the file.
    host.offer(7)
    with host.source() as source:
        assert source.current.sequence == 7
    assert read_bundle(stored, KEYS).sequence == 7


def test_any_damage_to_the_record_is_an_error(host):
    host.offer(7)
    host.source().start()
    record = host.state / "demo" / "state.json"
    whole = record.read_bytes()
    rng = random.Random(5)
    for position in range(0, len(whole), 7):
        broken = bytearray(whole)
        broken[position] ^= 1 << rng.randrange(8)
        record.write_bytes(broken)
        with pytest.raises(VerificationError, match="is damaged"):
            host.source(require=False).start()
    for broken in (b"", whole[:-1], whole + b"\n", b"{}", b"[]", b"null"):
        record.write_bytes(broken)
        with pytest.raises(VerificationError, match="is damaged"):
            host.source(require=False).start()
    record.write_bytes(whole)
    with host.source() as source:
        assert source.current.sequence == 7


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["state.json", "bundle.uvr", "lock", ""])
def test_a_link_in_the_state_folder_is_refused(host, name):
    host.offer(7)
    host.source().start()
    path, elsewhere = host.state / "demo" / name, host.folder / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    host.offer(8)
    with pytest.raises(UVRError, match=r"a link, and none is followed|symbolic links"):
        host.source().start().refresh()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["state.json", "bundle.uvr"])
def test_a_pipe_in_the_state_folder_is_refused(host, name):
    host.offer(7)
    host.source().start()
    path = host.state / "demo" / name
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UVRError, match="not a regular file"):
        host.source().start()


@pytest.mark.usefixtures("impatient")
def test_a_pipe_in_the_place_of_the_lock_is_not_waited_for(host):
    (host.state / "demo").mkdir(parents=True)
    os.mkfifo(host.state / "demo" / "lock")
    host.offer(7)
    with host.source() as source:
        assert source.current.sequence == 7


@pytest.mark.parametrize("folder", ["state", "state/demo"])
def test_a_state_folder_that_others_may_write_is_warned_of(host, folder, caplog):
    host.offer(7, expires=LATER)
    with host.source() as source:
        assert source.status().warnings == ()
    (host.folder / folder).chmod(0o777)
    with host.source() as source:
        (warning,) = source.status().warnings
    assert warning == (
        f"every user of this machine may write to the state folder '{host.folder / folder}', and "
        f"so have an old release taken for new: chmod o-w '{host.folder / folder}'"
    )
    assert warning in caplog.text
    (host.folder / folder).chmod(0o1777)  # As /tmp: nobody removes what is another's.
    with host.source() as source:
        assert source.status().warnings == ()


def test_a_bundle_ahead_of_its_record_is_taken_up(host):
    """As a kill between the two writes leaves it, also at the first one."""
    stored, record = host.state / "demo" / "bundle.uvr", host.state / "demo" / "state.json"
    for sequence in (3, 4):
        stored.parent.mkdir(parents=True, exist_ok=True)
        stored.write_bytes(make_file(sequence))
        with host.source() as source:
            assert source.current.sequence == sequence
        assert json.loads(record.read_bytes())["sequence"] == sequence
    stored.write_bytes(make_file(2))
    with pytest.raises(VerificationError, match="older than release 4"):
        host.source().start()
    record.unlink()
    stored.write_bytes(make_file(5, OUTSIDER))
    host.offer(9)
    with pytest.raises(VerificationError, match="last known good"):
        host.source().start()


def test_two_processes_share_a_state_and_neither_takes_it_back(host):
    host.offer(3)
    other = host.folder / "other.uvr"
    other.write_bytes(make_file(3))
    with host.source() as first, host.source(other) as second:
        host.offer(5)
        assert first.refresh()
        other.write_bytes(make_file(4))
        with pytest.raises(RollbackError, match="older than release 5"):
            second.refresh()
        other.write_bytes(make_file(5, slug="cup"))
        with pytest.raises(VerificationError, match="never changes"):
            second.refresh()
        assert second.current.sequence == 5  # What the other one has accepted, it takes up.
    assert json.loads((host.state / "demo" / "state.json").read_bytes())["sequence"] == 5


def test_no_worker_of_a_shared_state_undoes_a_revocation(host):
    host.offer(5)
    with host.source() as first, host.source() as second:
        host.offer(6, SECOND, **rotated())
        assert first.refresh()
        host.offer(7, KEY, slug="evil")
        for source in (first, second):
            with pytest.raises(SignatureError, match="revoked"):
                source.refresh()
            assert (source.current.sequence, source.status().key_list_version) == (6, 2)
    assert (record_of(host).sequence, record_of(host).keys) == (6, LIST_2)


def test_a_poll_does_not_take_a_newer_key_list_back(host):
    host.offer(5)
    newer = KeyList(2, 1, (KEY.public, SECOND.public))
    with host.source() as first, host.source(keys=newer):
        assert record_of(host).keys == newer
        first.refresh()
        assert record_of(host).keys == newer
        assert first.status().key_list_version == 2


def test_a_record_is_followed_only_by_one_of_its_bundle_and_its_keys(tmp_path):
    """Also when another process wrote it while the bundle was being verified."""
    state = TrustState(tmp_path / "demo")
    held = Accepted("demo", REGISTRY, 5, "a" * 64, KEYS, (KEY.public.key_id,), "", START)
    state.accept(replace(held, keys=LIST_2, signers=(SECOND.public.key_id,)), b"bundle")
    before = state.load()
    for change, error, message in (
        ({"sequence": 6}, RollbackError, "Key list 2 has become trusted"),
        ({"sequence": 6, "keys": None}, RollbackError, "Key list 2 has become trusted"),
        ({"sequence": 6, "keys": LIST_2, "name": "other"}, VerificationError, "bundle 'demo'"),
        ({"sequence": 6, "keys": LIST_2, "registry": "f" * 32}, VerificationError, "registry '01"),
        ({"sequence": 4, "keys": LIST_2}, RollbackError, "another process"),
        ({"keys": LIST_2, "digest": "b" * 64}, VerificationError, "never changes"),
        ({"keys": KeyList(2, 1, (KEY.public,))}, VerificationError, "not the key list 2"),
    ):
        with pytest.raises(error, match=message):
            state.accept(replace(held, **change), b"other")
    state.checked(replace(held, checked_at=LATER, etag="new"))
    assert state.load() == replace(before or held, checked_at=LATER, etag="new")
    assert state.load_bundle() == b"bundle"


def test_two_workers_that_expect_no_name_agree_on_the_first_one(host):
    host.offer(5)
    first, second = host.source(name=None), host.source(name=None)
    first.start()
    host.offer(6, name="other")
    for source in (first, second):
        with pytest.raises(VerificationError, match="'demo' is expected"):
            source.refresh()
    assert second.current.name == "demo"


def test_what_killed_writers_left_is_removed(host):
    host.offer(1)
    host.source().start()
    left = host.state / "demo" / ".bundle.uvr.0123.partial"
    left.write_bytes(b"half")
    host.source().start()
    assert not left.exists()


def test_a_state_that_cannot_be_written_keeps_the_bundle_in_use(host):
    host.offer(1)
    with host.source() as source:
        (host.state / "demo" / ".bundle.uvr.partial").mkdir()
        host.offer(2)
        with pytest.raises(UVRError, match="cannot be written"):
            source.refresh()
        assert source.current.sequence == 1


def test_the_state_belongs_to_one_bundle_and_its_keys(host):
    host.offer(1)
    host.source().start()
    with pytest.raises(VerificationError, match="no keys are given now"):
        host.source(keys=None).start()
    with pytest.raises(VerificationError, match="not the key list 1"):
        host.source(keys=KeyList(1, 1, (SECOND.public,))).start()
    with pytest.raises(ValueError, match="not the name of a bundle"):
        host.source(name="../demo")
    host.source(name=None).start()
    assert len(list(host.state.iterdir())) == 2


WORKER = """
import sys
from pathlib import Path
from concepts.signing.keys import KeyList
from uvr.delivery.source import BundleSource
folder, keys = Path(sys.argv[1]), KeyList.from_bytes(Path(sys.argv[2]).read_bytes())
files = sorted(folder.glob("release-*"))
offer = folder / "offer.uvr"
source = BundleSource(offer, keys=keys, state=folder / "state", name="demo", require=False,
                      poll_seconds=0)
offer.write_bytes(files[0].read_bytes())
source.start()
print("ready", flush=True)
for file in files[source.current.sequence:]:
    offer.write_bytes(file.read_bytes())
    source.refresh()
    print(source.current.sequence, flush=True)
"""


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_a_kill_at_any_moment_never_loses_what_was_accepted(tmp_path, seed):
    """Each kill is followed by a start that must hold at least the release last announced."""
    rng = random.Random(seed)
    keys, script = tmp_path / "keys.json", tmp_path / "worker.py"
    keys.write_bytes(KEYS.to_bytes())
    script.write_text(WORKER)
    for sequence in range(1, 400):
        (tmp_path / f"release-{sequence:04d}").write_bytes(make_file(sequence))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    announced, kills = 1, 0  # The first is accepted before a worker is ready.
    while kills < 12:
        worker = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path), str(keys)],
            stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0, 0.05))
        worker.send_signal(signal.SIGKILL)
        out, _ = worker.communicate()
        kills += worker.returncode == -signal.SIGKILL
        announced = max([announced, *map(int, out.split())])
        offline = tmp_path / "gone.uvr"
        with BundleSource(
            offline, keys=KEYS, state=tmp_path / "state", name="demo", poll_seconds=0
        ) as source:
            accepted = source.current.sequence
        assert accepted in (announced, announced + 1), f"seed {seed}, kill {kills}"
        announced = accepted
    assert announced > 3
