"""Jobs: who has one, for how long, and how it ends."""

from dataclasses import replace

import pytest

from concepts.errors import ConflictError, InputError, NotFoundError, PolicyError
from registry.operations import backup, restore
from registry.registry import Registry


@pytest.fixture
def jobs(registry):
    return registry.jobs


def test_a_job_is_done_by_one_worker_in_the_name_of_who_asked(jobs):
    asked = jobs.add("calibrate", ["pistol", "--margin", "0.1"], actor="ann")
    later = jobs.add("evaluate", ["testbed-quick"], actor="bob")
    assert (asked.state, asked.asked_by, asked.arguments) == (
        "waiting", "ann", ("pistol", "--margin", "0.1"),
    )  # fmt: skip
    first = jobs.claim("w1")
    assert (first.id, first.state, first.worker, first.attempts) == (asked.id, "running", "w1", 1)
    assert jobs.claim("w2").id == later.id
    assert jobs.claim("w3") is None
    assert jobs.progress(asked.id, "w1", 3, 10, "fitting")
    told = jobs.show(asked.id)
    assert (told.done, told.total, told.message) == (3, 10, "fitting")
    done = jobs.finish(asked.id, "w1", {"version": 2})
    assert (done.state, done.result, done.leased_until) == ("done", {"version": 2}, None)
    assert done.ended_at >= done.asked_at
    assert jobs.fail(later.id, "w2", "no such suite").state == "failed"
    assert [job.id for job in jobs.list()] == [later.id, asked.id]
    assert [job.id for job in jobs.list(["done"])] == [asked.id]


def test_a_job_whose_worker_says_nothing_is_another_s(jobs):
    job = jobs.add("calibrate", ["pistol"], actor="ann").id
    jobs.claim("w1", lease=0)
    again = jobs.claim("w2")
    assert (again.id, again.worker, again.attempts) == (job, "w2", 2)
    for call in (
        lambda: jobs.progress(job, "w1", 1, 2, ""),
        lambda: jobs.finish(job, "w1"),
        lambda: jobs.fail(job, "w1", "late"),
        lambda: jobs.give_back(job, "w1"),
    ):
        with pytest.raises(ConflictError, match="no longer the worker's: it is running, with w2"):
            call()
    assert jobs.finish(job, "w2").state == "done"


def test_a_word_of_its_worker_keeps_a_job(jobs):
    job = jobs.add("calibrate", ["pistol"], actor="ann").id
    jobs.claim("w1", lease=0)
    jobs.progress(job, "w1", 1, 2, "")
    assert jobs.claim("w2") is None


def test_a_job_that_several_workers_died_of_is_given_up(jobs):
    job = jobs.add("calibrate", ["pistol"], actor="ann").id
    for number in range(3):
        assert jobs.claim(f"w{number}", lease=0).attempts == number + 1
    assert jobs.claim("w4") is None
    assert (jobs.show(job).state, jobs.show(job).message) == ("failed", "3 workers died of it.")


def test_a_job_is_stopped_at_once_or_at_its_workers_next_word(jobs):
    waiting = jobs.add("calibrate", ["pistol"], actor="ann").id
    assert jobs.cancel(waiting, actor="ann").state == "cancelled"
    running = jobs.add("calibrate", ["pistol"], actor="ann").id
    jobs.claim("w1")
    assert jobs.cancel(running, actor="ann").state == "running"
    assert not jobs.progress(running, "w1", 1, 2, "")
    assert jobs.fail(running, "w1", "Stopped.").state == "cancelled"
    dead = jobs.add("calibrate", ["pistol"], actor="ann").id
    jobs.claim("w1", lease=0)
    jobs.cancel(dead, actor="ann")
    assert (jobs.claim("w2"), jobs.show(dead).state) == (None, "cancelled")
    with pytest.raises(ConflictError, match="is cancelled: there is nothing to stop"):
        jobs.cancel(dead, actor="ann")


def test_a_job_that_is_given_back_waits_and_no_worker_died_of_it(jobs):
    job = jobs.add("calibrate", ["pistol"], actor="ann").id
    jobs.claim("w1")
    jobs.progress(job, "w1", 1, 2, "")
    back = jobs.give_back(job, "w1")
    assert (back.state, back.attempts, back.done) == ("waiting", 0, 1)
    assert jobs.claim("w2").worker == "w2"


