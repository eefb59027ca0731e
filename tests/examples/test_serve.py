import json
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Callable

import pytest

from tests.examples.conftest import example


@pytest.fixture
def serve(publish, tmp_path, monkeypatch):
    """Ray Serve on this machine, with the example of two replicas that poll every second."""
    if os.environ.get("UVR_REQUIRE_RAY") != "1":
        pytest.importorskip("ray.serve")
    import ray  # noqa: PLC0415 (an extra)
    from ray import serve  # noqa: PLC0415

    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "240")
    monkeypatch.setenv("UVR_BUNDLE", str(publish(1, threshold=1e9)))
    monkeypatch.setenv("UVR_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("UVR_POLL_SECONDS", "0.5")
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    try:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(example("serve").app)
        yield f"http://127.0.0.1:{port}/"
    finally:
        serve.shutdown()
        ray.shutdown()


def draw(url: str) -> dict:
    wish = json.dumps({"prompt": "a cat", "seed": 0}).encode()
    request = urllib.request.Request(url, wish, {"x-request-id": "r-17"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def until(url: str, wanted: Callable[[dict], bool]) -> dict:
    """Draw until a picture is as wanted."""
    deadline = time.monotonic() + 120
    while not wanted(drawn := draw(url)):
        assert time.monotonic() < deadline, drawn
    return drawn


def test_a_release_is_taken_up_and_a_killed_replica_comes_back_with_it(serve, publish):
    before = draw(serve)
    assert (before["request"], before["release"], before["outcome"]) == ("r-17", 1, "untouched")
    publish(2)
    after = until(serve, lambda drawn: drawn["release"] == 2)
    assert after["outcome"] == "regulated"
    first = after["replica"]
    second = until(serve, lambda drawn: drawn["replica"] != first)["replica"]
    os.kill(first, signal.SIGKILL)
    third = until(serve, lambda drawn: drawn["replica"] not in (first, second))
    assert (third["release"], third["outcome"]) == (2, "regulated")
