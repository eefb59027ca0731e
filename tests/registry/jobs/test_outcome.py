"""What came of a job."""

import pytest

from registry.jobs.outcome import Outcome, outcomes_of


@pytest.mark.parametrize(
    ("kind", "arguments", "result", "expected"),
    [
        ("collect-anchors", ["a", "b"],
         {"a": {"slug": "a", "number": 2}, "b": {"slug": "b", "number": 1}},
         [("version", "a@2"), ("version", "b@1")]),
        ("collect-anchors", ["a"], None, []),
        ("calibrate", ["a"], {"slug": "a", "number": 3}, [("version", "a@3")]),
        ("draw-examples", ["a@3"], None, [("report", "reports/job-1.html")]),
        ("draw-examples", ["a"], {"slug": "a", "version": 3},
         [("examples", "a@3"), ("report", "reports/job-1.html")]),
        ("evaluate", ["testbed-quick", "--record", "a@2"], None,
         [("evaluation", "a@2"), ("report", "reports/job-1/report.html")]),
        ("evaluate", ["testbed-quick", "--record=a"], None,
         [("evaluation", "a"), ("report", "reports/job-1/report.html")]),
        ("evaluate", ["testbed-quick"], None, [("report", "reports/job-1/report.html")]),
        ("score-exemplars", ["a@2", "--model=testbed"], None, [("scores", "a")]),
        ("try", ["a cup", "--release=policy"], None, [("try", "1")]),
    ],
)  # fmt: skip
def test_a_job_that_is_done_tells_what_it_made(registry, kind, arguments, result, expected):
    job = registry.jobs.add(kind, arguments, actor="ann")
    assert outcomes_of(registry.jobs.claim("w")) == ()
    done = registry.jobs.finish(job.id, "w", result)
    assert outcomes_of(done) == tuple(Outcome(*one) for one in expected)
