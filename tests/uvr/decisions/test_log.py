import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from uvr.decisions.decision import Decision, pixels_digest, prompt_digest
from uvr.decisions.log import DecisionLog
from uvr.decisions.reading import LoggedDecisions


def lines(log: DecisionLog) -> list[dict]:
    return [json.loads(line) for line in log.path.read_text().splitlines()]


def test_a_log_has_a_line_for_each_decision_once_it_is_closed(decide, tmp_path):
    with DecisionLog(tmp_path / "deep" / "log.jsonl", labels={"host": "gpu-3"}) as log:
        for number in range(200):
            log(decide(("ball", "enforce"), request=f"r-{number}"))
    found = list(LoggedDecisions([log.path]))
    assert [item.request for item in found] == [f"r-{number}" for number in range(200)]
    assert found[0].labels == {"host": "gpu-3"}
    assert found[0].verdict == decide(("ball", "enforce")).verdict
    assert log.dropped == 0


def test_text_features_and_pictures_are_kept_where_asked_for(decide, tmp_path):
    decision = decide(("ball", "enforce"))
    with DecisionLog(tmp_path / "plain.jsonl", prompt_key=b"secret") as plain:
        plain(decision)
    (line,) = lines(plain)
    assert {"prompt", "features"}.isdisjoint(line)
    assert line["prompt_digest"] == prompt_digest("a red ball", b"secret")
    folder = tmp_path / "pictures"
    with DecisionLog(tmp_path / "all.jsonl", text=True, features=True, pictures=folder) as log:
        log(decision)
    (found,) = LoggedDecisions([log.path])
    assert (found.prompt, [*found.features]) == ("a red ball", ["ball"])
    with Image.open(folder / f"{found.pixels}.png") as kept:
        assert pixels_digest(kept) == decision.pixels
    assert [path.name for path in folder.iterdir()] == [f"{decision.pixels}.png"]


def test_a_slow_disk_stops_nobody_and_what_is_dropped_is_told(
    decide, tmp_path, monkeypatch, caplog
):
    gate = threading.Event()
    log = DecisionLog(tmp_path / "log.jsonl", waiting=3)
    append = log._file.append
    monkeypatch.setattr(log._file, "append", lambda *given: (gate.wait(20), append(*given)))
    log(decide(request="first"))
    while log._waiting:  # the writer took it, and is stuck
        time.sleep(0.001)
    begun = time.monotonic()
    for number in range(5):
        log(decide(request=f"r-{number}"))
    assert time.monotonic() - begun < 1
    assert log.dropped == 2
    gate.set()
    log.close()
    told = lines(log)
    assert [line.get("request", line["schema"]) for line in told] == [
        "first", "uvr-gap/1", "r-0", "r-1", "r-2",
    ]  # fmt: skip
    assert told[1]["dropped"] == 2
    reading = LoggedDecisions([log.path])
    assert len(list(reading)) == 4
    assert reading.missing() == ["decisions that the log says were dropped, not written: 2"]
    assert caplog.messages == [f"the decision log '{log.path}' drops decisions: it is too slow"]


def test_a_full_disk_costs_decisions_and_is_told_once_there_is_room(
    decide, tmp_path, monkeypatch, caplog
):
    log = DecisionLog(tmp_path / "log.jsonl")
    with monkeypatch.context() as patch:

        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(log._file, "append", full)
        log(decide(request="lost"))
        assert log.flush(5)
    log(decide(request="kept"))
    log.close()
    assert [line.get("request", line.get("dropped")) for line in lines(log)] == [1, "kept"]
    assert log.dropped == 1
    assert "No space left on device" in caplog.messages[0]


def test_what_was_dropped_last_is_told_when_the_log_is_closed(decide, tmp_path):
    with DecisionLog(tmp_path / "log.jsonl") as log:
        log(decide(request="good"))
        log(decide(request="bad", seconds={"call": float("nan")}))
    told = [line.get("request", line.get("dropped")) for line in lines(log)]
    assert sorted(told, key=str) == [1, "good"]


def test_what_cannot_be_said_in_json_costs_that_decision_alone(decide, tmp_path):
    with DecisionLog(tmp_path / "log.jsonl") as log:
        log(decide(request="bad", seconds={"call": float("nan")}))
        log(decide(request="good"))
    assert [line["request"] for line in lines(log) if "request" in line] == ["good"]
    assert log.dropped == 1


