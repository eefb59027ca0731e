"""Who may reach a console, and how it is started."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from concepts.errors import InputError, PolicyError, UVRError
from console.server import serve
from console.settings import Settings, check_reach, is_loopback


def test_a_registry_of_one_is_for_its_own_machine(solo):
    check_reach(Settings("ann"), solo)
    check_reach(Settings("ann", address="::1"), solo)
    with pytest.raises(PolicyError, match=r"reaches 0\.0\.0\.0 could decide as 'ann'"):
        check_reach(Settings("ann", address="0.0.0.0"), solo)


def test_a_registry_of_one_takes_no_names_from_a_proxy(solo):
    with pytest.raises(PolicyError, match="has no actors, so that each of them could do every"):
        check_reach(Settings("ann", proxies=("10.0.0.7",), user_header="X-User"), solo)


def test_a_teams_registry_needs_a_proxy(team):
    with pytest.raises(PolicyError, match="put a proxy that logs people in before it"):
        check_reach(Settings("ann"), team)
    check_reach(Settings("ann", "0.0.0.0", proxies=("10.0.0.7",), user_header="X-User"), team)


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": "localhost"},
        {"address": "*"},
        {"proxies": ("proxy.example",), "user_header": "X-User"},
        {"proxies": ("10.0.0.0/8",), "user_header": "X-User"},
        {"proxies": ("10.0.0.7",)},
        {"user_header": "X-User"},
    ],
    ids=str,
)
def test_what_lists_nobody_in_particular_is_refused(wrong):
    with pytest.raises(InputError):
        Settings("ann", **wrong)


def test_hosts_are_those_that_browsers_name():
    assert Settings("ann").hosts == {"127.0.0.1:8642", "localhost:8642", "[::1]:8642"}
    named = Settings("ann", "10.0.0.5", 80, ("10.0.0.7",), "X-User", ("Policy.example.org",))
    assert named.hosts == {"10.0.0.5:80", "policy.example.org"}
    assert named.url == "http://10.0.0.5:80"
    assert Settings("ann", "::1").url == "http://[::1]:8642"
    assert "secret" not in repr(named)


@pytest.mark.parametrize(
    ("address", "own"),
    [("127.8.9.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("10.0.0.1", False),
     ("::ffff:10.0.0.1", False), ("testclient", False), ("", False)],
)  # fmt: skip
def test_loopback_is_told_from_other_addresses(address, own):
    assert is_loopback(address) == own


def test_a_taken_port_is_told(solo):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UVRError, match=f"127.0.0.1, port {port}: .* Choose another"):
            serve(solo, Settings("ann", port=port), pytest.fail)


def test_the_command_serves_until_it_is_stopped(solo):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, "-m", "cli", "--actor", "ann", "console", "--port", str(port)],
        env={**os.environ, "UVR_HOME": str(solo.home)}, stderr=subprocess.PIPE, text=True,
    ) as served:  # fmt: skip
        assert served.stderr is not None
        try:
            assert served.stderr.readline() == f"The console is at http://127.0.0.1:{port}\n"
            assert re.search(r"<p class=\"who\">ann", _open(f"http://127.0.0.1:{port}/"))
        finally:
            served.send_signal(signal.SIGINT)
            said = served.stderr.read()
    assert (served.returncode, "Traceback" in said) == (130, False)


def _open(url: str) -> str:
    for _ in range(100):
        try:
            with urllib.request.urlopen(url) as answer:
                return str(answer.read().decode())
        except ConnectionError:
            time.sleep(0.1)
    return pytest.fail("nobody answers")
