"""Polling in the background, in forked processes too."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.uvr.delivery.conftest import KEYS, make_file
from uvr.delivery.poller import MAX_BACKOFF, pause


def test_a_thread_polls_until_it_is_closed(host):
    host.offer(1)
    with host.source(poll_seconds=0.02) as source:
        host.offer(2)
        deadline = time.monotonic() + 10
        while source.current.sequence != 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert source.current.sequence == 2
        host.file.write_bytes(b"")
        while not source.status().last_error and time.monotonic() < deadline:
            time.sleep(0.01)
        host.offer(3)
        while source.status().last_error and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (source.current.sequence, source.status().last_error) == (3, None)
    assert not [thread for thread in threading.enumerate() if thread.name == "uvr-source"]


FORK = """
import os, sys, threading, time
from pathlib import Path
from concepts.signing.keys import KeyList
from uvr.delivery.source import BundleSource
folder, keys = Path(sys.argv[1]), KeyList.from_bytes(Path(sys.argv[2]).read_bytes())
offer = folder / "offer.uvr"
source = BundleSource(offer, keys=keys, state=folder / "state", poll_seconds=0.05).start()
polls = threading.Event()
def poll():
    with source._poller.turn:
        polls.set()
        time.sleep(0.5)
threading.Thread(target=poll).start()
polls.wait()
child = os.fork()
offer.write_bytes((folder / "next.uvr").read_bytes())
deadline = time.monotonic() + 10
while source.current.sequence != 2 and time.monotonic() < deadline:
    time.sleep(0.01)
if child == 0:
    os._exit(source.current.sequence)
print(source.current.sequence, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_goes_on_polling(tmp_path):
    keys, script = tmp_path / "keys.json", tmp_path / "fork.py"
    keys.write_bytes(KEYS.to_bytes())
    script.write_text(FORK)
    (tmp_path / "offer.uvr").write_bytes(make_file(1))
    (tmp_path / "next.uvr").write_bytes(make_file(2))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    ran = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(keys)],
        capture_output=True, text=True, env=environment, timeout=60, check=False,
    )  # fmt: skip
    assert (ran.stdout, ran.returncode) == ("2 2\n", 0), ran.stderr


def test_pauses_grow_with_failures_up_to_a_cap_and_are_never_in_step():
    for failures, least, most in ((0, 8, 12), (1, 16, 24), (2, 32, 48), (9, 80, 100)):
        pauses = [pause(10, failures) for _ in range(200)]
        assert least <= min(pauses) < max(pauses) <= min(most, MAX_BACKOFF * 10)
    assert len({pause(10, 0) for _ in range(20)}) > 15
