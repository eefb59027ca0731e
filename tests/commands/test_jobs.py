"""Jobs as the command line has them, and the worker that does them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from commands import job_process
from commands.job_kinds import KINDS, check_arguments, words
from commands.job_process import LEASE, JobProcess
from concepts.errors import BusyError, InputError
from concepts.instant import now
from concepts.words import JOB_KINDS
from registry.jobs import Jobs
from registry.registry import Registry
from registry.store.db import open_session
from registry.store.home import TRIED
from registry.store.models import JobRow
from tests.commands.test_capturing import DEFINITION, PICTURES

WAIT_S = 120


def until(condition, process=None):
    """Wait for a condition, as long as a process runs."""
    end = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < end
        assert process is None or process.poll() is None
        time.sleep(0.05)
    return found


def is_there(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_the_registry_and_the_worker_know_the_same_kinds():
    assert tuple(KINDS) == JOB_KINDS
    for kind in KINDS.values():
        params = {param.name for param in kind.command.params if param.expose_value}
        assert kind.settable <= params
    assert Path(KINDS["try"].folder) == TRIED


@pytest.mark.parametrize(
    ("kind", "arguments", "match"),
    [
        ("rm", ["-rf", "/"], "No kind of job 'rm'"),
        ("calibrate", [], "Missing argument"),
        ("calibrate", ["pistol", "--margin", "7"], "7"),
        ("calibrate", ["pistol", "--dry-run"], "may not set --dry-run"),
        ("calibrate", ["pistol", "--help"], "takes no such option"),
        ("evaluate", ["x", "--out", "/dev/null/x", "--gate", "/nix"], "may not set --out"),
        ("collect-anchors", ["pistol", "--yes"], "may not set --yes"),
        ("collect-anchors", ["pistol", "--plan"], "may not set --plan"),
        ("collect-anchors", ["pistol", "--images", "art"], "'art' is not the whole path"),
        ("collect-anchors", ["pistol", "--engine", "ray=10.0.0.9:6379"], "may not set --engine"),
        ("evaluate", ["testbed-quick", "--engine=ray"], "may not set --engine"),
        ("evaluate", ["testbed-quick", "--out", "/etc"], "may not set --out"),
        ("try", ["a cup", "--release=policy", "--out=/etc"], "may not set --out"),
        ("try", ["a cup", "--release=policy", "--picture=a.png"], "'a.png' is not the whole path"),
        ("try", ["--release=policy", "--", "a \0 cup"], "a character of code 0"),
        ("evaluate", ["testbed-quick; rm -rf /", "x"], "unexpected extra argument"),
    ],
)
def test_what_a_job_may_not_ask_for_is_refused(kind, arguments, match):
    with pytest.raises(InputError, match=match):
        check_arguments(kind, arguments)


def test_the_worker_adds_its_own_words_to_those_of_a_job():
    check_arguments("evaluate", ["testbed-quick", "--record", "pistol@2", "--count", "4"])
    assert words("evaluate", ["testbed-quick"], Path("/r"), 7) == [
        "evaluate", "--json", "--progress", "json", "--out", "/r/reports/job-7", "testbed-quick",
    ]  # fmt: skip
    assert words("draw-examples", ["pistol@2"], Path("/r"), 7) == [
        "report", "version", "--json", "--progress", "json", "--out", "/r/reports/job-7.html",
        "pistol@2",
    ]  # fmt: skip
    assert words("try", ["--release=policy@1", "--", "--out"], Path("/r"), 7) == [
        "try", "--json", "--progress", "json", "--out", "/r/cache/tried/job-7",
        "--release=policy@1", "--", "--out",
    ]  # fmt: skip


def test_jobs_are_asked_for_listed_shown_and_stopped(run, filled):
    added = run("jobs", "add", "calibrate", "pistol", "--margin", "0.1")
    assert (added.code, added.out) == (0, "Job 1 waits for a worker\n")
    (job,) = run("jobs", "list", "--json").json()
    assert (job["arguments"], job["asked_by"]) == (["pistol", "--margin", "0.1"], "tester")
    assert run("jobs", "cancel", "1").out == "Job 1 is cancelled\n"
    assert "state: cancelled\n" in run("jobs", "show", "1").out
    assert run("jobs", "list", "--state", "waiting").out == "No jobs.\n"
    assert run("jobs", "cancel", "1").code == 4
    assert run("jobs", "show", "2").code == 3


def test_the_help_of_jobs_add_lists_every_kind(run):
    shown = run("jobs", "add", "--help").out
    listed = shown.split("Kinds are ")[1].split("Files")[0]
    assert [kind for kind in KINDS if kind not in listed] == []


def test_what_a_worker_finds_in_the_table_is_checked_again(run, filled):
    filled.jobs.add("calibrate", ["pistol", "--dry-run"], actor="tester")
    assert run("worker", "--once").code == 1
    job = filled.jobs.show(1)
    assert (job.state, job.message) == (
        "failed", "A job of calibrate may not set --dry-run: the worker does.",
    )  # fmt: skip


def test_a_job_that_cannot_be_begun_fails_and_the_worker_goes_on(run, filled):
    with open_session(filled.workspace.engine, write=True) as session:
        for word in ("a\0b", "\ud800"):
            session.add(JobRow(
                kind="collect-anchors", arguments=json.dumps(["pistol", f"--model={word}"]),
                asked_at=now(), asked_by="tester", state="waiting", attempts=0, done=0, total=0,
                message="",
            ))  # fmt: skip
    assert run("worker", "--once").code == 1
    half, nul = filled.jobs.list()
    assert (half.state, half.message.partition(":")[0]) == ("failed", "UnicodeEncodeError")
    assert (nul.state, "a character of code 0" in nul.message) == ("failed", True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("collect-anchors", "pistl"), "No concept 'pistl'. Did you mean 'pistol'?"),
        (("calibrate", "pistol@7"), "'pistol' has no version 7"),
        (("evaluate", "testbed-quik"), "No suite 'testbed-quik'. There are: "),
        (("evaluate", "testbed-quick", "--record", "pistol@7"), "'pistol' has no version 7"),
        (("try", "a cup", "--release", "polcy"), "No bundle 'polcy'."),
        (("draw-examples", "pistol", "--model", "testbd"), "No model 'testbd'"),
    ],
)
def test_a_job_about_what_there_is_not_is_refused_at_once(run, filled, words, message):
    refused = run("jobs", "add", *words)
    assert (refused.code, message in refused.err) == (3, True), refused.err
    assert filled.jobs.list() == []


def test_a_worker_says_what_it_did_and_what_came_of_it(run, filled, stand_in):
    assert run("worker", "--once").err == "No job waits.\n"
    stand_in(
        "import json, sys\n"
        "if 'calibrate' in sys.argv:\n"
        "    print('Error: No such.\\nTwice.', file=sys.stderr)\n"
        "    sys.exit(3)\n"
        "print(json.dumps({'pistol': {'slug': 'pistol', 'number': 2}}))\n"
    )
    run("jobs", "add", "collect-anchors", "pistol")
    run("jobs", "add", "calibrate", "pistol")
    ended = run("worker", "--once")
    assert (ended.code, ended.err.splitlines()) == (1, [
        "Job 1: collect-anchors pistol",
        "Job 1 is done: made pistol@2: `uvr-registry show pistol@2`",
        "Job 2: calibrate pistol",
        "Job 2 failed: No such. Twice.",
        "2 jobs: 1 done, 1 failed.",
    ])  # fmt: skip
    shown = run("jobs", "show", "1").out.splitlines()
    assert shown[-1] == "made pistol@2: `uvr-registry show pistol@2`"
    assert [line for line in shown if line.endswith("-")] == []
    assert run("jobs", "show", "1", "--json").json()["outcomes"] == [
        {"what": "version", "name": "pistol@2"}
    ]


def test_a_worker_that_is_stopped_gives_its_job_back(run, filled, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(JobProcess, "wait", interrupted)
    filled.jobs.add("calibrate", ["pistol"], actor="tester")
    assert run("worker", "--once").code == 130
    assert (filled.jobs.show(1).state, filled.jobs.show(1).attempts) == ("waiting", 0)


def test_no_program_in_the_workers_folder_is_run(tmp_path, monkeypatch):
    (tmp_path / "cli.py").write_text("def main(_):\n    open('ran', 'w')\n")
    monkeypatch.chdir(tmp_path)
    with closing(JobProcess(["--version"], {})) as process:
        assert until(lambda: process.wait(0.1) is not None)
        assert process.wait(0) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["cli.py"]


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Has another program run in the place of a job's command."""

    def begin(text: str) -> None:
        (tmp_path / "stand_in.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(job_process, "__name__", "stand_in")

    return begin


def test_what_a_process_began_ends_with_it(stand_in, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    held = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True)"
    stand_in(held)
    start = time.monotonic()
    with closing(JobProcess([], {})) as process:
        assert until(lambda: process.wait(0.1) is not None)
    assert (process.code, time.monotonic() - start < 30) == (0, True)
    until(lambda: not is_there(process.result()))
    stand_in(f"{held}; import time; open('began', 'w'); time.sleep(60)")
    with closing(JobProcess([], {})) as process:
        until(Path("began").exists)
    assert process.code == -signal.SIGKILL
    until(lambda: not is_there(process.result()))


def test_a_measurement_below_its_gate_is_one_all_the_same(run, filled, stand_in):
    stand_in("import sys; sys.exit('calibrate' in sys.argv or print('Error: t2i 80% of 90%',"
             " file=sys.stderr) or 9)")  # fmt: skip
    filled.jobs.add("evaluate", ["testbed-quick", "--record", "pistol@1"], actor="tester")
    ended = run("worker", "--once")
    assert (ended.code, ended.err.splitlines()[1]) == (
        0,
        "Job 1 is done: recorded the evaluation of pistol@1; "
        "wrote reports/job-1/report.html in the registry's folder; t2i 80% of 90%",
    )
    filled.jobs.add("calibrate", ["pistol"], actor="tester")
    assert run("worker", "--once").code == 1


def test_a_job_that_others_are_at_is_tried_again(run, filled, stand_in):
    stand_in("import os, sys; sys.exit(0 if os.path.exists('free') else open('free', 'w') and 8)")
    filled.jobs.add("calibrate", ["pistol"], actor="tester")
    assert run("worker", "--once", "--lease", "4").code == 0
    assert (filled.jobs.show(1).state, filled.jobs.show(1).attempts) == ("done", 1)


def test_what_was_done_when_a_worker_is_stopped_is_done(run, filled, stand_in, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    stand_in("print('[7]')")
    filled.jobs.add("calibrate", ["pistol"], actor="tester")
    monkeypatch.setattr(Jobs, "progress", interrupted)
    assert run("worker", "--once").code == 130
    assert (filled.jobs.show(1).state, filled.jobs.show(1).result) == ("done", [7])


def test_a_process_stops_as_with_ctrl_c(filled, home):
    with closing(JobProcess(["--home", str(home), "worker", "--poll", "0.1"], {})) as process:
        filled.jobs.add("calibrate", ["pistol", "--dry-run"], actor="tester")
        until(lambda: filled.jobs.show(1).state == "failed")
        assert process.wait(0.1) is None
        process.stop()
        until(lambda: process.wait(0.1) == 130)
    assert process.said == "Error: Stopped. Nothing unfinished was recorded."


def test_a_process_ends_with_its_lease_however_long_its_worker_waits(filled, home):
    line = ["--home", str(home), "worker", "--poll", "0.1"]
    with closing(JobProcess(line, {LEASE: "2"})) as process:
        for _ in range(10):
            assert process.wait(0.25) is None
            process.renew()
        start = time.monotonic()
        until(lambda: process.wait(0.1) == BusyError.exit_code)
        assert 1 < time.monotonic() - start < 20
        process.renew()  # It has ended: nothing is.


def test_a_worker_renews_the_lease_of_what_it_began(run, filled, stand_in):
    stand_in(f"import json, os; print(json.dumps([os.read(0, 1).decode(), os.environ['{LEASE}']]))")
    filled.jobs.add("calibrate", ["pistol"], actor="tester")
    assert run("worker", "--once", "--lease", "1").code == 0
    assert filled.jobs.show(1).result == [".", "1.0"]


def test_a_killed_workers_process_ends_and_another_worker_goes_on(run, models, home, tmp_path):
    (tmp_path / "ball.yaml").write_text(DEFINITION)
    run("init")
    run("add-concept", "ball.yaml")
    run("jobs", "add", "collect-anchors", "ball", "--steps", "2", "--batch-size", "1",
        "--model", models["t2i"])  # fmt: skip
    jobs = Registry.open(home).jobs
    program = [sys.executable, "-m", "cli", "--home", str(home), "worker", "--lease", "2"]
    first = subprocess.Popen(program, stderr=subprocess.DEVNULL)
    try:
        until(lambda: list((home / "cache").rglob("*.npy")), first)
        children = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
    finally:
        first.kill()
        first.wait()
    until(lambda: not any(is_there(int(child)) for child in children))
    kept = len(list((home / "cache").rglob("*.npy")))
    assert 0 < kept < PICTURES
    assert jobs.show(1).state == "running"
    until(lambda: (jobs.show(1).leased_until or "") < now())

    assert run("worker", "--once").code == 0
    job = jobs.show(1)
    assert (job.state, job.attempts, job.done, job.total) == ("done", 2, PICTURES, PICTURES)
    assert job.result["ball"]["number"] == 1
    events = Registry.open(home).audit.events()
    assert [(event.actor, event.action) for event in events][1:] == [("tester", "version.add")]


def test_a_worker_ends_when_it_is_told_to(filled, home):
    program = [sys.executable, "-m", "cli", "--home", str(home), "worker", "--poll", "0.1"]
    worker = subprocess.Popen(program, stderr=subprocess.DEVNULL)
    try:
        filled.jobs.add("calibrate", ["pistol", "--dry-run"], actor="tester")
        until(lambda: filled.jobs.show(1).state == "failed", worker)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 130
    finally:
        worker.kill()
        worker.wait()
