"""The examples on a Ray cluster of this machine."""

import json
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator

import pyarrow.parquet
import pytest

from tests.examples.conftest import example
from uvr.decisions.reading import LoggedDecisions

# Ray warns of options of its own that it sets itself.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.usefixtures("cluster")
def test_a_file_of_prompts_becomes_pictures_with_verdicts(publish, tmp_path, monkeypatch):
    (tmp_path / "prompts.txt").write_text("a cat\n\na bomb on a pink background\n")
    out = tmp_path / "out"
    words = ["batch.py", tmp_path / "prompts.txt", out, "--bundle", publish()]
    monkeypatch.setattr("sys.argv", list(map(str, words)))
    example("batch").main()
    rows = pyarrow.parquet.read_table(out / "pictures").to_pylist()
    rows.sort(key=lambda row: row["id"])
    assert [row["prompt"] for row in rows] == ["a cat", "a bomb on a pink background"]
    assert [(row["outcome"], row["concept"]) for row in rows] == [("regulated", "ball")] * 2
    assert [row["png"][:4] for row in rows] == [b"\x89PNG"] * 2
    (log,) = out.glob("decisions/*.jsonl")
    assert [item.request for item in LoggedDecisions([log])] == ["row-0", "row-1"]


@pytest.mark.usefixtures("cluster")
def test_without_the_name_of_a_bundle_it_says_what_to_set(monkeypatch):
    monkeypatch.delenv("UVR_BUNDLE", raising=False)
    with pytest.raises(SystemExit, match="UVR_BUNDLE is not set: name a bundle's file"):
        example("serve")


@pytest.fixture
def server(cluster, publish, tmp_path, monkeypatch) -> Iterator[str]:
    """The address of two replicas that poll every half second."""
    from ray import serve  # noqa: PLC0415 (an extra)

    monkeypatch.setenv("UVR_BUNDLE", str(publish(1, threshold=1e9)))
    monkeypatch.setenv("UVR_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("UVR_POLL_SECONDS", "0.5")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    try:
        serve.run(example("serve").app)
        yield f"http://127.0.0.1:{port}/"
    finally:
        serve.shutdown()


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


def test_a_release_is_taken_up_and_a_killed_replica_comes_back_with_it(server, publish):
    before = draw(server)
    assert (before["request"], before["release"], before["outcome"]) == ("r-17", 1, "untouched")
    publish(2)
    after = until(server, lambda drawn: drawn["release"] == 2)
    assert after["outcome"] == "regulated"
    first = after["replica"]
    second = until(server, lambda drawn: drawn["replica"] != first)["replica"]
    os.kill(first, signal.SIGKILL)
    third = until(server, lambda drawn: drawn["replica"] not in (first, second))
    assert (third["release"], third["outcome"]) == (2, "regulated")
