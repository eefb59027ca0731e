"""Eight processes that write at once lose nothing and corrupt nothing."""

from registry.operations.doctor import diagnose

PROCESSES = 8
OPERATIONS = 25


def test_eight_processes_write_at_once_and_nothing_is_lost(registry, workers):
    started = [workers.start(seed, OPERATIONS) for seed in range(PROCESSES)]
    assert [workers.wait(worker) for worker in started] == [0] * PROCESSES
    logs = workers.logs()
    lines = [line[0] for log in logs for line in log]
    assert lines.count("begin") == PROCESSES * OPERATIONS
    assert lines.count("done") + lines.count("refused") == PROCESSES * OPERATIONS
    assert lines.count("done") >= PROCESSES * OPERATIONS // 2
    workers.assert_nothing_is_lost(registry)
    # Each report of success is one event, and there is no other: nobody was killed here.
    done = [details for log in logs for what, _, details in log if what == "done" and details]
    events = [e for e in registry.audit.events() if e.actor.startswith("worker-")]
    assert len([e for e in events if e.action != "gc.collect"]) == len(done)
    assert registry.audit.verify().events == len(registry.audit.events())
    found = diagnose(registry.workspace)
    assert {check.name: check.problems for check in found.checks if not check.ok} == {}