def test_a_closed_log_drops_and_says_so(decide, tmp_path, caplog):
    log = DecisionLog(tmp_path / "log.jsonl")
    log.close()
    log(decide())
    assert log.dropped == 1
    assert caplog.messages == [f"the decision log '{log.path}' drops decisions: it is closed"]


def test_closing_does_not_wait_for_whoever_keeps_the_file_locked(decide, tmp_path, monkeypatch):
    monkeypatch.setattr("uvr.decisions.log.GAP_SECONDS", 0.1)
    path = tmp_path / "log.jsonl"
    idle, busy = DecisionLog(path), DecisionLog(path)
    path.touch()
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        busy(decide(request="first"))
        while busy._waiting:  # the writer took it, and waits for the lock
            time.sleep(0.001)
        busy(decide(request="late"))
        begun = time.monotonic()
        idle.close(0.1)
        busy.close(0.1)
        assert time.monotonic() - begun < 5
        assert busy.dropped == 1
    busy._thread.join(10)  # a process that lives on tells it once the file is free
    assert [line.get("request", line.get("dropped")) for line in lines(busy)] == ["first", 1]


def test_what_a_slow_disk_left_at_the_end_is_told(decide, tmp_path, monkeypatch):
    monkeypatch.setattr("uvr.decisions.log.GAP_SECONDS", 30)
    gate = threading.Event()
    log = DecisionLog(tmp_path / "log.jsonl")
    append, drop = log._file.append, log._drop
    monkeypatch.setattr(log._file, "append", lambda *given: (gate.wait(20), append(*given)))
    monkeypatch.setattr(log, "_drop", lambda *given: (drop(*given), gate.set()))
    log(decide(request="first"))
    while log._waiting:  # the writer took it, and is stuck until the other is dropped
        time.sleep(0.001)
    log(decide(request="late"))
    log.close(0.01)
    assert [line.get("request", line.get("dropped")) for line in lines(log)] == ["first", 1]


def test_a_forked_process_writes_its_own(decide, tmp_path):
    log = DecisionLog(tmp_path / "log.jsonl")
    log(decide(request="parent"))
    assert log.flush(5)
    child = os.fork()
    if child == 0:
        log(decide(request="child"))
        log.close()
        os._exit(log.dropped)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    log.close()
    assert [line["request"] for line in lines(log)] == ["parent", "child"]


WRITER = """
import sys
from uvr.decisions.decision import Decision
from uvr.decisions.log import DecisionLog
from uvr.verdict import Verdict

log = DecisionLog(sys.argv[1], max_bytes=2_000_000)
verdict = Verdict(0, "untouched", "f" * 64, (), "x" * 300)
number = 0
while number < int(sys.argv[2]):
    about = ("m", "t2i", "b", 1, "ok", "")
    log(Decision("2026-11-24T10:00:00.000000Z", f"r-{number}", *about, verdict))
    number += 1
    if number % 500 == 0:
        log.flush()
        print(number, flush=True)
"""


@pytest.mark.parametrize("delay", [0.01, 0.05, 0.11])
def test_a_killed_process_leaves_whole_lines_but_the_last(tmp_path, delay):
    path = tmp_path / "log.jsonl"
    command = [sys.executable, "-c", WRITER, path, "1000000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        told = [int(process.stdout.readline())]
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        told += [int(line) for line in process.stdout]
    reading = LoggedDecisions([path])
    requests = [item.request for item in reading]
    assert reading.unreadable <= 1
    assert len(requests) >= told[-1]  # what was flushed is there
    assert requests == [f"r-{number}" for number in range(len(requests))]
    with DecisionLog(path) as log:
        log(Decision.from_dict(json.loads(path.read_text().splitlines()[0])))
    assert path.read_bytes().endswith(b"}\n")
    assert len(list(reading)) == len(requests) + 1


def test_the_end_of_the_program_writes_what_waits(tmp_path):
    path = Path(tmp_path / "log.jsonl")
    subprocess.run([sys.executable, "-c", WRITER, path, "400"], check=True)
    assert len(list(LoggedDecisions([path]))) == 400


def test_a_log_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "log.jsonl").mkdir()  # Root may write in any folder, and no one to one.
    with pytest.raises(IsADirectoryError):
        DecisionLog(tmp_path / "log.jsonl")