def test_curators_ask_and_stop_their_own_and_an_admin_any(registry, jobs):
    registry.team.set("ann", roles=["admin", "curator"], actor="ann")
    for name in ("bob", "cem"):
        registry.team.set(name, roles=["curator"], actor="ann")
    registry.team.set("eva", roles=["reviewer"], actor="ann")
    with pytest.raises(PolicyError, match="needs the role curator"):
        jobs.add("calibrate", ["pistol"], actor="eva")
    job = jobs.add("calibrate", ["pistol"], actor="bob").id
    with pytest.raises(PolicyError, match="needs the role admin"):
        jobs.cancel(job, actor="cem")
    registry.team.set("ann", roles=["admin"], actor="ann")
    assert jobs.cancel(job, actor="ann").cancelled_by == "ann"


def test_the_same_job_is_not_asked_for_twice_while_it_is_open(jobs):
    first = jobs.add("calibrate", ["pistol"], actor="ann").id
    for worker in (None, "w1"):
        if worker is not None:
            jobs.claim(worker)
        with pytest.raises(ConflictError, match="Job 1 is the same and did not end yet"):
            jobs.add("calibrate", ["pistol"], actor="bob")
    jobs.finish(first, "w1")
    assert jobs.add("calibrate", ["pistol"], actor="bob").state == "waiting"


def test_one_actor_has_so_many_open_jobs_at_most(jobs):
    for number in range(20):
        jobs.add("calibrate", [f"c{number}"], actor="ann")
    with pytest.raises(PolicyError, match="'ann' has 20 jobs that wait or run"):
        jobs.add("calibrate", ["pistol"], actor="ann")
    assert jobs.add("calibrate", ["pistol"], actor="bob").id == 21
    jobs.cancel(1, actor="ann")
    assert jobs.add("calibrate", ["c0"], actor="ann").id == 22


def test_some_jobs_are_listed_without_what_came_of_them(jobs):
    for number in range(3):
        jobs.add("calibrate", [f"c{number}"], actor="ann")
        jobs.finish(jobs.claim("w1").id, "w1", {"version": number})
    assert [job.result for job in jobs.list(limit=2)] == [{"version": 2}, {"version": 1}]
    few = jobs.list(["done"], limit=1, results=False)
    assert [(job.id, job.state, job.result) for job in few] == [(3, "done", None)]


def test_what_is_no_job_is_refused(jobs):
    with pytest.raises(InputError, match="No kind of job 'rm'; there are collect-anchors"):
        jobs.add("rm", ["-rf", "/"], actor="ann")
    with pytest.raises(InputError, match="characters, allowed: 65,536"):
        jobs.add("calibrate", ["x" * 70_000], actor="ann")
    for word in ("a\0b", "\ud800"):
        with pytest.raises(InputError, match="NUL character, or half of another"):
            jobs.add("calibrate", ["pistol", word], actor="ann")
    with pytest.raises(NotFoundError, match="No job 7"):
        jobs.show(7)


def test_jobs_are_no_events_and_a_dry_run_asks_for_none(registry, jobs):
    dry = Registry(replace(registry.workspace, dry_run=True))
    assert dry.jobs.add("calibrate", ["pistol"], actor="ann").state == "waiting"
    assert jobs.list() == []
    jobs.add("calibrate", ["pistol"], actor="ann")
    jobs.finish(jobs.claim("w1").id, "w1")
    assert registry.audit.events() == []


def test_a_restored_registry_does_nothing_that_the_other_was_asked(registry, jobs, tmp_path):
    jobs.add("calibrate", ["pistol"], actor="ann")
    jobs.add("calibrate", ["knife"], actor="ann")
    jobs.claim("w1")
    backup(registry.workspace, tmp_path / "all.zip")
    url = f"sqlite:///{tmp_path / 'other.db'}"
    restored = Registry(restore(tmp_path / "all.zip", tmp_path / "other", url, actor="ann"))
    assert {(job.state, job.message) for job in restored.jobs.list()} == {
        ("cancelled", "The registry was restored from a backup.")
    }
    assert [job.state for job in jobs.list()] == ["running", "waiting"][::-1]
